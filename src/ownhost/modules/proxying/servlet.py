"""ProxyPass mapping=servlet: the path that a servlet container sees without parameters (`/a;x=1/b`). Pure.

Containers treat the part after a ";" in a segment as parameters, and `..;` as `..`. Access rules by
path must see the path as the container does.

Source: the Servlet specification (3.5, Request path elements); Apache 2.4's answers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str
    start: int  # where it begins in the path as sent
    end: int  # where its name begins


def servlet_path(path: str, prefix: str) -> tuple[str, int] | None:
    """The path without parameters, and the position after a prefix; None if the prefix does not match.

    `path` is encoded, without dot segments and doubled slashes.
    """
    segments = _resolved(path)
    wanted = [part for part in prefix.split("/") if part]
    if segments is None or [one.name for one in segments[: len(wanted)]] != wanted:
        return None
    if prefix.endswith("/") and len(segments) == len(wanted):
        return None  # /a is not below /a/
    seen = "/" + "/".join(one.name for one in segments)
    if len(segments) == len(wanted):
        return seen, len(path)
    behind = segments[len(wanted)].start
    if prefix.endswith("/"):
        return seen, behind
    last = segments[len(wanted) - 1]
    return seen, last.end if path[last.end : last.end + 1] == ";" else behind - 1


def _resolved(path: str) -> list[_Segment] | None:
    """The segments of a path, the last one empty if it ends with a slash; None if it climbs above the root."""
    found: list[_Segment] = []
    start = 1
    for text in path[1:].split("/"):
        end = start + len(text)
        name = text.partition(";")[0]
        if name == "..":
            if not found:
                return None
            found.pop()
        elif name not in ("", "."):
            found.append(_Segment(name, start, start + len(name)))
        if end == len(path) and name in ("", ".", ".."):
            found.append(_Segment("", end, end))
        start = end + 1
    return found
