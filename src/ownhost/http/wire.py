"""Two ways to hold the same bytes in a str: as in a head, and as text.

The content of a head is decoded as ISO 8859-1: each byte is a character. Text (paths, file names,
configurations, variables) is decoded as UTF-8, with surrogate escapes for other bytes. Where the
two meet, the bytes must agree.
"""

from __future__ import annotations


def wire(text: str) -> str:
    """Text in the form of a head."""
    return text if text.isascii() else to_bytes(text).decode("latin-1")


def unwire(text: str) -> str:
    """The content of a head, as text."""
    return text if text.isascii() else from_bytes(text.encode("latin-1"))


def to_bytes(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """Bytes as text."""
    return data.decode("utf-8", "surrogateescape")
