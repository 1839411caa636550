"""Passwords: their hashes, the files that hold them, and checks that take time."""
