"""Conditional requests (RFC 9110, section 13): is the client's copy still valid, is its assumption still true."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ownhost.http.dates import parse_date
from ownhost.http.message import Head

# entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE (section 8.8.3)
_TAG = re.compile(r'\s*((?:W/)?"[^"\x00-\x20\x7f]*")\s*(?:,|$)')


def _tags(value: str) -> list[str]:
    return [match[1] for match in _TAG.finditer(value)]


def _weakly_equal(one: str, other: str) -> bool:
    return one.removeprefix("W/") == other.removeprefix("W/")


def _strongly_equal(one: str, other: str) -> bool:
    return one == other and not one.startswith("W/")


def _matches(value: str, etags: Sequence[str | None], exists: bool, weakly: bool) -> bool:
    if value.strip() == "*":
        return exists
    equal = _weakly_equal if weakly else _strongly_equal
    return any(equal(tag, etag) for tag in _tags(value) for etag in etags if etag is not None)


def evaluate(
    head: Head,
    etag: str | None,
    modified: float | None,
    now: float,
    *,
    exists: bool = True,
    coded: str | None = None,
) -> int | None:
    """The result of a request's preconditions: None (go on), 304 or 412, in the order of section 13.2.2.

    `etag` is the selected representation's, quotes included; `modified` its time in seconds since
    the epoch. An If-Modified-Since later than `now` does not count, as in Apache. `coded` is the tag
    of the same content in another coding: a client that has that is served as well.
    """
    values = head.values
    safe = head.method in ("GET", "HEAD")
    seconds = None if modified is None else int(modified)
    if (value := values.get("if-match")) is not None:
        if not _matches(value, (etag, coded), exists, weakly=False):
            return 412
    elif (value := values.get("if-unmodified-since")) is not None and seconds is not None:
        date = parse_date(value)
        if date is not None and seconds > date:
            return 412
    if (value := values.get("if-none-match")) is not None:
        if _matches(value, (etag, coded), exists, weakly=True):
            return 304 if safe else 412
    elif safe and (value := values.get("if-modified-since")) is not None and seconds is not None:
        date = parse_date(value)
        if date is not None and seconds <= date <= now:
            return 304
    return None


def if_range_matches(value: str, etag: str | None, modified: float | None) -> bool:
    """Whether the Range of a request with this If-Range counts (section 13.1.5): strong comparison only."""
    value = value.strip()
    if value.startswith(('"', "W/")):
        return etag is not None and _strongly_equal(value, etag)
    date = parse_date(value)
    return date is not None and modified is not None and int(modified) == date
