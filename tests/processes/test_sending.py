"""Responses that are here, on their way into a socket: bytes and ranges of a file, as far as they go."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ownhost.http.message import FileBody, Response
from ownhost.processes.worker.sending import PER_TURN, Gone, Sending, push
from ownhost.request.request import Request

CONTENT = b"".join(b"%07d\n" % number for number in range(1_500_000))  # more than a turn, and than a socket holds
Ends = tuple[socket.SocketType, socket.socket]
Make = Callable[..., Sending]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A worker's end and a client's."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    ours = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, accepted.detach())
    yield ours, client
    ours.close()
    client.close()


@pytest.fixture(params=[(True, True), (False, True), (False, False)], ids=["mapped", "by the kernel", "read"])
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a response of a head and parts of a file."""
    maps: bool
    kernel: bool
    maps, kernel = request.param
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    made: list[Sending] = []

    def one(*parts: bytes | tuple[int, int], by_kernel: bool = kernel, by_map: bool = maps) -> Sending:
        sending = Sending(Request.__new__(Request), Response(200), keep=True)
        sending.file = FileBody(os.open(path, os.O_RDWR), list(parts), by_kernel, by_map)
        sending.left = deque(parts)
        made.append(sending)
        return sending

    yield one
    for sending in made:
        sending.close()


def push_on(sock: socket.SocketType, sending: Sending) -> None:
    """Push until all is out."""
    for _ in range(1_000):
        if push(sock, sending):
            return


def received(ends: Ends, sending: Sending) -> bytes:
    """All that arrives while a response is pushed until it is out."""
    ours, client = ends
    data = bytearray()
    client.setblocking(False)
    done = False
    while not done or len(data) < sending.sent:
        try:
            done = done or push(ours, sending)
        except BlockingIOError:
            assert sending.left
        try:
            data += client.recv(1 << 20)
        except BlockingIOError:
            assert not done or len(data) <= sending.sent
    return bytes(data)


def test_head_and_whole_file_arrive_in_order(ends: Ends, make: Make) -> None:
    sending = make(b"head\r\n\r\n", (0, len(CONTENT)))
    assert received(ends, sending) == b"head\r\n\r\n" + CONTENT
    assert sending.sent == 8 + len(CONTENT)


def test_ranges_with_bytes_between_them(ends: Ends, make: Make) -> None:
    sending = make(b"head", (8, 8), b"--between--", (800_000, 1_500_000), b"--end--")
    wanted = b"head" + CONTENT[8:16] + b"--between--" + CONTENT[800_000:2_300_000] + b"--end--"
    assert received(ends, sending) == wanted


def test_where_the_server_is_told_to_read_the_file(ends: Ends, make: Make) -> None:
    assert received(ends, make(b"h", (0, 200_000), by_kernel=False)) == b"h" + CONTENT[:200_000]


def test_a_file_system_without_sendfile(ends: Ends, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "sendfile", refuse)
    assert received(ends, make(b"h", (0, 200_000))) == b"h" + CONTENT[:200_000]


def test_one_turn_sends_little_more_than_its_share(ends: Ends, make: Make) -> None:
    sending = make((0, len(CONTENT)))
    before = 0
    while sending.left:
        try:
            push(ends[0], sending)
        except BlockingIOError:
            ends[1].recv(1 << 20)
        assert sending.sent - before <= 2 * PER_TURN
        before = sending.sent


def test_a_socket_that_takes_nothing_is_waited_for(ends: Ends, make: Make) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sending = make((0, len(CONTENT)))
    with pytest.raises(BlockingIOError):
        push_on(ends[0], sending)
    sent = sending.sent
    assert 0 < sent < len(CONTENT)
    with pytest.raises(BlockingIOError):
        push(ends[0], sending)
    assert sending.sent == sent


def test_a_file_that_is_shorter_by_now_ends_the_response(ends: Ends, make: Make) -> None:
    sending = make(b"head", (0, len(CONTENT)))
    assert sending.file is not None
    os.ftruncate(sending.file.fd, 16)
    with pytest.raises(Gone):
        push_on(ends[0], sending)
    assert ends[1].recv(100) in (b"head", b"head" + CONTENT[:16])


def test_a_file_that_cannot_be_mapped(ends: Ends, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "not here")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert received(ends, make(b"h", (0, len(CONTENT)))) == b"h" + CONTENT


def test_what_was_mapped_is_not_sent_once_it_is_behind_the_end(ends: Ends, make: Make) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sending = make((0, len(CONTENT)))
    with pytest.raises(BlockingIOError):
        push_on(ends[0], sending)
    assert sending.file is not None
    os.ftruncate(sending.file.fd, sending.sent)
    with pytest.raises(Gone):
        received(ends, sending)


def test_a_client_that_is_gone(ends: Ends, make: Make) -> None:
    sending = make(b"head", (0, len(CONTENT)))
    ends[1].close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        push_on(ends[0], sending)


def test_a_client_that_resets_leaves_nothing_open(ends: Ends, make: Make) -> None:
    ours, client = ends
    sending = make((0, len(CONTENT)))
    with pytest.raises(BlockingIOError):
        push_on(ours, sending)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    file = sending.file
    assert file is not None
    try:
        push_on(ours, sending)
    except OSError:  # a response ends while the error is at hand, with all that its traceback holds
        sending.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)
    sending.file = sending.window = None
