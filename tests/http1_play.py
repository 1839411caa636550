"""A HTTP/1 connection of a worker with nothing behind it: no socket, no loop, no clock, no phases.

It does what the table says as `processes.worker.connection` does. What goes out is words (`http1_conversations`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ownhost.http.body import BodyReader
from ownhost.http.limits import HeadLimits
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.modules.reqtimeout import ReadTimeout
from ownhost.processes.worker.conversation import Conversation, Event, State, Steps, steps_of

LIMITS = HeadLimits(200, 10, 200, 2_224)
LISTENING = (State.NEW, State.LAST_CALL, State.HEAD, State.IDLE)
ANSWERS = {"/a": b"a", "/big": b"big"}


def octets(text: str) -> bytes:
    """Bytes of a script."""
    return text.replace("|", "\r\n").encode()


class Bug(Exception):
    """What /bug raises."""


async def _later(_: RequestBody) -> Response:
    raise AssertionError


@dataclass
class Times:
    """How long a client is waited for."""

    timeout: float = 60.0
    keep_alive_timeout: float = 5.0
    read_timeout: ReadTimeout = field(default_factory=ReadTimeout)


@dataclass
class Play:
    """A connection, the client's end of it, and the programs."""

    bytewise: bool = False  # bytes are read one at a time
    talk: Conversation = field(default_factory=Conversation)
    now: float = 1.0
    kernel: bytes = b""  # said by the client, not read yet
    ended: bool = False  # the client's stream, behind that
    room: bool = True  # the client reads
    told: bool = False  # a program may go on
    words: list[str] = field(default_factory=list)  # what has gone out
    asked: bool = False  # a request was answered
    response: Response = field(default_factory=lambda: Response(0))
    unread: bool = False  # that waits for the body
    body: BodyReader | None = None  # of the request being answered
    content: bytes = b""
    path: str = ""
    keep: bool = False
    steps: ClassVar[Steps]

    def __post_init__(self) -> None:
        self.happens(Event.NOTHING)

    def hear(self, line: str) -> None:
        """Have one thing happen, and go on for as long as nothing has to be waited for."""
        if line == "done":
            self.told = True
        elif line == "stop":
            self.happens(Event.DRAIN)
        elif line == "newer worker":
            self.happens(Event.SUPERSEDE)
        elif line == "gone":
            self.happens(Event.GONE)
        elif line == "stops reading":
            self.room = False
        elif line == "reads again":
            self.room = True
        elif line.endswith(" seconds"):
            self.now += float(line.split()[0])
            if self.talk.deadline(Times()) <= self.now:
                self.happens(self.talk.expired())
        else:
            said, end, _ = line.partition("EOF")
            self.kernel += octets(said)
            self.ended = self.ended or bool(end)
        while self.goes_on():
            pass

    def goes_on(self) -> bool:
        """Take whatever is wanted; whether anything was."""
        before = self.talk.state, self.talk.buffer, self.kernel, len(self.words)
        if self.talk.state in LISTENING and (self.kernel or self.ended):
            self.happens(Event.READABLE)
        elif self.talk.state is State.SENDING and self.room:
            self.happens(Event.WRITABLE)
        elif self.talk.state in (State.WORKING, State.STREAMING, State.TUNNELLED):
            self.happens(self.task())
        return before != (self.talk.state, self.talk.buffer, self.kernel, len(self.words))

    def take(self) -> list[str]:
        """What the client has seen since the last time."""
        if not self.room:
            return []
        words, self.words = self.words, []
        return words

    def happens(self, event: Event | None) -> None:
        """As `processes.worker.driven`."""
        try:
            while event is not None:
                self.talk.state, do = self.steps[self.talk.state, event]
                event = do(self)
        except Bug:
            self.happens(self.talk.broken(asked=True, begun=False))

    # What is done, under the table's names

    def receive(self) -> Event:
        data = self.recv()
        return self.talk.received(data, LIMITS) if data else self.talk.ended()

    def recv(self) -> bytes:
        size = 1 if self.bytewise else len(self.kernel)
        data, self.kernel = self.kernel[:size], self.kernel[size:]
        return data

    def wait(self) -> None:
        self.talk.waiting_since = self.now

    def wait_for_rest(self) -> None:
        self.talk.first_byte = self.talk.first_byte or self.now
        self.wait()

    def answer(self) -> Event | None:
        talk, head = self.talk, self.talk.head
        if head.host == "other.test":
            return talk.misdirected(first=not self.asked)
        self.asked = True
        talk.buffer = talk.buffer[len(talk.raw) :]
        talk.first_byte = 0.0
        self.path, self.content = head.path, b""
        self.body = BodyReader(head, LIMITS) if head.has_body else None
        if self.path == "/bug":
            raise Bug
        if self.path in ANSWERS:
            return self.send(Response(200, body=ANSWERS[self.path]))
        if self.path in ("/program", "/early", "/stream", "/tunnel"):
            return self.send(Response(200, deferred=_later))
        return self.send(Response(404))

    def refuse(self) -> Event | None:
        error, self.talk.error = self.talk.error, None
        assert error is not None
        self.talk.buffer, self.path, self.body = b"", "", None
        return self.send_last(Response(error.status))

    def apologize(self) -> Event | None:
        return self.send_last(Response(500))

    def send_last(self, response: Response) -> Event | None:
        response.close = True
        self.keep = False
        self.response = response
        return self.push()

    def send(self, response: Response, *, read: bool = False) -> Event | None:
        head = self.talk.head
        self.response = response
        waits_for = self.talk.waits_for(head, response, read=read)
        self.keep = head.keep_alive and not response.close and not self.talk.last
        return self.push() if waits_for is None else waits_for

    def send_answer(self) -> Event | None:
        return self.send(self.response, read=True)

    def push(self) -> Event:
        if self.path == "/big" and not self.room:
            return Event.FULL
        if self.path == "/stream":
            return Event.PART
        self.say()
        return Event.PART if self.keep and self.body is not None else self.over()

    def say(self) -> None:
        status, content = self.response.status, self.response.body
        assert isinstance(content, bytes)
        shown = f"{status} {content.decode()}" if status < 400 else str(status)
        self.words.append(shown + " close" * (not self.keep))

    def over(self) -> Event:
        return Event.KEPT if self.keep and not self.talk.last else Event.LAST

    def wait_for_room(self) -> None:
        self.wait()

    def go_on(self) -> Event | None:
        if self.talk.buffer:
            return self.talk.received(b"", LIMITS)
        self.wait()
        return None

    listen_again = go_on

    def work(self) -> None:
        if self.path == "/program" and self.talk.head.expect_continue and not self.talk.buffer:
            self.words.append("100")

    def read_first(self) -> None:
        self.unread = True

    def look_behind(self) -> None:
        raise AssertionError

    def stream(self) -> None:
        """See `task`."""

    def pass_on(self) -> None:
        raise AssertionError

    def task(self) -> Event | None:
        """What a task has come to; None where it waits."""
        match self.talk.state:
            case State.WORKING:
                return self.make_answer()
            case State.STREAMING:
                return self.send_rest()
        data, self.talk.buffer = self.talk.buffer or self.recv(), b""
        if data and self.words and self.words[-1].startswith("="):
            self.words[-1] += data.decode()
        elif data:
            self.words.append(f"={data.decode()}")
        return None if data or not self.ended else Event.LAST

    def make_answer(self) -> Event | None:
        if self.unread or self.path == "/program":
            try:
                if not self.read_body():
                    return None
            except HTTPError as error:
                self.unread, self.response = False, Response(error.status, close=True)
                return Event.ANSWERED
        if self.unread:
            self.unread = False
            return Event.ANSWERED
        if self.path in ("/program", "/early") and not self.told:
            return None
        if self.path == "/tunnel":
            return Event.SWITCHED
        self.told = self.told and self.path == "/stream"
        content = {"/program": self.content or b"done", "/early": b"early", "/stream": b"first"}[self.path]
        self.response = Response(200, body=content)
        return Event.ANSWERED

    def send_rest(self) -> Event | None:
        if self.path == "/stream":
            if not self.told:
                return None
            self.told = False
            self.say()
        try:
            if self.keep and not self.read_body():
                return None
        except HTTPError:
            self.keep = False
        return self.over()

    def read_body(self) -> bool:
        """Whether all of it is here."""
        if self.body is None or self.body.complete:
            return True
        data, self.talk.buffer = self.talk.buffer or self.recv(), b""
        if not data and self.ended:
            raise HTTPError(400)
        self.content += self.body.feed(data)
        self.talk.buffer = self.body.leftover
        return self.body.complete

    def switch(self) -> None:
        self.words.append("101")

    def be_last(self) -> None:
        self.talk.last = True

    def hurry(self) -> None:
        self.talk.last = True
        self.wait()

    def give_up(self) -> None:
        self.words.append("closed")

    def break_off(self) -> None:
        self.words += ["cut", "closed"]

    def end_in_silence(self) -> None:
        self.words.append("closed")

    close_gently = close_at_once = end_in_silence


Play.steps = steps_of(Play)
