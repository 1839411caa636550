"""Host and port, as Host and absolute-form targets write them (RFC 9110, 7.2; RFC 3986, 3.2).

Gates choose the virtual host by it, and workers check the gates' choice by it: one function for
both.
"""

from __future__ import annotations

import functools
import ipaddress
import re

# A number, or a last label without a letter at its beginning, looks like an address to some
# programs. So it must be one, in the usual form of IPv4 (RFC 1123, 2.1; RFC 3986, 7.4). No label is
# empty.
_NUMBER = "(?:0|[1-9][0-9]*)"
_NAME = re.compile(
    rf"{_NUMBER}(?:\.{_NUMBER}){{3}}"
    r"|[a-z0-9_-]*[a-z_-][a-z0-9_-]*"
    r"|(?:[a-z0-9_-]+\.)+[a-z][a-z0-9_-]*"
)
_AUTHORITY = re.compile(rb"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")

Authority = tuple[str, int | None]


@functools.lru_cache(maxsize=4096)
def parse_authority(raw: bytes) -> Authority | None:
    """A host and perhaps a port. None for an invalid authority; an empty one is ("", None).

    The host is in lower case, without a dot at its end; an IPv6 address keeps its brackets, in its
    usual form.
    """
    if not raw:
        return "", None
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        return None
    port = int(match[3]) if match[3] else None
    if port is not None and not 0 < port <= 65535:
        return None
    if match[2] is not None:
        try:
            return f"[{ipaddress.IPv6Address(match[2].decode())}]", port
        except ValueError:
            return None
    host = match[1].decode().lower().removesuffix(".")
    return (host, port) if _NAME.fullmatch(host) else None
