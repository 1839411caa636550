"""Gates: accept connections, see whose they are, and pass them on (gate.py)."""
