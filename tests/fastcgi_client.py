"""A FastCGI client for tests, and a runner to talk to: small, and independent of the code under test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RUNNER = Path(__file__).parent.parent / "src/ownhost/apps/runner/wsgi_runner.py"
PYTHON = str(Path(sys.executable).resolve())


def record(kind: int, content: bytes = b"", number: int = 1) -> bytes:
    """One record, padded to eight bytes."""
    padding = -len(content) % 8
    return struct.pack(">BBHHBx", 1, kind, number, len(content), padding) + content + bytes(padding)


def begin(*, keep: bool = False, role: int = 1) -> bytes:
    """BEGIN_REQUEST."""
    return record(BEGIN, struct.pack(">HB5x", role, int(keep)))


def pairs(params: dict[str, str]) -> bytes:
    """Names and values; every length in four bytes, so that both forms are met over time."""
    encoded = b""
    for name, value in params.items():
        key, text = name.encode("latin-1"), value.encode("latin-1")
        sizes = (
            bytes((len(part),)) if len(part) < 128 else struct.pack(">I", len(part) | 1 << 31) for part in (key, text)
        )
        encoded += b"".join(sizes) + key + text
    return encoded


def environment(path: str = "/", method: str = "GET", **more: str) -> dict[str, str]:
    """What a worker says of a request."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        **more,
    }


@dataclass
class Reply:
    """What came back."""

    output: bytes = b""
    errors: str = ""
    status: int | None = None  # None: the connection ended first

    @property
    def head(self) -> dict[str, str]:
        lines = self.output.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.output.partition(b"\r\n\r\n")[2]


class Client:
    """One connection to a program."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, params: dict[str, str], body: Iterable[bytes] = (), *, keep: bool = False) -> None:
        """A whole request."""
        self.socket.sendall(begin(keep=keep) + record(PARAMS, pairs(params)) + record(PARAMS))
        for part in body:
            for start in range(0, len(part), 65_528):
                self.socket.sendall(record(STDIN, part[start : start + 65_528]))
        self.socket.sendall(record(STDIN))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """What comes back, record by record."""
        while len(header := self.file.read(8)) == 8:
            _, kind, _, size, padding = struct.unpack(">BBHHBx", header)
            yield kind, self.file.read(size + padding)[:size]

    def reply(self) -> Reply:
        """All of one response."""
        reply, output = Reply(), bytearray()
        for kind, content in self.records():
            if kind == STDOUT:
                output += content
            elif kind == STDERR:
                reply.errors += content.decode()
            elif kind == END:
                reply.status = struct.unpack(">IB3x", content)[0]
                break
        reply.output = bytes(output)
        return reply

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@dataclass
class Runner:
    """The real runner, with a socket of its own."""

    folder: Path
    script: Path
    options: tuple[str, ...] = ()
    python: str = PYTHON
    name: str = "application"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = self.folder / "socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        self.log = self.folder / "errors"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, str(RUNNER), str(self.script), self.name, *self.options],
                stdin=self.listener.fileno(),
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **self.environment},
                cwd="/",
            )

    def ask(self, params: dict[str, str] | None = None, body: Iterable[bytes] = ()) -> Reply:
        """One request on a connection of its own."""
        client = Client(self.path)
        try:
            client.send(environment() if params is None else params, body)
            return client.reply()
        finally:
            client.close()

    def get(self, path: str = "/", **more: str) -> Reply:
        return self.ask(environment(path, **more))

    def peak(self) -> int:
        """The most memory that the process ever had, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.listener.close()
