"""Fields that are for one connection, and are not passed on (RFC 9110, 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


def end_to_end(fields: Iterable[tuple[str, str]], *, but: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Fields without those of the connection: the usual ones, those that Connection names, and `but` (lower case)."""
    listed = list(fields)
    options = ",".join(value for name, value in listed if name.lower() == "connection")
    dropped = {*_HOP_BY_HOP, *but, *(option.strip().lower() for option in options.split(","))}
    return [field for field in listed if field[0].lower() not in dropped]
