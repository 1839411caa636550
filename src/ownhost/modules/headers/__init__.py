"""Changes of header fields as data, and their effect on a table of fields: the engine of mod_headers."""
