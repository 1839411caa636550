"""One file per Apache module, under Apache's name: its directives and what they do."""
