"""The logger.

NAME        writes the logs that several identities share
TRUSTS      the supervisor; a sender only about its own lines
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    workers, launchers and gates (one socket each and log, one way), the supervisor (new senders)
ENDS WHEN   its channel ends, or it is told to stop, which happens when all senders are gone; it writes what
            is there

A worker with the descriptor of a shared log could truncate what others wrote. So it gets a socket
instead. The socket, and the kernel (SO_PASSCRED), tell who sends: the logger itself writes the time,
the pid and the virtual host's name into a line of an error log (`speaker`).

No sender waits for another: one message of each is read per turn. A sender is not read while its
identity has used up its budget, nor while its log takes no lines. Further lines wait in that sender's
own socket, and then in the sender, which drops the rest and reports how much that was.
"""

from __future__ import annotations

import heapq
import select
import selectors
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import NoReturn

from ownhost.identity import landlock, seccomp
from ownhost.processes import passrights
from ownhost.processes.budget import Budget
from ownhost.processes.heartbeat import OWN
from ownhost.processes.logger.log import Log
from ownhost.processes.logger.speaker import AccessLines, ErrorLines, Heard, Speaker
from ownhost.processes.logwriter import BATCH
from ownhost.processes.messages import Channel, Sender, Stop
from ownhost.processes.slices import NO_IDENTITY, LoggerSlice, receive_slice
from ownhost.request.errorformat import Format
from ownhost.request.errorlog import ErrorLog
from ownhost.request.request import Level

SETTLE = 1.0  # seconds for programs to read the last lines at the end
TELL = 1.0  # seconds between two reports of lost lines of one log
MOST_PIDS = 4_096  # that are remembered per log
LAST = 1_024  # messages of one sender that are still read at the end: more than its socket holds


def rehearse() -> None:
    """Prepare, in the forkserver, what every logger needs."""
    seccomp.compiled(seccomp.LOGGER)
    time.localtime()


def main(channel: Channel) -> NoReturn:
    """Run the logger: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    assert isinstance(slice_, LoggerSlice)
    relay = Relay(slice_, [Log(descriptor) for descriptor in descriptors])
    channel.sock.setblocking(False)
    relay.selector.register(channel.fileno(), selectors.EVENT_READ, None)
    landlock.restrict(landlock.NOTHING)
    seccomp.install(seccomp.LOGGER)
    while not passrights.too_many():
        if relay.run_once() and not receive_messages(channel, relay):
            break
    relay.selector.unregister(channel.fileno())
    relay.drain()
    raise SystemExit(0)


def receive_messages(channel: Channel, relay: Relay) -> bool:
    """Handle the supervisor's messages. False if it says stop, or is gone."""
    while True:
        try:
            received = channel.receive()
        except BlockingIOError:
            return True
        if received is None or isinstance(received[0], Stop):
            return False
        message, descriptors = received
        assert isinstance(message, Sender)
        relay.add(socket.socket(fileno=descriptors[0]), message)


@dataclass(slots=True, eq=False)
class Line:
    """A sender's socket: whose it is, and which log it is for."""

    sock: socket.socket
    log: Log
    speaker: Speaker
    says: ErrorLines | AccessLines


@dataclass(slots=True)
class LossReport:
    """The lost lines of one speaker for one log, and when they are reported."""

    lost: int = 0
    refused: int = 0
    due: float = 0.0


