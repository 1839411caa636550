"""A client that takes what comes: it sends requests as they are written and reads the answers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from oracle.cases import Asked


class BrokenAnswer(ValueError):
    """What came is no HTTP/1.1."""


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    fields: dict[str, str]  # by names in small letters; the values of equal names with commas between
    body: bytes
    dropped: bool = False  # the connection ended without an answer, and a new one was needed


NONE = Answer(0, {}, b"")  # the connection ended without an answer, even as the first request on it


def connected(port: int) -> socket.socket:
    """A connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), 10)


def ask(port: int, requests: list[Asked], connect: Callable[[int], socket.socket] = connected) -> list[Answer]:
    """The answers to requests on one connection; on a further one where that is dropped before it answered.

    `@PORT@` in them is the server's port.
    """
    answers: list[Answer] = []
    while len(answers) < len(requests):
        before = len(answers)
        with connect(port) as sock, sock.makefile("rb") as stream:
            for asked in requests[before:]:
                sock.sendall(asked.data.replace(b"@PORT@", b"%d" % port))
                answer = _read(stream, asked)
                if answer is None:
                    break
                dropped = 0 < before == len(answers)
                answers.append(replace(answer, dropped=dropped))
            else:
                _expect_the_end(stream, requests[-1], answers[-1])
        if len(answers) == before:
            answers.append(NONE)
    return answers


def _read(stream: BinaryIO, asked: Asked) -> Answer | None:
    """One answer; None where the connection ends instead. Its field X-Interim has what came before it (1xx)."""
    interims: list[str] = []
    while answer := _read_one(stream, asked):
        if answer.status >= 200:
            return replace(answer, fields={**answer.fields, "x-interim": "; ".join(interims)}) if interims else answer
        interims.append(", ".join([str(answer.status), *(f"{name}: {v}" for name, v in sorted(answer.fields.items()))]))
    return None


def _read_one(stream: BinaryIO, asked: Asked) -> Answer | None:
    try:
        line = stream.readline()
    except ConnectionResetError:
        return None
    if not line:
        return None
    if not line.startswith(b"HTTP/1."):
        raise BrokenAnswer(f"{asked.where}: expected a status line, not {line[:60]!r}")
    status = int(line.split()[1])
    fields = _fields(stream)
    if status < 200:
        return Answer(status, fields, b"")
    return Answer(status, fields, _body(stream, asked.method, status, fields))


def _fields(stream: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        name = name.lower()
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    return fields


def _body(stream: BinaryIO, method: str, status: int, fields: dict[str, str]) -> bytes:
    if method == "HEAD" or status in (204, 304):
        return b""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        chunks = []
        while size := int(stream.readline().split(b";")[0], 16):
            chunks.append(stream.read(size))
            stream.readline()
        _fields(stream)
        return b"".join(chunks)
    if "content-length" in fields:
        return stream.read(int(fields["content-length"]))
    return stream.read()


def _expect_the_end(stream: BinaryIO, asked: Asked, answer: Answer) -> None:
    """Nothing may follow the last answer."""
    if answer.fields.get("connection", "").lower() != "close":
        return
    with contextlib.suppress(ConnectionResetError):
        rest = stream.read()
        if rest:
            raise BrokenAnswer(f"{asked.where}: {rest[:60]!r} after the answer to {asked.title}")
