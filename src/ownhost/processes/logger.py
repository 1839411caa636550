"""The logger.

NAME        writes the logs that several identities share
TRUSTS      the supervisor; of a sender only that its lines are its own to say
RUNS AS     User and Group, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    workers and gates (one socket each, one way), the supervisor (new senders)
ENDS WHEN   its channel ends, or it was told to stop and all senders are gone

A worker that held the descriptor of a shared log could truncate what others wrote. It gets a socket instead; one
message of each sender is taken per turn, so a flood delays only whoever makes it.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
from typing import NoReturn

from ownhost.identity import seccomp
from ownhost.processes.logwriter import BATCH, LONGEST_LINE
from ownhost.processes.messages import Channel, Sender, Stop
from ownhost.processes.slices import receive_slice

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


def rehearse() -> None:
    """Have in the forkserver what every logger needs."""
    seccomp.compiled(seccomp.LOGGER)


def main(channel: Channel) -> NoReturn:
    """Run the logger: see the head of this file."""
    _, logs = receive_slice(channel)
    relay = Relay()
    channel.sock.setblocking(False)
    relay.selector.register(channel.fileno(), selectors.EVENT_READ, None)
    seccomp.install(seccomp.LOGGER)
    stopping = False
    while not (stopping and not relay.senders):
        if relay.run_once():
            stopping = take_messages(channel, relay, logs) or stopping
    raise SystemExit(0)


def take_messages(channel: Channel, relay: Relay, logs: list[int]) -> bool:
    """Take what the supervisor says; whether it says stop. Ends the process with the channel."""
    stop = False
    while True:
        try:
            received = channel.receive()
        except BlockingIOError:
            return stop
        if received is None:
            relay.drain()
            raise SystemExit(0)
        match received[0]:
            case Sender(log=log):
                relay.add(socket.socket(fileno=received[1][0]), logs[log])
            case Stop():
                stop = True


class Relay:
    """Senders' sockets, and the log that each one's lines go to."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.senders: dict[socket.socket, int] = {}

    def add(self, sender: socket.socket, log: int) -> None:
        """Take lines from one more sender."""
        sender.setblocking(False)
        self.senders[sender] = log
        self.selector.register(sender, selectors.EVENT_READ, sender)

    def run_once(self, timeout: float | None = None) -> bool:
        """One turn: a message from each sender that has one. Whether the supervisor has something to say."""
        control = False
        for key, _ in self.selector.select(timeout):
            if key.data is None:
                control = True
            else:
                self.take(key.data)
        return control

    def take(self, sender: socket.socket) -> bool:
        """Write one message of one sender; whether there was one."""
        try:
            data = sender.recv(BATCH + 1)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(sender)
            del self.senders[sender]
            sender.close()
            return False
        write_whole(self.senders[sender], clean(data))
        return True

    def drain(self) -> None:
        """Write all that is waiting: the end is near."""
        for sender in list(self.senders):
            while sender in self.senders and self.take(sender):
                pass


def clean(data: bytes) -> bytes:
    """Whole lines without control characters, whatever was sent."""
    lines = _CONTROL.sub(b"?", data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return b"".join(line[:LONGEST_LINE] + b"\n" for line in lines)


def write_whole(log: int, data: bytes) -> None:
    """Write to a log; what a full disk or a program that does not read refuses is lost, and the rest goes on."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(log, rest) :]
        except InterruptedError:
            continue
        except OSError:
            return