class Relay:
    """Senders' sockets, and the logs for their lines."""

    def __init__(self, slice_: LoggerSlice, logs: list[Log]) -> None:
        self.slice = slice_
        self.logs = logs
        self.selector = selectors.DefaultSelector()
        self.senders: set[Line] = set()
        self.speakers: dict[int, Speaker] = {}  # by identity number
        self.formats: dict[int, Format] = {}
        self.slow: dict[Log, list[Line]] = {}  # logs with waiting lines, and the senders that must wait for them
        self.hungry: list[tuple[float, int, Line]] = []  # a heap: who has used up a budget, until then
        self.tickets = count()
        self.introduced: dict[Log, dict[int, Speaker]] = {}  # by pid
        self.unreported: dict[tuple[Speaker, Log], LossReport] = {}
        main = slice_.servers[0]
        self.own = ErrorLog(main, lambda line: self.write(logs[slice_.main], line.encode("utf-8", "surrogateescape")))

    # Who sends

    def add(self, sock: socket.socket, sender: Sender) -> None:
        """Accept lines from one more sender."""
        sock.setblocking(False)
        speaker = self.speaker(sender)
        says: ErrorLines | AccessLines
        if sender.kind == "error":
            says = ErrorLines(speaker.servers, self.slice.servers, self.formats)
        else:
            says = AccessLines(self.starts(sender.log, speaker))
        line = Line(sock, self.logs[sender.log], speaker, says)
        self.senders.add(line)
        self.resume_senders(line)

    def speaker(self, sender: Sender) -> Speaker:
        """The identity of a sender."""
        found = self.speakers.get(sender.identity)
        if found is None:
            servers: Collection[int] = (sender.server,)
            if sender.server < 0:
                servers = self.slice.serves.get(sender.identity) or (0,)
            unlimited = sender.identity == NO_IDENTITY
            budget = Budget(inf, inf) if unlimited else Budget(self.slice.rate, self.slice.burst)
            found = self.speakers[sender.identity] = Speaker(sender.name, frozenset(servers), budget)
        return found

    def starts(self, log: int, speaker: Speaker) -> tuple[bytes, ...]:
        """How a speaker's lines in a shared access log must begin."""
        known = self.slice.starts.get(log, {})
        found = [start for server in speaker.servers for start in known.get(server, ())]
        return () if "" in found else tuple(start.encode("utf-8", "surrogateescape") for start in found)

    def resume_senders(self, line: Line) -> None:
        """Watch a sender."""
        if line in self.senders:
            self.selector.register(line.sock, selectors.EVENT_READ, line)

    def pause(self, line: Line) -> None:
        """Do not watch a sender for now."""
        self.selector.unregister(line.sock)

    def drop(self, line: Line) -> None:
        """Stop reading a sender."""
        self.senders.discard(line)
        if line.sock in self.selector.get_map():
            self.selector.unregister(line.sock)

    # Turns

    def run_once(self, timeout: float | None = None) -> bool:
        """One turn: a message from each sender that has one. Returns whether the supervisor has a message."""
        control = False
        OWN.heartbeat.busy_since = 0.0
        events = self.selector.select(self.patience(timeout))
        OWN.heartbeat.busy_since = now = time.monotonic()
        for key, _ in events:
            match key.data:
                case Log() as log:
                    log.flush()
                    self.watch(log)
                case Line() as line:
                    self.attend(line, now)
                case _:
                    control = True
        while self.hungry and self.hungry[0][0] <= now:
            self.resume_senders(heapq.heappop(self.hungry)[2])
        if self.unreported:
            self.tell(now)
        return control

    def patience(self, timeout: float | None) -> float | None:
        """Seconds until something is due; None if nothing is."""
        if not (self.hungry or self.unreported):
            return timeout
        times = [told.due for told in self.unreported.values()]
        if self.hungry:
            times.append(self.hungry[0][0])
        wait = max(0.0, min(times) - time.monotonic())
        return wait if timeout is None else min(wait, timeout)

    def attend(self, line: Line, now: float) -> None:
        """Take a message, unless its sender must wait: for its budget, or because its log takes no lines."""
        if line.log in self.slow:
            self.pause(line)
            self.slow[line.log].append(line)
        elif wait := line.speaker.budget.wait(now):
            line.speaker.starved = True
            self.pause(line)
            heapq.heappush(self.hungry, (now + wait, next(self.tickets), line))
        else:
            self.take(line, now)

    def take(self, line: Line, now: float) -> bool:
        """Write one message of one sender. Returns whether there was one."""
        try:
            data, pid = passrights.receive(line.sock, BATCH + 1)
        except BlockingIOError:
            return False
        except passrights.DescriptorsCame:
            passrights.kept.append(line.sock.fileno())
            self.drop(line)
            line.sock.detach()
            self.own.log(Level.ERROR, "core", f"{line.speaker.name} sent descriptors with a line: not read any more")
            return False
        except OSError:
            data, pid = b"", 0
        if not data and not pid:
            self.drop(line)
            line.sock.close()
            return False
        line.speaker.budget.spend(len(data), data.count(b"\n") or 1)
        heard = line.says.hear(data, pid, time.time())
        if heard.lines:
            if isinstance(line.says, ErrorLines):
                self.introduce(line, pid)
            self.write(line.log, heard.lines)
        if heard.lost or heard.refused:
            self.note(line, heard, now)
        return True

    # Logs

    def write(self, log: Log, lines: bytes) -> None:
        """Write whole lines to a log."""
        log.write(lines)
        self.watch(log)

    def watch(self, log: Log) -> None:
        """Watch a log for room, as long as lines wait. Its senders wait, too."""
        if log.waiting and log not in self.slow:
            self.slow[log] = []
            self.selector.register(log.fd, selectors.EVENT_WRITE, log)
        elif not log.waiting and log in self.slow:
            self.selector.unregister(log.fd)
            for line in self.slow.pop(log):
                self.resume_senders(line)

    def introduce(self, line: Line, pid: int) -> None:
        """Say in an error log, once, whose a new pid is: logs are read long after a process is gone."""
        known = self.introduced.setdefault(line.log, {})
        if known.get(pid) is line.speaker:
            return
        if len(known) >= MOST_PIDS:
            known.clear()
        known[pid] = line.speaker
        said = self.own.made(Level.NOTICE, "core", f"pid {pid} is {line.speaker.name}'s")
        line.speaker.budget.spend(len(said))
        self.write(line.log, said.encode("utf-8", "surrogateescape"))

    # What is lost

    def note(self, line: Line, heard: Heard, now: float) -> None:
        """Remember lines that were lost, for one report soon."""
        told = self.unreported.setdefault((line.speaker, line.log), LossReport(due=now + TELL))
        told.lost += heard.lost
        told.refused += heard.refused

    def tell(self, now: float) -> None:
        """Report in the main error log how many lines are lost, and whose."""
        for (speaker, log), told in list(self.unreported.items()):
            if told.due > now:
                continue
            del self.unreported[speaker, log]
            where = self.slice.names[self.logs.index(log)]
            if told.lost:
                why = f"more than LogRateLimit {self.slice.rate:.0f}" if speaker.starved else "not taken in time"
                self.own.log(Level.WARN, "core", f"{told.lost} lines of {speaker.name} for {where} are lost: {why}")
            if told.refused:
                why = "they are not in the name of what this identity serves"
                self.own.log(Level.ERROR, "core", f"{told.refused} lines of {speaker.name} for {where} refused: {why}")
            speaker.starved = False

    # The end

    def drain(self) -> None:
        """Write all waiting lines: the end is near."""
        end = time.monotonic() + SETTLE
        left = dict.fromkeys(self.senders, LAST)
        while (left or self.slow) and (now := time.monotonic()) < end:
            for line in list(left):
                if line.log in self.slow:
                    continue
                left[line] -= 1
                if not self.take(line, now) or not left[line]:
                    del left[line]
            if self.slow and not any(line.log not in self.slow for line in left):
                self.wait_for_logs(end - now)
        self.tell(inf)

    def wait_for_logs(self, timeout: float) -> None:
        """Wait, for at most so many seconds, until a blocked log takes lines."""
        poll = select.poll()
        logs = {log.fd: log for log in self.slow}
        for fd in logs:
            poll.register(fd, select.POLLOUT)
        for fd, _ in poll.poll(timeout * 1_000):
            logs[fd].flush()
            self.watch(logs[fd])
