"""Text of the wire and text of files: two ways to hold the same bytes in a str.

What stands in a head is decoded as ISO 8859-1 (one character is one byte); paths, file names and configurations are
decoded as UTF-8, with surrogate escapes for bytes that are not. Where one meets the other, bytes have to agree.
"""

from __future__ import annotations


def from_wire(text: str) -> str:
    """Text of a head, as paths and configurations are held."""
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def to_wire(text: str) -> str:
    """Text of a path or of the configuration, as heads are held."""
    return text if text.isascii() else to_bytes(text).decode("latin-1")


def to_bytes(text: str) -> bytes:
    """The bytes that text of a path or of the configuration stands for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "replace")


def from_bytes(data: bytes) -> str:
    """Bytes as text of a path or of the configuration."""
    return data.decode("utf-8", "surrogateescape")
