"""What is compared of two answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from oracle.cases import Asked
from oracle.client import Answer
from oracle.tree import GIDS, UIDS

ALWAYS = ("connection", "keep-alive", "location", "set-cookie", "www-authenticate")
OF_PAGES = ("content-type", "content-length")  # but not of pages that a server makes: those are its own
OF_FILES = (
    "accept-ranges",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-range",
    "etag",
    "expires",
    "last-modified",
    "vary",
)
IDS = {"x-uid": ", ".join(map(str, UIDS)), "x-gid": ", ".join(map(str, GIDS))}  # to the values of who sees everything
ROOTS = "root's"
OWN_PAGE = "<!DOCTYPE HTML PUBLIC"  # what a page that Apache makes itself begins with

LONGEST = 13_000  # bytes of a body that is shown and written down


def all_differences(requests: Sequence[Asked], theirs: Sequence[Answer], ours: Sequence[Answer]) -> Iterator[str]:
    """A line for each answer on a connection that differs."""
    for asked, their_answer, our_answer in zip(requests, theirs, ours, strict=True):
        found = differences(asked, their_answer, our_answer)
        if found:
            yield f"{asked.where}: {asked.title}: {'; '.join(found)}"


def differences(asked: Asked, theirs: Answer, ours: Answer) -> list[str]:
    """What differs between Apache's and our answer and is not meant to; and what is meant to, and does not."""
    one, other = view(theirs), view(ours)
    names = compared(asked, theirs, ours)
    found = [f"{name} is root's" for name in IDS if other[name] == ROOTS]
    for name, value in asked.meant.items():
        if other[name] != value:
            found.append(f"{name} is {other[name]!r}, meant to be {value!r}")
        elif name in names and one[name] == value:
            found.append(f"{name} is meant to differ from Apache's and does not: {value!r}")
    if "status" in asked.meant:
        return found
    for name in names - asked.meant.keys():
        if one[name] != other[name]:
            found.append(f"{name} is {other[name]!r}, Apache's {one[name]!r}")
    return sorted(found)


class View(dict[str, str]):
    """What may be compared, by name. What is not there is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def view(answer: Answer) -> View:
    """An answer's parts in a form in which equal ones are equal."""
    seen = View(answer.fields)
    seen["vary"] = seen["vary"].replace(", ", ",")
    seen["status"] = str(answer.status)
    seen["body"] = _shortened(answer.body)
    seen["dropped"] = "yes" if answer.dropped else "no"
    # Escapes as RFC 3986, 6.2.2.1 wants them; Apache's are in small letters.
    seen["location"] = re.sub("%[0-9a-f]{2}", lambda match: match[0].upper(), seen["location"])
    seen["allow"] = ", ".join(sorted(set(re.findall(r"[\w-]+", seen["allow"])) - {"TRACE"}))
    for name, everything in IDS.items():
        if seen[name] == everything:
            seen[name] = ROOTS
    return seen


def _shortened(body: bytes) -> str:
    """A body; of one that nobody wants to read, what tells it apart."""
    if len(body) <= LONGEST:
        return body.decode("latin-1")
    return f"({len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()})"


def shown(answer: Answer) -> str:
    """An answer in a line."""
    seen = view(answer)
    parts = [f"{name} {seen[name]}" for name in (*IDS, "location", "content-type") if seen[name]]
    return ", ".join([seen["status"], *parts, repr(seen["body"][:40]), *["dropped"] * answer.dropped])


def is_own_page(answer: Answer) -> bool:
    """Whether Apache made the page itself."""
    return answer.status >= 300 and answer.body.startswith(OWN_PAGE.encode())


def compared(asked: Asked, theirs: Answer, ours: Answer) -> set[str]:
    """The names of what is compared."""
    names = {"status", "dropped", "allow", *ALWAYS}
    names |= {name for name in (*theirs.fields, *ours.fields) if name.startswith("x-")}
    own_page = theirs.status >= 300 and (not theirs.body or is_own_page(theirs))
    multipart = any("multipart" in answer.fields.get("content-type", "") for answer in (theirs, ours))
    if not own_page and not multipart and asked.method not in ("OPTIONS", "TRACE"):  # multipart: with random boundaries
        names |= {*OF_PAGES, "body"}
        if "content-length" not in theirs.fields:
            names.discard("content-length")  # of a program's answer: that hangs on when it came
    if theirs.status < 300 or theirs.status == 304:
        names |= set(OF_FILES)
    if theirs.dropped and not ours.dropped:
        names.discard("keep-alive")  # a new connection counts anew
    # Apache answers as root what it refuses or redirects before it knows whose it is.
    return names - {name for name in IDS if view(theirs)[name] == ROOTS}
