"""Sets of HTTP methods, as in <Limit> and <LimitExcept>, and in the access rules inside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

KNOWN = frozenset(
    """
    GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK VERSION-CONTROL
    CHECKOUT UNCHECKOUT CHECKIN UPDATE LABEL REPORT MKWORKSPACE MKACTIVITY BASELINE-CONTROL MERGE
    """.split()  # noqa: SIM905 - a table
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Methods:
    """Some methods, or all but some. HEAD counts as GET: who may not see a page may not ask about it."""

    names: frozenset[str]
    excepted: bool = False

    @classmethod
    def of(cls, names: Iterable[str], *, excepted: bool = False) -> Methods:
        """The methods with these names, or all others."""
        return cls(frozenset(_plain(name) for name in names), excepted)

    def __contains__(self, method: str) -> bool:
        return (_plain(method) in self.names) != self.excepted

    def __and__(self, other: Methods) -> Methods:
        """The methods that are in both."""
        if self.excepted and other.excepted:
            return Methods(self.names | other.names, True)
        if self.excepted or other.excepted:
            listed, rest = (other, self) if self.excepted else (self, other)
            return Methods(listed.names - rest.names)
        return Methods(self.names & other.names)

    def __bool__(self) -> bool:
        return self.excepted or bool(self.names)


EVERY = Methods(frozenset(), True)


def is_token(word: str) -> bool:
    """Whether a word can be the name of a method (RFC 9110, 5.6.2)."""
    return _TOKEN.fullmatch(word) is not None


def _plain(method: str) -> str:
    return "GET" if method == "HEAD" else method
