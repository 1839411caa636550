"""URLs and paths as rules make them: schemes, escapes, and the beginning of the query.

Text is decoded as UTF-8 with surrogate escapes here; the content of a head is ISO 8859-1
(`http.wire`).
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from ownhost.config.model import VirtualHost
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, wildcard

# What mod_rewrite treats as a URL, and whether it has a query.
_SCHEMES = {
    **dict.fromkeys(("ajp://", "balancer://", "fcgi://", "http://", "https://", "h2://", "h2c://"), True),
    **dict.fromkeys(("mailto:", "scgi://", "unix:", "ws://", "wss://"), True),
    **dict.fromkeys(("ftp://", "gopher://", "ldap://", "news:", "nntp://"), False),
}
_SCHEME = re.compile("|".join(map(re.escape, _SCHEMES)), re.IGNORECASE)
_PATH_SAFE = "/$-_.+!*'(),:;@&=~"
_UNFIT_FOR_QUERY = re.compile(r"[\x00-\x20\x7f]")
_UNFIT_FOR_HEAD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def scheme_of(url: str) -> str:
    """The scheme of a URL with its "://"; "" for a path."""
    match = _SCHEME.match(url)
    return match[0] if match and len(url) > 5 else ""


def takes_query(url: str) -> bool:
    """Whether a "?" in it begins a query."""
    scheme = scheme_of(url)
    return not scheme or _SCHEMES[scheme.lower()]


def escape_path(path: str) -> str:
    """A path in the form of a URL."""
    return quote(path, safe=_PATH_SAFE, errors="surrogateescape")


def escape_url(url: str) -> str:
    """An absolute URL, escaped after its host."""
    scheme = scheme_of(url)
    if not scheme.endswith("/"):
        return scheme + escape_path(url[len(scheme) :])
    host, slash, path = url[len(scheme) :].partition("/")
    escaped = "?".join(map(escape_path, path.split("?", 4))) if scheme.lower() == "ldap://" else escape_path(path)
    return f"{scheme}{host}{slash}{escaped}"


def is_fit_for_query(query: str) -> bool:
    """Whether a query has no control characters and no spaces in it."""
    return _UNFIT_FOR_QUERY.search(query) is None


def is_fit_for_head(value: str) -> bool:
    """Whether a value has no control characters: a line's end would begin another field."""
    return _UNFIT_FOR_HEAD.search(value) is None


def first_component(path: str) -> str:
    """The first component of a path, with its slash; "" if it does not begin with one."""
    return f"/{path[1:].partition('?')[0].partition('/')[0]}" if path.startswith("/") else ""


def is_in_root(component: str) -> bool:
    """Whether the root directory has a file or folder "/name"."""
    return component == "/" or Path(component).exists()


def replace_prefix(path: str, prefix: str, substitute: str) -> str:
    """A path with its leading folder replaced; the path itself if it does not have it."""
    folder = prefix.removesuffix("/")
    if not path.startswith(f"{folder}/"):
        return path
    rest = path[len(folder) + 1 :]
    return f"{substitute}{'' if not substitute or substitute.endswith('/') else '/'}{rest}"


def resolve_dots(path: str, *, clamp: bool = False) -> str | None:
    """A path without empty, "." and ".." components. One that climbs above its root is None, or stops there."""
    kept: list[str] = []
    components = path.split("/")
    for component in components:
        if component == "..":
            if kept:
                kept.pop()
            elif not clamp:
                return None
        elif component not in ("", "."):
            kept.append(component)
    slash = "/" if kept and components[-1] in ("", ".", "..") else ""
    return f"/{'/'.join(kept)}{slash}"


def own_path(url: str, secure: bool, server: VirtualHost) -> str | None:
    """The path of a URL of this virtual host; None for any other."""
    scheme = "https://" if secure else "http://"
    if url[: len(scheme)].lower() != scheme or len(url) == len(scheme):
        return None
    authority, _, path = url[len(scheme) :].partition("/")
    host, colon, port = authority.partition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not _goes_by(server, host.lower(), number if colon else 443 if secure else 80):
        return None
    return f"/{path}"


def _goes_by(server: VirtualHost, host: str, port: int) -> bool:
    """Whether a virtual host has this name at this port: only ServerName counts, as in Apache."""
    for address, written in zip(server.addresses, server.hosts, strict=False):
        if written == host and address.port in (0, port):
            return True
    name = server.settings[SERVER_NAME]
    if port != name.port:
        return False
    aliases = server.settings[SERVER_ALIASES]
    return host == name.host or any(wildcard(alias).fullmatch(host) for alias in aliases)
