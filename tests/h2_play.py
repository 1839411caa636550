"""A conversation of HTTP/2 that is held line by line: what both ways of holding it have in common, and the pure one.

The client's frames are made here, and ours are read, without a library that would keep either from breaking a rule.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ownhost.http.h2_frames import PREFACE
from ownhost.http.limits import HeadLimits
from ownhost.http.message import ClientGone
from ownhost.modules.mod_http2 import StreamLimits
from ownhost.modules.reqtimeout import ReadTimeout
from ownhost.processes.worker.h2_conversation import Commands, Conversation
from ownhost.processes.worker.h2_conversation import Event as On
from ownhost.processes.worker.h2_head import Malformed, read_head
from ownhost.processes.worker.h2_stream import Event, State, Stream

BIG = b"b" * 50_000
FOUND = {"/text": (200, b"text"), "/none": (404, b"none"), "/empty": (204, b""), "/big": (200, BIG)}
BODY_LIMIT = 100
SHOWN_LENGTH = 20  # bytes of content that are shown as they are
HIDDEN = (SettingsFrame, PingFrame)


@dataclass
class Limits:
    """What the virtual host of all conversations says."""

    timeout: float = 5.0
    keep_alive_timeout: float = 3.0
    read_timeout: ReadTimeout = field(default_factory=ReadTimeout)
    streams: StreamLimits = field(default_factory=lambda: StreamLimits(4, 65_535, 65_536, 16_384, True))


class Client:
    """The client's side of the wire."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.pending = b""

    def says(self, words: str) -> bytes:
        """The bytes of a part of a line."""
        first, _, rest = words.partition(" ")
        if words == "goaway":
            return GoAwayFrame(0).serialize()
        if first == "bytes":
            return bytes.fromhex(rest)
        if rest == "pings":
            return PingFrame(0, opaque_data=b"12345678").serialize() * int(first)
        if rest == "resets":
            return RstStreamFrame(1, error_code=8).serialize() * int(first)
        if words.startswith("window of streams"):
            return SettingsFrame(0, settings={4: int(words.split()[-1])}).serialize()
        if first == "window":
            return WindowUpdateFrame(0, window_increment=int(rest)).serialize()
        return self._frame(int(first), rest)

    def _frame(self, stream: int, words: str) -> bytes:
        kind, _, rest = words.partition(" ")
        if kind == "window":
            return WindowUpdateFrame(stream, window_increment=int(rest)).serialize()
        if kind == "RST":
            return RstStreamFrame(stream, error_code=ErrorCodes.CANCEL).serialize()
        if kind == "trailers":
            return self._headers(stream, [(b"x-sum", b"1")], end=True)
        if kind == "DATA":
            content, end, padding = re.fullmatch(r"(.*?)( END)?(?: padded (\d+))?", rest).groups()  # type: ignore[union-attr]
            flags = [*(["END_STREAM"] if end else []), *(["PADDED"] if padding else [])]
            return DataFrame(stream, data=content.encode(), flags=flags, pad_length=int(padding or 0)).serialize()
        path, _, field_line = rest.partition(" ")
        host = field_line.removeprefix("at ") if field_line.startswith("at ") else "site.test"
        head = [(b":method", kind), (b":scheme", "https"), (b":authority", host), (b":path", path)]
        if ": " in field_line:
            name, _, value = field_line.partition(": ")
            head.append((name.encode(), value))
        return self._headers(stream, [(name, value.encode()) for name, value in head], end=kind != "POST")

    def _headers(self, stream: int, fields: list[tuple[bytes, bytes]], *, end: bool) -> bytes:
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        return HeadersFrame(stream, data=self.encoder.encode(fields), flags=flags).serialize()

    def hears(self, data: bytes) -> list[str]:
        """What came, in words."""
        self.pending += data
        words = []
        while len(self.pending) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(self.pending[:9]))
            if len(self.pending) < 9 + size:
                break
            frame.parse_body(memoryview(self.pending[9 : 9 + size]))
            self.pending = self.pending[9 + size :]
            if not isinstance(frame, HIDDEN):
                words.append(self._shown(frame))
        return words

    def _shown(self, frame: Frame) -> str:
        end = " END" * ("END_STREAM" in frame.flags)
        match frame:
            case HeadersFrame():
                status = dict(self.decoder.decode(frame.data, raw=True))[b":status"].decode()
                return f"{frame.stream_id} HEADERS {status}{end}"
            case DataFrame():
                content = frame.data.decode() if len(frame.data) <= SHOWN_LENGTH else str(len(frame.data))
                return f"{frame.stream_id} DATA {content}{end}".replace("  ", " ")
            case RstStreamFrame():
                return f"{frame.stream_id} RST {ErrorCodes(frame.error_code).name}"
            case GoAwayFrame():
                return f"GOAWAY {frame.last_stream_id} {ErrorCodes(frame.error_code).name}"
            case WindowUpdateFrame():
                return f"{frame.stream_id} WINDOW {frame.window_increment}"
        return repr(frame)


