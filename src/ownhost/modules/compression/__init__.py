"""Compressing responses: which coding, and the body in it."""
