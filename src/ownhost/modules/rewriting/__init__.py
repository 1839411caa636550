"""The rewriting engine of mod_rewrite: rules and conditions as data, and what they do to a request."""