def shown(what: str, stream: Stream | None, details: tuple[Any, ...]) -> str:
    """A command in words; "" for what no conversation is about."""
    if what in ("soon", "serve", "send", "pour"):
        return ""
    if what == "hang_up":
        (patience,) = details
        return "hang_up" if patience is None else "hang_up and wait" if patience else "hang_up at once"
    content = f" {details[0].decode()}" if what == "deliver" else ""
    return f"{what} {stream.id}{content}" if stream is not None else what


def about(word: str) -> int:
    """The stream that a command is about. Those of several may come in any order."""
    numbers = re.findall(r" (\d+)", word)
    return int(numbers[0]) if numbers else 1_000


class Play(ABC):
    """A conversation that is held."""

    def __init__(self, *, bytewise: bool) -> None:
        self.bytewise = bytewise
        self.client = Client()
        self.done: list[str] = []
        self.said: list[str] = []
        self.all: list[str] = []  # that was done

    def parts(self, data: bytes) -> list[bytes]:
        """Bytes as they come."""
        return [bytes((byte,)) for byte in data] if self.bytewise else [data]

    @abstractmethod
    async def hear(self, words: str) -> None:
        """Have one line happen."""

    def take(self) -> list[str]:
        """What was said and done since the last time."""
        found = [*self.said, *sorted(filter(None, self.done), key=about)]
        self.all += [word.split(" and ")[0] for word in self.done]
        self.said, self.done = [], []
        return found

    async def hold(self, script: str) -> None:
        """Hold a conversation."""
        expected: list[str] = []
        before = "begin"
        for line in [*script.strip().splitlines(), ">> "]:
            line = line.strip(" \n")
            if line.startswith("<< "):
                expected += filter(None, line[3:].split("; "))
            elif line:
                frames = [word for word in expected if " HEADERS" in word or word[0].isdigit() or word[0] == "G"]
                done = sorted((word for word in expected if word not in frames), key=about)
                found = self.take()
                assert found == [*frames, *done], f"{before}: {found}, not {[*frames, *done]}"
                expected, before = [], line
                await self.hear(line[3:])


class Body:
    """What follows a response's head, as a program says it."""

    def __init__(self, content: bytes = b"", *, ended: bool = True, short: bool = False) -> None:
        self.content = content
        self.ended = ended
        self.short = short

    @property
    def is_here(self) -> bool:
        return self.ended or bool(self.content)

    @property
    def is_over(self) -> bool:
        return self.ended and not self.content

    def take(self, size: int) -> bytes:
        if self.short:
            raise ClientGone
        data, self.content = self.content[:size], self.content[size:]
        return data


class Answerer:
    """Does what a stream's table says, by what is asked for. `worker.h2_answering` is the real one."""

    timeout = Limits.timeout
    body_limit = BODY_LIMIT

    def __init__(self, play: PurePlay, stream: Stream) -> None:
        self.play, self.stream, self.talk = play, stream, play.talk
        self.path = self.method = ""
        self.response: tuple[int, bytes] = (200, b"")
        self.body: Body | None = None
        self.waiting = 0  # bytes that nobody has read
        self.reads = False

    def serve(self, fields: Any) -> None:
        try:
            head = read_head(fields, HeadLimits(8_190, 100, 8_190, 65_536), ended=self.stream.complete)
        except Malformed as error:
            self.play.perform(self.talk.break_rule(self.stream, str(error), self.play.now))
            return
        self.path, self.method = head.path, head.method
        if self.path == "/bug":
            self.broke(AssertionError())
            return
        self.stream.read(head, self.play.limits)
        self.response = FOUND.get(self.path, (200, b"")) if head.host == "site.test" else (421, b"misdirected")
        program = self.path in ("/program", "/stubborn")
        self.play.perform(self.talk.found(self.stream, self.response[0], self.play.now, program=program))

    def send(self) -> None:
        status, content = self.response
        self.respond(status, Body(content, short=self.path == "/short") if content or self.path == "/short" else None)

    def respond(self, status: int, body: Body | None) -> None:
        self.body = body if self.method != "HEAD" else None
        fields = [(b":status", b"%d" % status)]
        self.play.perform(self.talk.respond(self.stream, fields, self.body, self.play.now))

    def refuse(self) -> None:
        self.respond(413, Body(b"large"))

    def apologize(self) -> None:
        self.respond(500, Body(b"sorry"))

    def deliver(self, data: bytes, size: int) -> None:
        self.waiting += size
        self.acknowledge()

    def acknowledge(self) -> None:
        if self.reads:
            self.talk.acknowledge(self.stream.id, self.waiting)
            self.waiting = 0

    def cancel(self) -> None:
        if self.path != "/stubborn":
            self.play.soon.append(lambda: self.talk.step(self.stream, Event.FAILED, self.play.now, ErrorCodes.CANCEL))

    def run(self) -> None: ...
    def wake(self) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...
    def pour(self) -> None: ...
    def log(self, *_: object) -> None: ...

    def broke(self, _: Exception) -> None:
        self.play.perform(self.talk.step(self.stream, Event.BROKE, self.play.now))

    def program(self, words: str) -> None:
        """The program does something."""
        kind, _, rest = words.partition(" ")
        play = self.play
        if kind == "reads":
            self.reads = True
            if self.stream.expects:
                self.talk.go_ahead(self.stream)
            self.acknowledge()
        elif kind == "answers":
            self.respond(200, Body(rest.encode()) if rest else None)
            play.perform(self.talk.step(self.stream, Event.ENDED, play.now))
        elif kind == "fails":
            play.perform(self.talk.step(self.stream, Event.FAILED, play.now))
        elif kind == "breaks":
            self.broke(AssertionError())
        elif rest == "200":
            self.respond(200, Body(ended=False))
            if self.stream.state is not State.STREAMING:  # nobody waits for what follows
                play.perform(self.talk.step(self.stream, Event.ENDED, play.now))
        elif self.body is not None and kind == "says":
            self.body.content += rest.encode()
            self.talk.more(self.stream)
        elif self.body is not None:  # has said all
            self.body.ended = True
            self.talk.more(self.stream)
            play.perform(self.talk.step(self.stream, Event.SAID, play.now))
            play.perform(self.talk.step(self.stream, Event.ENDED, play.now))


