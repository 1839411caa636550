"""A worker's connections in this process, over socket pairs: HTTP/2 with the h2 library as its client, and HTTP/1."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from hyperframe.frame import Frame, GoAwayFrame

from ownhost.http.message import RequestBody, Response
from ownhost.http.tls import TLSFacts
from ownhost.identity.identity import UNASSIGNED, Identity
from ownhost.modules.log_config import logs_of
from ownhost.processes import mailbox
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Channel
from ownhost.processes.slices import LogPlaces, WorkerSlice
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.http2 import Http2Connection
from ownhost.processes.worker.worker import Worker
from ownhost.request.errorlog import ERROR_LOG
from ownhost.request.hosts import OTHER_OWNER, HostIndex, NameTable
from ownhost.request.request import Request
from serving import make_server
from waiting import turns

Program = Callable[[Request, RequestBody], Awaitable[Response]]
BIG = os.urandom(1_000_000)  # what files called big.bin hold
PATIENCE = 20.0  # seconds that anything may take
LOG = 'LogFormat "%r %>s %b %I %O %k %X %H %{Content-Type}o" all\nCustomLog access.log all\n'


@dataclass
class Answer:
    """What came on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    interim: list[int] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None  # the error code


class Pair:
    """A worker over one virtual host, site.test, and connections to it."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        server = make_server(folder, LOG + text)
        self.gates, box = mailbox.mailbox_pair()
        self.logs = [(folder / name).open("w+b") for name in ("error.txt", "access.txt")]
        slice_ = WorkerSlice(
            Identity(0, 0, (), "test"), [server], {server.id: frozenset((UNASSIGNED,))}, UNASSIGNED, server
        )
        slice_ = pickle.loads(pickle.dumps(slice_))
        slice_.names = HostIndex({}, NameTable(server.id, {"other.test": (0, OTHER_OWNER)}))
        slice_.logs = LogPlaces({server.settings[ERROR_LOG]: 2}, {log.target: 3 for log in logs_of(server)})
        descriptors = [box.detach(), os.dup(self.gates.fileno()), *(log.fileno() for log in self.logs)]
        self.loop = uvloop.new_event_loop()
        self.worker = Worker(Channel(self.gates, ()), slice_, descriptors, self.loop)
        self.service = next(iter(self.worker.services.values()))
        self.programs: dict[str, Program] = {}
        self.peers: list[socket.socket] = []
        self.bugs: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.bugs.append(context))
        files = self.service.site.handlers["default-handler"]
        self.service.site.handlers["default-handler"] = lambda request: self._handle(request, files)

    def _handle(self, request: Request, files: Callable[[Request], Response]) -> Response:
        program = self.programs.get(request.uri)
        if program is None:
            return files(request)
        request.pure = False
        return Response(200, deferred=lambda body: program(request, body))

    def file(self, name: str, content: bytes) -> None:
        """Put a file into the document root."""
        (self.root / name).write_bytes(content)
        os.utime(self.root / name, (1_000_000_000, 1_000_000_000))

    def program(self, path: str) -> Callable[[Program], Program]:
        """Have a function answer for a path, later."""
        self.file(path.removeprefix("/"), b"")

        def add(program: Program) -> Program:
            self.programs[path] = program
            return program

        return add

    def handover(self) -> Handover:
        """What a gate says of a connection."""
        return Handover(self.service.site.virtual_host.id, "192.0.2.1", 4242, "127.0.0.1", 80, "site.test")

    async def ask_http1(self, data: bytes) -> bytes:
        """Send bytes on a HTTP/1 connection, and give all that comes until the server closes."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        theirs.sendall(data)
        Connection(self.worker, ours, self.handover()).begin()
        said = b""
        with theirs:
            while data := await self.loop.sock_recv(theirs, 65_536):
                said += data
        return said

    def connect(self, *, buffer: int = 0) -> Peer:
        """A new HTTP/2 connection. `buffer` is bytes that the sockets hold at most."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs) if buffer else ():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        handover = self.handover()
        connection = Http2Connection(self.worker, ours, handover)
        connection.endpoints.secure = True
        connection.endpoints.known = TLSFacts(
            "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "site.test", False, server=handover.server
        )
        theirs.setblocking(False)
        connection.begin()
        self.peers.append(theirs)
        return Peer(self, connection, theirs)

    def run(self, work: Coroutine[Any, Any, None], *, bugs: int = 0) -> None:
        """Run a test, and see that the worker is left clean: but for so many bugs, which were to be."""

        async def limited() -> None:
            async with asyncio.timeout(PATIENCE):
                await work

        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(limited())
        assert self.bugs == []
        assert self.errors().count("a bug in Ownhost") == bugs, self.errors()

    def errors(self) -> str:
        """The error log so far."""
        return self._log("error.txt")

    def accesses(self) -> list[str]:
        """The access log so far, as lines."""
        return self._log("access.txt").splitlines()

    def _log(self, name: str) -> str:
        for writer in self.worker.writers:
            writer.finish()
        return (self.folder / name).read_text()

    def close(self) -> None:
        """End all connections, and give everything back."""
        for connection in list(self.worker.connections):
            connection.close()  # type: ignore[attr-defined]  # all that a worker has can
        self.worker.lingering.end()
        self.loop.run_until_complete(turns())
        self.loop.close()
        self.worker.mailbox.close()
        self.worker.orders.close()
        self.gates.close()
        for peer in self.peers:
            peer.close()
        for log in self.logs:
            log.close()


class Peer:
    """The client's side."""

    def __init__(self, pair: Pair, connection: Http2Connection, sock: socket.socket) -> None:
        self.pair = pair
        self.connection = connection
        self.sock = sock
        checked = False  # what a client must not send is what is tried here
        self.h2 = H2Connection(H2Configuration(validate_outbound_headers=checked, normalize_outbound_headers=checked))
        self.answers: dict[int, Answer] = {}
        self.goaway: tuple[int, int] | None = None  # the last stream that is served, and the error code
        self.waiting = b""
        self.lost = False  # the server closed
        self.acknowledges = True  # what comes is taken, and the windows opened again
        self.received = 0
        self.h2.initiate_connection()

    def ask(
        self,
        path: str = "/",
        *extra: tuple[str, str],
        method: str = "GET",
        host: str = "site.test",
        end: bool = True,
    ) -> int:
        """Begin a request. The number of its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = ((":method", method), (":scheme", "https"), (":authority", host), (":path", path))
        self.h2.send_headers(stream, [*head, *extra], end_stream=end)
        self.answers[stream] = Answer()
        return stream

    async def send(self, data: bytes | Frame = b"") -> None:
        """Send what h2 has to say, then these bytes."""
        said = self.h2.data_to_send() + (data if isinstance(data, bytes) else data.serialize())
        with contextlib.suppress(ConnectionError):
            await self.pair.loop.sock_sendall(self.sock, said)

    async def until(self, done: Callable[[], bool]) -> None:
        """Take what comes until something is so, or the server closes."""
        await self.send()
        while not done() and not self.lost:
            try:
                data = await self.pair.loop.sock_recv(self.sock, 65_536)
            except ConnectionError:
                data = b""
            self.received += len(data)
            self.lost = not data
            for frame in self._cut(data):
                for event in self.h2.receive_data(frame):
                    self._note(event)
            await self.send()

    def _cut(self, data: bytes) -> Iterator[bytes]:
        """Whole frames, but for GOAWAY, after which h2 would take no more answers."""
        self.waiting += data
        while len(self.waiting) >= 9 and len(self.waiting) >= (size := 9 + int.from_bytes(self.waiting[:3], "big")):
            frame, self.waiting = self.waiting[:size], self.waiting[size:]
            if frame[3] == GoAwayFrame.type:
                self.goaway = (int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big"))
            else:
                yield frame

    def _note(self, event: object) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0), Answer())
        if isinstance(event, ResponseReceived):
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            answer.status, answer.headers = int(headers.pop(":status")), headers
        elif isinstance(event, InformationalResponseReceived):
            answer.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = int(event.error_code)

    async def answer(self, stream: int) -> Answer:
        """The whole answer to a request."""
        answer = self.answers[stream]
        await self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    async def get(
        self, path: str = "/", *extra: tuple[str, str], method: str = "GET", host: str = "site.test"
    ) -> Answer:
        """Ask, and wait for the answer."""
        return await self.answer(self.ask(path, *extra, method=method, host=host))


async def echo(_: Request, body: RequestBody) -> Response:
    """A program that says what it was told."""
    content = await body.read()
    return Response(200, [("Content-Type", "text/plain")], b"".join(content.pieces()))
