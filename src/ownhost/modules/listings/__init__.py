"""Listings of folders as data: their options, labels, entries and pages: the engine of mod_autoindex."""