PROGRAM = re.compile(r"(\d+) ((?:reads|answers|says|fails|breaks|has said all).*)")


class PurePlay(Play):
    """One without socket and loop: the conversation's decisions alone."""

    def __init__(self, *, bytewise: bool) -> None:
        super().__init__(bytewise=bytewise)
        self.limits = Limits()
        self.now = 1_000.0
        self.talk = Conversation(self.limits, self.now)
        self.soon: list[Any] = []
        self.stopping = self.full = self.forgotten = False
        self.answering: dict[int, Answerer] = {}
        self.read(PREFACE + SettingsFrame(0).serialize())
        self.said.clear()

    def perform(self, commands: Commands) -> None:
        for command in commands:
            what, stream, details = command
            self.done.append(shown(*command))
            if what == "serve":
                stream, fields = details
                assert stream.answering is None
                stream.answering = self.answering[stream.id] = Answerer(self, stream)
                stream.answering.serve(fields)
            elif stream is not None:
                getattr(stream.answering, what)(*details)
            elif what == "soon":
                self.soon.append(list)
            elif what == "hang_up" and details != (None,):
                self.flush()

    def read(self, data: bytes) -> None:
        for part in self.parts(data):
            if self.talk.is_closed:
                break
            self.perform(self.talk.received(part, self.now))
            self.turn()

    def flush(self) -> None:
        if not self.full:
            waiting = bytes(self.talk.output.waiting)
            self.talk.took(len(waiting), self.now)
            self.said += self.client.hears(waiting)

    def turn(self) -> None:
        """A turn of the event loop, and those that it asks for."""
        while True:
            while (commands := self.talk.act(self.now)) is not None:
                self.perform(commands)
            if not self.talk.is_closed:
                self.perform(self.talk.fill(self.now))
                self.flush()
                self.perform(self.talk.settle(self.now, stopping=self.stopping))
            if self.talk.alarm <= self.now:
                self.perform(self.talk.expired(self.now))
                continue
            if not self.soon:
                break
            later, self.soon = self.soon, []
            for call in later:
                self.perform(call())

    async def hear(self, words: str) -> None:
        self.step(words)

    def step(self, words: str) -> None:
        """Have one line happen."""
        if program := PROGRAM.fullmatch(words):
            self.answering[int(program[1])].program(program[2])
        elif words.endswith("seconds"):
            self.now += float(words.split()[0])
        elif words == "the worker stops":
            self.stopping = True
        elif words in ("full", "room"):
            self.full = words == "full"
        elif words == "stop":
            self.perform(self.talk.take(On.STOP, self.now))
        elif words == "supersede":
            self.perform(self.talk.take(On.SUPERSEDE, self.now))
        elif words:
            said, end, _ = words.partition("EOF")
            frames = [part for part in said.split("; ") if part]
            self.read(b"".join(self.client.says(part) for part in frames))
            if end:
                self.perform(self.talk.take(On.GONE, self.now))
        self.turn()
