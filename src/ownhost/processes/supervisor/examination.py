"""Checking owners' keys when the server starts: by processes of these owners, for a few seconds at most.

An owner whose examiner takes longer loses only the answer for his own virtual hosts, and delays the
start no more than that: the others are checked at the same time.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ownhost.identity.identity import Identity
from ownhost.processes.messages import Certified, Channel, Exited, Failed, ProtocolError, Started, Unusable
from ownhost.processes.supervisor.children import Child, Children

DEADLINE = 5.0  # seconds that an examiner has, from its birth
AT_ONCE = 16  # examiners at work at the same time
STANDS_STILL = 0.5  # seconds after which an examiner is still waited for, but not counted as at work
WORDS = 64  # messages that one may send of each virtual host
LONGEST = 2_000  # characters of a reason


class ForkserverGone(Exception):
    """Nothing can be checked any more, or started."""

    def __str__(self) -> str:
        return "the forkserver ended while the server started; its messages are above"


@dataclass(frozen=True, slots=True)
class Order:
    """A process to start: its identity, its slice, and the servers that it may report about."""

    role: str
    number: int  # of the identity
    who: Identity
    content: object
    descriptors: list[int] = field(default_factory=list)
    servers: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Examiner:
    """An examiner at work: it may report about these servers, with `words` more messages."""

    child: Child
    servers: frozenset[int]
    words: int


class Examination:
    """The examiners at work. Nothing else waits for the forkserver meanwhile: this is at the start."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.running: dict[int, _Examiner] = {}  # by its channel's descriptor
        self.poll = select.poll()
        self.controls = {control.fileno(): control for control in children.controls}  # whose children they are
        for descriptor in self.controls:
            self.poll.register(descriptor, select.POLLIN)

    def look(self, orders: Sequence[Order]) -> Iterator[Certified | Unusable]:
        """Their reports. Raises ForkserverGone."""
        waiting = deque(orders)
        while waiting or self.running:
            while waiting and self._at_work() < AT_ONCE:
                self._start(waiting.popleft())
            for descriptor, _ in self.poll.poll(100):
                if descriptor in self.controls:
                    self._on_forkserver_message(self.controls[descriptor])
                else:
                    yield from self._on_message(self.running[descriptor])
            self._give_up()

    def _at_work(self) -> int:
        now = time.monotonic()
        children = [one.child for one in self.running.values()]
        return sum(not child.pid or now - child.since < STANDS_STILL for child in children)

    def _start(self, order: Order) -> None:
        child = self.children.fork(order.role, order.number, order.who, order.content, order.descriptors)
        child.stopping = True  # whatever its exit status is
        self.running[child.channel.fileno()] = _Examiner(child, order.servers, 1 + WORDS * len(order.servers))
        self.poll.register(child.channel.fileno(), select.POLLIN)

    def _on_forkserver_message(self, control: Channel) -> None:
        with contextlib.suppress(BlockingIOError):
            while received := control.receive():
                match received[0]:
                    case Started() as started:
                        child = self.children.started(started)
                        child.since = time.monotonic()
                        if not child.pid:
                            self._end(child)
                    case Exited() as exited:
                        self.children.exited(exited)
            raise ForkserverGone

    def _on_message(self, examiner: _Examiner) -> Iterator[Certified | Unusable]:
        try:
            received = examiner.child.channel.receive()
        except BlockingIOError:
            return
        except ProtocolError:
            received = None
        examiner.words -= 1
        if received is None or not examiner.words or isinstance(received[0], Failed):
            self.children.kill(examiner.child)
            self._end(examiner.child)
            return
        said = received[0]
        assert isinstance(said, Certified | Unusable)
        if said.server in examiner.servers:
            yield replace(said, reason=_plain(said.reason)) if isinstance(said, Unusable) else said

    def _give_up(self) -> None:
        """End those that have taken too long."""
        now = time.monotonic()
        for child in [one.child for one in self.running.values()]:
            if child.pid and now - child.since > DEADLINE:
                self.children.kill(child)
                self._end(child)

    def _end(self, child: Child) -> None:
        """Stop reading one. The forkserver sees its end; one that hangs in the kernel has none."""
        descriptor = child.channel.fileno()
        if self.running.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)
            child.hang_up()


def _plain(text: str) -> str:
    """A text from an owner's process, in a form that is safe on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:LONGEST])
