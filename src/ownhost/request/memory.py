"""What a site remembers: answers that followed from virtual host, path and file system alone.

Each comes with the status of the file that it was made from; while stat(2) says the same, the answer is the same. One
stat then takes the place of every phase.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ownhost.config.directive import Settings
from ownhost.http.message import Response
from ownhost.request.request import Request

LARGEST_FILE = 65_536  # bytes: larger files are sent by sendfile(2) instead
MOST_BYTES = 33_554_432  # of bodies, per virtual host and process
MOST_ANSWERS = 4_096
SETTLED = 1_000_000_000  # ns: a file changed within this time may change again without its times showing it

# Fields that make an answer depend on more than the path.
_SPECIAL = frozenset(
    (
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "expect",
        "transfer-encoding",
        "content-length",
    )
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A remembered answer, and what logs say of the request."""

    path: bytes  # of the file, for stat(2)
    stat: os.stat_result
    response: Response
    uri: str
    filename: str
    settings: Settings
    content_type: str
    env: dict[str, str]


class Memory:
    """The answers of one site.

    All requests of one turn of the event loop see the file system in one state: a file is looked at once per turn.
    `at_turn_end` has a function called when the turn is over. `exceptions` say of a request that it is treated
    otherwise than its path alone tells: such a one is answered anew.
    """

    __slots__ = ("answers", "at_turn_end", "exceptions", "seen", "size")

    def __init__(
        self,
        at_turn_end: Callable[[Callable[[], None]], object],
        exceptions: Sequence[Callable[[Request], bool]] = (),
    ) -> None:
        self.answers: dict[str, Answer] = {}  # by the path as sent
        self.size = 0  # bytes of bodies
        self.seen: set[str] = set()  # paths whose answers were found true in this turn
        self.at_turn_end = at_turn_end
        self.exceptions = exceptions

    def recall(self, request: Request) -> Response | None:
        """The answer to a request, if it is remembered and still true."""
        head = request.head
        answer = self.answers.get(head.path)
        if answer is None or head.method != "GET" or not _SPECIAL.isdisjoint(head.values):
            return None
        if head.path not in self.seen and not self._is_true(head.path, answer):
            return None
        for is_exception in self.exceptions:
            if is_exception(request):
                return None
        request.uri = answer.uri
        request.query = head.query
        request.filename = answer.filename
        request.settings = answer.settings
        request.content_type = answer.content_type
        request.env = answer.env
        return answer.response

    def _is_true(self, path: str, answer: Answer) -> bool:
        """Whether an answer's file is as it was. One that is not is forgotten."""
        try:
            now = os.stat(answer.path)
        except OSError:
            now = None
        if now is None or not same(now, answer.stat):
            self.forget(path)
            return False
        if not self.seen:
            self.at_turn_end(self.seen.clear)
        self.seen.add(path)
        return True

    def remember(self, request: Request, response: Response) -> None:
        """Remember the answer to a request, where it is one that the next request for the path will get, too."""
        head, stat = request.head, request.stat
        if not (request.pure and stat is not None and response.status == 200 and isinstance(response.body, bytes)):
            return
        if head.method != "GET" or not _SPECIAL.isdisjoint(head.values):
            return
        if request.time * 1e9 - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED:
            return
        self.forget(head.path)
        if self.size + len(response.body) > MOST_BYTES or len(self.answers) >= MOST_ANSWERS:
            self.answers.clear()
            self.size = 0
        self.size += len(response.body)
        self.answers[head.path] = Answer(
            os.fsencode(request.filename),
            stat,
            response,
            request.uri,
            request.filename,
            request.settings,
            request.content_type,
            request.env,
        )

    def forget(self, path: str) -> None:
        """Forget the answer for a path, if there is one."""
        self.seen.discard(path)
        answer = self.answers.pop(path, None)
        if answer is not None:
            assert isinstance(answer.response.body, bytes)
            self.size -= len(answer.response.body)


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two statuses are of the same file in the same state."""
    return (
        one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
    )
