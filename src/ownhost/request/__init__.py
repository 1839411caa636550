"""The phases that a request walks through."""
