"""What all tables of states have in common."""

from __future__ import annotations


class Unexpected(Exception):
    """An event that a state does not expect: a bug."""
