"""Choosing, in a gate: whose a request is, of a virtual host that lets its requests choose.

The same `resolve` as in workers, over what a gate is told. It gets a little time only: an expression or a pattern
that takes long would hold up every owner's clients, so such a virtual host is left to its own workers from then on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ownhost.config.model import VirtualHost
from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import HTTPError
from ownhost.identity.identity import Assignment
from ownhost.request.request import CannotTell, Endpoints, Level, Request
from ownhost.request.resolve import resolve
from ownhost.request.site import Site

ALLOWED = 0.02  # seconds of processor time for one request


class TooSlow(Exception):
    """Choosing took more time than it is given."""


def install_alarm() -> None:
    """Have the alarm of `limited` raise TooSlow, even in the middle of a regular expression. Once per process."""

    def ring(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGVTALRM, ring)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow where the block takes more processor time than that."""
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


class Chooser:
    """One virtual host, as a gate sees it."""

    def __init__(self, view: VirtualHost) -> None:
        self.site = Site(view, lambda _: False, lambda _: None, sees_files=False)
        self.limits = head_limits(view.settings)
        self.too_slow = False

    def choose(self, data: bytes, endpoints: Endpoints) -> Assignment | None:
        """Whose a request is. None where only the virtual host's own worker can tell, or refuse it."""
        end = head_end(data)
        if self.too_slow or end < 0:
            return None
        try:
            with limited(ALLOWED):
                head = parse_head(data[:end], self.limits)
                return resolve(Request(head, endpoints, self.site, time.time(), _say_nothing))
        except (CannotTell, HTTPError):
            return None
        except TooSlow:
            self.too_slow = True
            raise


def _say_nothing(_level: Level, _module: str, _message: str) -> None:
    """The worker resolves again, and says what there is to say."""
