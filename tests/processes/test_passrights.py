"""Sockets on which no descriptor may come: refused by the kernel, and survived where it is too old for that."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ownhost.processes import passrights
from ownhost.processes.messages import Busy, Channel, ProtocolError, channel_pair, encode

LONG = 3_600  # seconds that a close would last


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = channel_pair()
    before = list(passrights.kept)
    yield ends
    for end in ends:
        end.close()
    for descriptor in passrights.kept[len(before) :]:  # they linger no more: their other ends are closed
        os.close(descriptor)
    passrights.kept[:] = before


@pytest.fixture
def others() -> Iterator[list[socket.socket]]:
    """The other ends of what lingers: closed at the end, so that it does no more."""
    found: list[socket.socket] = []
    yield found
    for sock in found:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def lingering(others: list[socket.socket]) -> socket.socket:
    """A connection whose last close waits: nobody takes what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        others.append(socket.create_connection(listener.getsockname()))
        mine, _ = listener.accept()
    mine.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            mine.send(bytes(1 << 20))
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LONG))
    return mine


def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passrights, "SO_PASSRIGHTS", 9_999)


def test_the_kernel_refuses_them_at_the_sender(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    if not passrights.guard(ours):
        pytest.skip("this kernel is older than Linux 6.16")
    with pytest.raises(PermissionError):
        socket.send_fds(theirs, [b"x"], [0])
    theirs.send(b"bytes")
    assert passrights.receive(ours, 100) == (b"bytes", os.getpid())


def test_an_empty_message_is_not_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    passrights.guard(ours)
    theirs.send(b"")
    theirs.close()
    assert passrights.receive(ours, 100) == (b"", os.getpid())
    assert passrights.receive(ours, 100) == (b"", 0)


def test_who_sends_is_the_kernels_word(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    passrights.guard(ours)
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            theirs.send(b"a child's")
        os._exit(0)
    os.waitpid(pid, 0)
    assert passrights.receive(ours, 100) == (b"a child's", pid)


@pytest.mark.parametrize("count", [1, 2, passrights.MOST])
def test_an_older_kernel_keeps_what_comes_and_closes_nothing(
    pair: tuple[socket.socket, socket.socket],
    others: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    old_kernel(monkeypatch)
    ours, theirs = pair
    assert not passrights.guard(ours)
    last = lingering(others)
    socket.send_fds(theirs, [b"x"], [*[0] * (count - 1), last.fileno()])
    last.close()  # the copy in the message is the only one left
    before = len(passrights.kept)
    begun = time.monotonic()
    with pytest.raises(passrights.DescriptorsCame):
        passrights.receive(ours, 100)
    assert len(passrights.kept) == before + count
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("empty_first", [False, True])
def test_an_older_kernel_keeps_a_socket_in_which_descriptors_wait(
    pair: tuple[socket.socket, socket.socket],
    others: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    empty_first: bool,
) -> None:
    old_kernel(monkeypatch)
    ours, theirs = pair
    channel = Channel(ours, (Busy,))
    theirs.send(b"" if empty_first else encode(Busy()))
    last = lingering(others)
    socket.send_fds(theirs, [b"x"], [last.fileno()])
    last.close()
    begun = time.monotonic()
    channel.close()
    assert time.monotonic() - begun < 1
    assert channel.fileno() == -1
    with pytest.raises(BrokenPipeError):
        theirs.send(b"more")


def test_a_socket_without_descriptors_is_closed(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    old_kernel(monkeypatch)
    ours, theirs = pair
    channel = Channel(ours, (Busy,))
    theirs.send(encode(Busy()))
    before = list(passrights.kept)
    channel.close()
    assert passrights.kept == before
    with pytest.raises(BrokenPipeError):
        theirs.send(b"more")


def test_descriptors_break_the_protocol(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    old_kernel(monkeypatch)
    ours, theirs = pair
    channel = Channel(ours, (Busy,))
    socket.send_fds(theirs, [encode(Busy())], [os.dup(0)])
    with pytest.raises(ProtocolError, match="descriptors"):
        channel.receive()


def test_a_channel_from_above_takes_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    from ownhost.processes.messages import Mailbox

    ours, theirs = pair
    channel = Channel(ours, (Mailbox,))
    Channel(theirs, ()).send(Mailbox(1), [0])
    received = channel.receive()
    assert received is not None
    os.close(received[1][0])
