"""The logger.

NAME        writes the logs that several identities share
TRUSTS      the supervisor; of a sender only that its lines are its own to say
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
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
import time
from typing import NoReturn

from ownhost.identity import seccomp
from ownhost.processes.logwriter import BATCH, LONGEST_LINE, MOST_WAITING
from ownhost.processes.messages import Channel, Sender, Stop
from ownhost.processes.pulse import OWN
from ownhost.processes.slices import receive_slice

SETTLE = 1.0  # seconds that programs get at the end to take what waits for them

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")  # of ASCII, and those beyond it, in UTF-8


def rehearse() -> None:
    """Have in the forkserver what every logger needs."""
    seccomp.compiled(seccomp.LOGGER)


def main(channel: Channel) -> NoReturn:
    """Run the logger: see the head of this file."""
    _, descriptors = receive_slice(channel)
    logs = [Log(descriptor) for descriptor in descriptors]
    relay = Relay()
    channel.sock.setblocking(False)
    relay.selector.register(channel.fileno(), selectors.EVENT_READ, None)
    seccomp.install(seccomp.LOGGER)
    stopping = False
    while not (stopping and not relay.senders):
        if relay.run_once():
            stopping = take_messages(channel, relay, logs) or stopping
    leave(channel, relay)


def leave(channel: Channel, relay: Relay) -> NoReturn:
    """End, when all that is waiting is written."""
    relay.selector.unregister(channel.fileno())
    relay.drain()
    raise SystemExit(0)


def take_messages(channel: Channel, relay: Relay, logs: list[Log]) -> bool:
    """Take what the supervisor says; whether it says stop. Ends the process with the channel."""
    stop = False
    while True:
        try:
            received = channel.receive()
        except BlockingIOError:
            return stop
        if received is None:
            leave(channel, relay)
        match received[0]:
            case Sender(log=log):
                relay.add(socket.socket(fileno=received[1][0]), logs[log])
            case Stop():
                stop = True


class Relay:
    """Senders' sockets, and the log that each one's lines go to."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.senders: dict[socket.socket, Log] = {}
        self.slow: set[Log] = set()  # those with lines that wait until they can be written

    def add(self, sender: socket.socket, log: Log) -> None:
        """Take lines from one more sender."""
        sender.setblocking(False)
        self.senders[sender] = log
        self.selector.register(sender, selectors.EVENT_READ, sender)

    def run_once(self, timeout: float | None = None) -> bool:
        """One turn: a message from each sender that has one. Whether the supervisor has something to say."""
        control = False
        OWN.pulse.busy_since = 0.0
        ready = self.selector.select(timeout)
        OWN.pulse.busy_since = time.monotonic()
        for key, _ in ready:
            if key.data is None:
                control = True
            elif isinstance(key.data, Log):
                key.data.flush()
                self.watch(key.data)
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
        log = self.senders[sender]
        log.write(clean(data))
        self.watch(log)
        return True

    def watch(self, log: Log) -> None:
        """Have the selector say when a log takes lines again, for as long as lines wait."""
        if log.waiting and log not in self.slow:
            self.slow.add(log)
            self.selector.register(log.fd, selectors.EVENT_WRITE, log)
        elif not log.waiting and log in self.slow:
            self.slow.discard(log)
            self.selector.unregister(log.fd)

    def drain(self) -> None:
        """Write all that is waiting: the end is near."""
        for sender in list(self.senders):
            while sender in self.senders and self.take(sender):
                pass
        end = time.monotonic() + SETTLE
        while self.slow and time.monotonic() < end:
            self.run_once(SETTLE)


def clean(data: bytes) -> bytes:
    """Whole lines without control characters, whatever was sent."""
    lines = _CONTROL.sub(b"?", data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return b"".join(line[:LONGEST_LINE] + b"\n" for line in lines)


class Log:
    """One log. What a program does not take yet waits, and nobody else does; what is lost is counted, and said."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = bytearray()
        self.lost = 0  # lines, since the log last said so
        self.within = False  # the last byte written did not end its line
        self.torn = False  # that line's rest is lost

    def write(self, lines: bytes) -> None:
        """Write whole lines, or keep them until `flush`."""
        if len(self.waiting) + len(lines) > MOST_WAITING:
            self.lost += lines.count(b"\n")
        else:
            self.waiting += lines
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it is taken."""
        if self._push() and self.lost:
            lost, self.lost = self.lost, 0
            self.waiting += b"(%d lines are lost: the log was not taken in time)\n" % lost
            if not self._push() and not self.waiting:
                self.lost = lost

    def _push(self) -> bool:
        """Whether all is written. What a full disk refuses is dropped; a line that it tore ends there."""
        if self.torn and self.waiting:
            self.waiting[:0] = b"\n"
            self.torn = False
        while self.waiting:
            try:
                written = os.write(self.fd, self.waiting)
            except InterruptedError:
                continue
            except BlockingIOError:
                return False
            except OSError:
                self.lost += self.waiting.count(b"\n")
                self.waiting.clear()
                self.torn = self.within
                return False
            self.within = self.waiting[written - 1] != ord("\n")
            del self.waiting[:written]
        return True
