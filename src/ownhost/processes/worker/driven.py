"""A client with a conversation: events go in, and the actions of its table are run.

This file waits for events: from the kernel, the clock, a task. `connection` has the actions.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine
from functools import partial
from math import inf
from typing import ClassVar

from ownhost.processes.mailbox import Handover
from ownhost.processes.states import Unexpected
from ownhost.processes.worker.client import Client, guarded
from ownhost.processes.worker.conversation import READABLE, Conversation, Event, State, Steps, steps_of
from ownhost.processes.worker.sending import Gone
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.transport import Transport
from ownhost.processes.worker.waiting import READ
from ownhost.request import bugs
from ownhost.request.request import Level


class Driven(Client):
    """A client that takes one step after another. A step returns the next event; None to wait for one."""

    __slots__ = ("sock", "talk", "task", "watched")

    steps: ClassVar[Steps]

    def __init_subclass__(cls, *, whole: bool = True) -> None:
        """`whole`: it has a method for each action of the table."""
        if whole:
            cls.steps = steps_of(cls)

    def __init__(self, worker: Shared, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, handover)
        self.sock = sock
        self.talk = Conversation(worker.stopping)
        self.task: asyncio.Task[None] | None = None  # the task of the current request
        self.watched = 0  # what it is watched for: READ, WRITE, or nothing

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.talk.state is State.CLOSED

    def happens(self, event: Event | None) -> None:
        """Run the next steps, until something must be waited for. An exception ends only this connection."""
        try:
            self.proceed(event)
        except Exception as error:
            self.broke(error)

    def proceed(self, event: Event | None) -> None:
        """The same, but the caller sees exceptions."""
        talk, steps = self.talk, self.steps
        while event is not None:
            try:  # as `states.follow`, which would be a call for each step
                talk.state, do = steps[talk.state, event]
            except KeyError:
                raise Unexpected(f"{event.name} for {talk!r}") from None
            event = do(self)

    def begin(self) -> None:
        self.happens(READABLE)

    @guarded
    def check_time(self) -> None:
        """There is one deadline per connection, not one per request, so there may be time left."""
        deadline = self.deadline()
        if deadline > self.worker.loop.time():
            self.worker.deadlines.set(self, deadline)
        else:
            self.happens(self.talk.expired())

    def close_if_idle(self) -> None:
        self.happens(Event.DRAIN)

    def close(self) -> None:
        if not self.closed:
            self.happens(Event.GONE)

    def broke(self, error: Exception) -> None:
        """An unexpected exception: a 500 if nothing was sent, and in any case the connection's end."""
        bugs.report(self.log, error)
        try:
            self.leave_task()
            self.pause()
            self.proceed(self.broken())
        except Exception as another:
            bugs.report(self.log, another)
            self.proceed(Event.BROKEN)

    @abstractmethod
    def log(self, level: Level, module: str, message: str) -> None:
        """Write to the error log that this client concerns."""

    @abstractmethod
    def broken(self) -> Event:
        """The event for a bug."""

    # Tasks

    def begin_task(self, work: Coroutine[object, object, Event], *, pause: bool = True) -> None:
        """Leave the connection to a task: only the task reads from it."""
        if pause:
            self.pause()
        self.worker.adopt(self)
        self.task = self.worker.loop.create_task(self.carry_out(work))

    async def carry_out(self, work: Coroutine[object, object, Event]) -> None:
        """Run something that takes time, and go on with its event."""
        event, bug = Event.GONE, None
        try:
            event = await work
        except (Gone, OSError, asyncio.CancelledError):
            pass
        except Exception as error:
            bug = error
        if self.task is asyncio.current_task():
            self.task = None
            if bug is None:
                self.happens(event)
            else:
                self.broke(bug)
        elif bug is not None:  # the connection has been given up
            bugs.report(self.log, bug)

    def leave_task(self) -> None:
        """End the task, if there is one; its result does not matter any more."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    # Waiting

    def wait(self) -> None:
        """Leave the connection to the event loop until there is more."""
        worker = self.worker
        self.talk.waiting_since = worker.loop.time()
        if self.watched != READ:
            self.watch(READ)
        if worker.deadlines.moment(self) == inf:
            worker.deadlines.set(self, self.deadline())

    def wait_for_rest(self) -> None:
        """The same, if a part of a head is here."""
        talk = self.talk
        talk.first_byte = talk.first_byte or self.worker.loop.time()
        self.wait()

    def deadline(self) -> float:
        """When to give up waiting, in loop time."""
        return self.talk.deadline(self.service or self.worker.default)

    def adopt_watch(self) -> None:
        """The connection is watched already, for its previous object: keep that."""
        self.watched = READ
        self.worker.adopt(self)
        self.worker.waiting.replace(self.sock.fileno(), partial(self.happens, READABLE))

    def watch(self, event: int) -> None:
        """Watch it for bytes (READ) or for room (WRITE), and for nothing else."""
        if self.watched == event:
            return
        waiting, descriptor = self.worker.waiting, self.sock.fileno()
        callback = partial(self.happens, READABLE if event == READ else Event.WRITABLE)
        if self.watched:
            waiting.change(descriptor, callback, event)
        else:
            self.worker.adopt(self)
            waiting.add(descriptor, callback, event)
        self.watched = event

    def pause(self) -> None:
        """Stop watching."""
        if self.watched:
            self.watched = 0
            self.worker.waiting.remove(self.sock.fileno())
