"""A worker.

NAME        serves one identity's requests
TRUSTS      the supervisor; a gate's word about a connection, after parsing the head again itself
RUNS AS     its identity, for life; no capabilities, undumpable, set*id and exec refused by the kernel
TALKS TO    clients (their sockets come out of its mailbox), other workers (requests that are relayed), its launcher
ENDS WHEN   it has been idle for a while, it was told to stop and has finished, or its channel ends

It holds its own identity's virtual hosts, logs and mailbox, and nothing of any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import NoReturn

import uvloop

from ownhost.apps import spooling
from ownhost.identity import landlock, seccomp
from ownhost.processes import heap, mailbox
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Channel, Leave, NotRelayed, ProtocolError, Relayed
from ownhost.processes.slices import WorkerSlice, receive_slice
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.fronted import FrontedConnection
from ownhost.processes.worker.handshake import Handshake
from ownhost.processes.worker.relayed import RelayedConnection
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.written import written_folders
from ownhost.request import bugs
from ownhost.request.request import Level

TAKE_BATCH = 8  # connections taken out of the mailbox per turn, so that current ones have their turn
LOAD_INTERVAL = 0.25  # seconds over which a worker's load is measured
BUSY_SHARE = 0.9  # of a core: with more, one worker is not enough
BUSY_TURNS = 8  # full batches in a row before the supervisor is told that one worker is not enough
BEAT = 5.0  # seconds between two signs of life: a fraction of how long a worker may stand still
TITLE_INTERVAL = 1.0  # seconds between updates of the process title
INET, INET6, STREAM = int(socket.AF_INET), int(socket.AF_INET6), int(socket.SOCK_STREAM)
COARSE = 0.1  # seconds that a client's deadline may be late


def main(channel: Channel) -> NoReturn:
    """Run a worker: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    landlock.restrict(landlock.reading_only(written_folders(slice_)))
    seccomp.install(seccomp.WORKER)
    gc.collect()  # frees the remains of a spare process's rehearsal: its event loop alone takes 0.25 MiB
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(channel, slice_, descriptors, loop)
    gc.freeze()
    heap.give_back_zeros(loop)
    worker.run()
    raise SystemExit(0)


class Worker(Shared):
    """A worker's life: messages from its mailbox and the supervisor."""

    def __init__(
        self, channel: Channel, slice_: WorkerSlice, descriptors: list[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(channel, slice_, descriptors, loop)
        spooling.begin(slice_.spooling)
        self.mailbox = socket.socket(fileno=descriptors[0])
        self.left_over = [socket.socket(fileno=descriptors[place]) for place in slice_.left_over]
        self.taken = 0  # connections, in all
        self.full_batches = 0

    def run(self) -> None:
        """Serve until idle, told to stop, or alone."""
        self.channel.sock.setblocking(False)
        self.loop.add_reader(self.channel.fileno(), self.on_message)
        self.loop.add_reader(self.mailbox.fileno(), self.take)
        self.loop.call_soon(self.accept_left_over)
        self.loop.set_exception_handler(self.on_bug)
        self.loop.call_later(self.slice.idle_timeout, self.leave_if_idle, self.taken)
        self.update_title()
        self.note_idle()
        self.loop.run_forever()
        for writer in self.writers:
            writer.finish()

    def on_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """An unexpected exception: log it, and go on with the other connections."""
        message, error = str(context.get("message")), context.get("exception")
        found = error if isinstance(error, BaseException) else RuntimeError(message)
        bugs.report(lambda level, _, text: self.log(level, text), found, message)

    # Connections arrive

    def take(self) -> None:
        """Take connections out of the mailbox, and serve each one's first request at once."""
        if not self.heartbeat.busy_since:
            self.beat()
        for _ in range(TAKE_BATCH):
            try:
                received = mailbox.receive_handover(self.mailbox)
            except BlockingIOError:
                self.full_batches = 0
                self.note_idle()
                return
            except ProtocolError as error:
                self.log(Level.CRIT, f"a gate spoke nonsense: {error}")
                continue
            if received is None:  # another worker has shut it down: the supervisor makes a new one
                self.loop.remove_reader(self.mailbox.fileno())
                return
            self.taken += 1
            self.turn.end()  # it may have been sent after the last one was answered
            self.serve(*received)
        self.note_idle()
        self.full_batches += 1
        if self.full_batches >= BUSY_TURNS:
            self.full_batches = 0
            self.report_load()

    def serve(self, handover: Handover, descriptor: int) -> None:
        """Serve a connection from a gate, or requests that another worker or a front relays."""
        if handover.relay:
            kind = FrontedConnection if handover.front else RelayedConnection
            kind(self, socket.socket(fileno=descriptor), handover).begin()
            return
        sock = socket.SocketType(INET6 if ":" in handover.local else INET, STREAM, 0, descriptor)
        if handover.encrypted:
            Handshake(self, sock, handover, self.services.get(handover.server, self.default)).begin()
        else:
            Connection(self, sock, handover).begin()

    def accept_left_over(self) -> None:
        """Serve what is in mailboxes that were shut down, and close them last."""
        while self.left_over:
            with self.left_over.pop() as broken, contextlib.suppress(BlockingIOError, ProtocolError):
                while received := mailbox.receive_handover(broken):
                    self.taken += 1
                    self.serve(*received)

    # The end

    def on_message(self) -> None:
        """The supervisor says stop, or leave, or is gone."""
        received = None
        with contextlib.suppress(ProtocolError, OSError):
            received = self.channel.receive()
        match received:
            case None:
                self.loop.stop()
            case (Relayed(serial), (descriptor,)):
                self.relays.take(serial, socket.socket(fileno=descriptor))
            case (NotRelayed(serial, reason), _):
                self.relays.refuse(serial, reason)
            case (Leave(), _):
                self.leave()
            case _:
                self.stop()

    def leave(self) -> None:
        """Leave, so that another identity's worker can start.

        What arrives meanwhile wakes the supervisor, which starts a new one.
        """
        if not (self.connections or self.lingering):
            self.loop.stop()

    def stop(self) -> None:
        """Take what is in the mailbox, finish active requests, close idle connections, then leave."""
        self.stopping = True
        self.loop.remove_reader(self.mailbox.fileno())
        while self.accept_batch():
            pass
        for connection in list(self.connections):
            connection.close_if_idle()
        self.end_if_done()

    def accept_batch(self) -> bool:
        """Whether there may be more in the mailbox."""
        before = self.taken
        self.take()
        return self.taken > before

    def leave_if_idle(self, taken_before: int) -> None:
        """Leave if nothing happened for a while.

        What arrives meanwhile wakes the supervisor, which starts a new one.
        """
        if self.connections or self.lingering or self.taken != taken_before:
            self.loop.call_later(self.slice.idle_timeout, self.leave_if_idle, self.taken)
        else:
            self.loop.stop()
