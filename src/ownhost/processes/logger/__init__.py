"""The logger: writes the logs that several identities share (logger.py)."""
