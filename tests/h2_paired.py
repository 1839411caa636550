"""A conversation of HTTP/2 with a worker's real connection, over a socket pair: the same lines as without one.

The clock is not real; all else is: the event loop, the socket, programs as tasks.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from hyperframe.frame import SettingsFrame

from h2_pair import Pair
from h2_play import BODY_LIMIT, FOUND, PROGRAM, Limits, Play, shown
from ownhost.http.deadlines import Deadlines
from ownhost.http.h2_frames import PREFACE
from ownhost.http.message import FileBody, HTTPError, RequestBody, Response
from ownhost.processes.worker.h2_conversation import Commands, Event
from ownhost.processes.worker.http2 import Http2Connection
from ownhost.request.request import Request
from ownhost.request.serve import error_response

TURNS = 12  # of the event loop, after which nothing more happens by itself
LIMITS = Limits()
SETTINGS = f"Timeout 5\nKeepAliveTimeout 3\nLimitRequestBody {BODY_LIMIT}\nH2MaxSessionStreams {LIMITS.streams.streams}"
PAGES = "\n".join(
    f'ErrorDocument {status} "{text}"' for status, text in ((404, "none"), (413, "large"), (500, "sorry"))
)
CONFIG = f"{SETTINGS}\n{PAGES}\nErrorDocument 421 misdirected\n"


class Clock:
    """An event loop whose time goes on when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)


class Program:
    """One that does what it is told."""

    def __init__(self) -> None:
        self.orders: asyncio.Queue[str] = asyncio.Queue()
        self.reading: asyncio.Future[Any] | None = None

    async def run(self, body: RequestBody, *, stubborn: bool) -> Response:
        while True:
            try:
                order = await self.orders.get()
            except asyncio.CancelledError:
                if not stubborn:
                    raise
                continue
            kind, _, rest = order.partition(" ")
            if kind == "reads":
                self.reading = asyncio.ensure_future(body.read())
            elif kind == "answers":
                return Response(200, [], rest.encode())
            else:
                return Response(200, [], Said(self.orders))


class Said:
    """What a program says, as it says it."""

    length: int | None = None

    def __init__(self, orders: asyncio.Queue[str]) -> None:
        self.orders = orders

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (order := await self.orders.get()) != "has said all":
            if order == "fails":
                raise ConnectionError
            assert order != "breaks"
            yield order.partition(" ")[2].encode()

    def close(self) -> None: ...


class FullSocket:
    """A socket that takes no more, when it is told so."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.full = False

    def send(self, data: bytes, flags: int) -> int:
        if self.full:
            raise BlockingIOError
        return self.sock.send(data, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


class PairedPlay(Play):
    """One with a worker's connection."""

    def __init__(self, pair: Pair, *, bytewise: bool) -> None:
        super().__init__(bytewise=bytewise)
        self.pair = pair
        self.clock = Clock(pair.loop)
        pair.worker.loop = self.clock  # type: ignore[assignment]
        pair.worker.deadlines = Deadlines(self.clock)  # type: ignore[arg-type]
        self.programs: dict[int, Program] = {}
        pair.service.site.handlers["default-handler"] = self.handle
        for path in (*FOUND, "/program", "/stubborn", "/short", "/bug"):
            pair.file(path[1:], b"")
        self.peer = pair.connect()
        self.connection = self.peer.connection
        self.sock = self.connection.sock = FullSocket(self.connection.sock)  # type: ignore[arg-type, assignment]

    def handle(self, request: Request) -> Response:
        """Answer as in the other way of holding conversations."""
        request.pure = False
        if request.uri in ("/program", "/stubborn"):
            program = self.programs[max(self.connection.talk.streams)] = Program()
            return Response(200, deferred=lambda body: program.run(body, stubborn=request.uri == "/stubborn"))
        if request.uri == "/short":
            return Response(200, [], FileBody(os.open(os.devnull, os.O_RDONLY), [(0, 5)]))
        assert request.uri != "/bug"
        status, content = FOUND[request.uri]
        return error_response(request, HTTPError(status)) if status >= 400 else Response(status, [], content)

    async def begin(self) -> None:
        """Meet."""
        await self.read(PREFACE + SettingsFrame(0).serialize())
        self.take()

    async def read(self, data: bytes) -> None:
        for part in self.parts(data):
            if not self.connection.talk.is_closed:
                self.peer.sock.sendall(part)
                await self.turns()

    async def turns(self) -> None:
        """Have all happen that happens by itself."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        try:
            while data := self.peer.sock.recv(65_536):
                self.said += self.client.hears(data)
        except OSError:
            pass

    async def hear(self, words: str) -> None:
        connection = self.connection
        if program := PROGRAM.fullmatch(words):
            await self.programs[int(program[1])].orders.put(program[2])
        elif words.endswith("seconds"):
            self.clock.now += float(words.split()[0])
            if connection.talk.alarm <= self.clock.now and not connection.talk.is_closed:
                connection.check_time()
        elif words == "the worker stops":
            self.pair.worker.stopping = True
            connection.soon()
        elif words in ("full", "room"):
            self.sock.full = words == "full"
        elif words == "stop":
            connection.close_if_idle()
        elif words == "supersede":
            connection.perform(connection.talk.take(Event.SUPERSEDE, self.clock.now))
        elif words:
            said, end, _ = words.partition("EOF")
            await self.read(b"".join(self.client.says(part) for part in said.split("; ") if part))
            if end:
                self.peer.sock.shutdown(socket.SHUT_WR)
        await self.turns()


def recording(play: Callable[[], PairedPlay | None]) -> Callable[[Http2Connection, Commands], None]:
    """What a connection does instead of `perform`: the same, and it is noted."""
    perform = Http2Connection.perform

    def record(self: Http2Connection, commands: Commands) -> None:
        held = play()
        if held is not None:
            held.done += [shown(*command) for command in commands]
        perform(self, commands)

    return record
