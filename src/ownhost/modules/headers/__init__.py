"""Changes of header fields as data, and what they do to a table of fields: the engine of mod_headers."""
