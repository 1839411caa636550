"""A glance at a request's head: enough to tell which virtual host it is for. Never raises.

A worker checks everything again. A malformed head has no host here: it goes to the default virtual
host's worker, whose parser refuses it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ownhost.http.authority import parse_authority
from ownhost.http.head import head_end, split_absolute
from ownhost.http.message import HTTPError

_HOST = re.compile(rb"\n[Hh][Oo][Ss][Tt]:[ \t]*([^\r\n]*?)[ \t]*\r?\n")
_TARGET = re.compile(rb"(?:\r?\n)*[^ \r\n]+ +([^ ?\r\n]*)[^ \r\n]*( [^\r\n]*/)?")  # and whether there is a version
_NOBODY = ("", None)


class Peek(NamedTuple):
    """What a gate sees of a head: whether it is complete, and the host as in `Head.host`."""

    complete: bool
    host: str


_INCOMPLETE = Peek(False, "")
_NAMELESS = Peek(True, "")


def peek(data: bytes, *, cut: bool = False) -> Peek:
    """Look at the bytes that have arrived. With `cut`, there will be no more: a head that long will be refused."""
    end = head_end(data)
    if end < 0:
        if not cut:
            return _INCOMPLETE
        end = len(data)
    target = _TARGET.match(data, 0, end)
    if target is None:
        return _NAMELESS
    path = target[1]
    if path.startswith(b"/") or path == b"*":
        found = _HOST.search(data, target.end(), end) if target[2] else None  # HTTP/0.9 has no fields
        host = (parse_authority(found[1]) or _NOBODY)[0] if found else ""
        return Peek(True, host)
    try:
        authority, _ = split_absolute(path)
    except HTTPError:
        return _NAMELESS
    return Peek(True, authority[0])
