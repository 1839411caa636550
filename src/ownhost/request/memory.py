"""What a site remembers: responses that follow from virtual host, path and file system alone.

Each is stored with the status of its file, and of the .htaccess files on the way, those too that do
not exist. While these are the same, the response is the same, unless its fields name a time
(`Request.same_until`). So one stat, and a look for each .htaccess once a turn, replace all phases.
The content of a large file is not remembered: it is opened each time, and fstat(2) says whether it is
the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

from ownhost.config.directive import Settings
from ownhost.http.message import FileBody, Response
from ownhost.request.request import Levels, Request

LARGEST_FILE = 65_536  # bytes: larger files are sent by sendfile(2) instead
MOST_BYTES = 33_554_432  # of bodies, per virtual host and process
MOST_ANSWERS = 4_096
# Non-blocking: a file may have become a FIFO since it was checked.
OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
SETTLED = 1_000_000_000  # ns: a file changed within this time may change again without its times showing it

_EXISTS = repeat(os.F_OK)

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


Key = str | tuple[str, ...]  # the path as sent; and the variants, where there may be several


@dataclass(frozen=True, slots=True)
class Looked:
    """The .htaccess files that were looked for on the way to a file: those that are there, and names without a file."""

    absent: tuple[bytes, ...] = ()
    present: tuple[tuple[bytes, os.stat_result], ...] = ()


_NOTHING = Looked()


@dataclass(frozen=True, slots=True)
class Answer:
    """A remembered response, and what logs say about the request."""

    path: bytes  # of the file, for stat(2)
    stat: os.stat_result
    response: Response
    uri: str
    filename: str
    settings: Settings
    content_type: str
    env: dict[str, str]
    until: float  # seconds since the epoch
    levels: Looked


class FileStatus:
    """Looks at files, once for each file and turn of the event loop.

    All requests of one turn see the file system in one state. `at_turn_end` calls a function when
    the turn is over.
    """

    __slots__ = ("at_turn_end", "interned", "seen", "unchanged")

    def __init__(self, at_turn_end: Callable[[Callable[[], None]], object]) -> None:
        self.at_turn_end = at_turn_end
        self.seen: dict[bytes, os.stat_result | None] = {}  # in this turn
        self.unchanged: dict[int, Looked] = {}  # by their ids, those that were found so in this turn
        self.interned: dict[Looked, Looked] = {}

    def confirm(self, path: bytes, before: os.stat_result) -> bool:
        """Whether a file exists and is unchanged."""
        seen = self.seen
        if path in seen:
            now = seen[path]
        else:
            if not seen:
                self._await_end()
            try:
                now = seen[path] = os.stat(path)
            except OSError:
                now = seen[path] = None
        return now is not None and same(now, before)

    def see(self, path: bytes, now: os.stat_result | None) -> None:
        """Note the state of a file for the rest of this turn."""
        self._await_end()
        self.seen[path] = now

    def _await_end(self) -> None:
        if not self.seen and not self.unchanged:
            self.at_turn_end(self._end_turn)

    def _end_turn(self) -> None:
        self.seen.clear()
        self.unchanged.clear()

    def confirm_all(self, looked: Looked) -> bool:
        """Whether files are as they were, and those that did not exist still do not: the same ones once a turn.

        access(2) is the cheapest way to ask for what is not there.
        """
        if looked is _NOTHING or id(looked) in self.unchanged:
            return True
        if any(map(os.access, looked.absent, _EXISTS)):
            return False
        for path, before in looked.present:
            if not self.confirm(path, before):
                return False
        self._await_end()
        self.unchanged[id(looked)] = looked
        return True

    def settled(self, levels: Levels | None, time: float) -> Looked | None:
        """What a request has looked at; None if a file changed just now, and may change again unseen.

        Equal ones are one object.
        """
        if not levels:
            return _NOTHING
        present = tuple((path, stat) for path, stat in levels.items() if stat is not None)
        if not all(is_settled(stat, time) for _, stat in present):
            return None
        looked = Looked(tuple(path for path, stat in levels.items() if stat is None), present)
        if len(self.interned) >= MOST_ANSWERS:
            self.interned.clear()  # those in use are kept by what has them
        return self.interned.setdefault(looked, looked)


class Memory:
    """The responses of one site.

    `exceptions` tell whether a request is treated differently from others for its path. Such a
    request is answered anew. `variants` tell which of the responses for its path it asks for.
    """

    __slots__ = ("answers", "exceptions", "looks", "size", "variants")

    def __init__(
        self,
        looks: FileStatus,
        exceptions: Sequence[Callable[[Request], bool]] = (),
        variants: Sequence[Callable[[Request], str]] = (),
    ) -> None:
        self.answers: dict[Key, Answer] = {}
        self.variants = variants
        self.size = 0  # bytes of bodies
        self.looks = looks
        self.exceptions = exceptions

    def recall(self, request: Request) -> Response | None:
        """The response to a request, if it is remembered and still valid."""
        head = request.head
        key = self._key(request)
        answer = self.answers.get(key)
        if (
            answer is None
            or request.time >= answer.until
            or head.method != "GET"
            or not _SPECIAL.isdisjoint(head.values)
        ):
            return None
        for is_exception in self.exceptions:
            if is_exception(request):
                return None
        response = self._confirmed(answer)
        if response is None:
            self.forget(key)
            return None
        request.uri = answer.uri
        request.query = head.query
        request.filename = answer.filename
        request.settings = answer.settings
        request.content_type = answer.content_type
        request.env = answer.env
        return response

    def _confirmed(self, answer: Answer) -> Response | None:
        """A remembered response, if its file is unchanged."""
        if not self.looks.confirm_all(answer.levels):
            return None
        response = answer.response
        if not isinstance(response.body, FileBody):
            return response if self.looks.confirm(answer.path, answer.stat) else None
        try:
            descriptor = os.open(answer.path, OPEN)
        except OSError:
            return None
        if not same(os.fstat(descriptor), answer.stat):
            os.close(descriptor)
            return None
        body = response.body
        return response.again(FileBody(descriptor, body.parts, body.by_kernel, body.by_map))

    def remember(self, request: Request, response: Response) -> None:
        """Remember the response to a request, if the next request for the path gets the same."""
        head, stat = request.head, request.stat
        if not (request.pure and stat is not None and response.status == 200) or response.deferred is not None:
            return
        if head.method != "GET" or not _SPECIAL.isdisjoint(head.values):
            return
        if not is_settled(stat, request.time):
            return
        levels = self.looks.settled(request.levels, request.time)
        if levels is None:
            return
        size = _size_in_memory(response, stat)
        if size is None:
            return
        key = self._key(request)
        self.forget(key)
        if self.size + size > MOST_BYTES or len(self.answers) >= MOST_ANSWERS:
            self.answers.clear()
            self.size = 0
        self.size += size
        self.answers[key] = Answer(
            os.fsencode(request.filename),
            stat,
            response,
            request.uri,
            request.filename,
            request.settings,
            request.content_type,
            request.env,
            request.same_until,
            levels,
        )

    def _key(self, request: Request) -> Key:
        path = request.head.path
        return path if not self.variants else (path, *[variant(request) for variant in self.variants])

    def forget(self, key: Key) -> None:
        """Forget an answer, if there is one."""
        answer = self.answers.pop(key, None)
        if answer is not None and isinstance(answer.response.body, bytes):
            self.size -= len(answer.response.body)


def _size_in_memory(response: Response, stat: os.stat_result) -> int | None:
    """Bytes that remembering a response takes; None if it cannot be remembered."""
    body = response.body
    if isinstance(body, bytes):
        return len(body)
    return 0 if isinstance(body, FileBody) and body.parts == [(0, stat.st_size)] else None


def is_settled(stat: os.stat_result, time: float) -> bool:
    """Whether a file's times would show a change after `time`, in seconds since the epoch."""
    return time * 1e9 - max(stat.st_mtime_ns, stat.st_ctime_ns) >= SETTLED


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two statuses are of the same file in the same state."""
    return (
        one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
    )
