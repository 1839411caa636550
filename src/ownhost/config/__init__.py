"""Text to checked configuration. Pure: no sockets, no processes, no privileges."""
