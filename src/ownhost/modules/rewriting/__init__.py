"""The rewriting engine of mod_rewrite: rules and conditions as data, and their effect on a request."""
