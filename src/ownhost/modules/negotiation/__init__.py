"""The choice among variants of a page, and maps of variants: the engine of mod_negotiation."""
