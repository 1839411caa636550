"""Two ways to hold the same bytes in a str: as a head has them, and as text.

What stands in a head is decoded as ISO 8859-1: each byte is a character. Text (paths, file names, configurations,
variables) is decoded as UTF-8, with surrogate escapes for bytes that are not. Where one meets the other, the bytes
have to agree.
"""

from __future__ import annotations


def wire(text: str) -> str:
    """Text as a head has it."""
    return text if text.isascii() else to_bytes(text).decode("latin-1")


def unwire(text: str) -> str:
    """What a head says, as text."""
    return text if text.isascii() else from_bytes(text.encode("latin-1"))


def to_bytes(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """Bytes as text."""
    return data.decode("utf-8", "surrogateescape")
