"""Having programs run: a worker's side of its identity's launcher."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from ownhost.apps.app import App
from ownhost.http.message import HTTPError
from ownhost.processes.orders import Run, Use, send_order
from ownhost.request.programs import Limits

PATIENCE = 30.0  # seconds for an app to be ready
ANSWER = 4_096  # bytes of the launcher's answer, at most
KEPT = 1.0  # seconds that a lease waits for the next request
MOST_KEPT = 16  # leases of one app that wait
FULL = 0.005  # seconds until another try where the launcher has no room for an order
LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class AppLease:
    """The use of an app (request.programs.Lease)."""

    def __init__(self, path: str, sock: socket.socket, give_back: Callable[[AppLease], None]) -> None:
        self.path = path
        self.idle_since = 0.0  # loop time
        self._sock = sock
        self._give_back = give_back

    def close(self) -> None:
        """The request is through: the next one may use the lease, if it comes soon."""
        self._give_back(self)

    def is_good(self) -> bool:
        """Whether the app can still be used: the launcher ends a lease, or says why, where it cannot."""
        try:
            self._sock.recv(1, LOOK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def end(self) -> None:
        """Tell the launcher that the app is free."""
        self._sock.close()


class RunningProgram:
    """A program that runs for one request (request.programs.Execution)."""

    def __init__(self, output: int, errors: int, control: socket.socket) -> None:
        self.output, self.errors = output, errors
        self._control = control

    def close(self) -> None:
        """End it, if it still runs."""
        os.close(self.output)
        os.close(self.errors)
        self._control.close()


class LauncherClient:
    """The launcher, as handlers ask it (request.programs.Launcher). `errors` is where apps' complaints go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, orders: socket.socket, errors: int) -> None:
        self.loop = loop
        self.orders = orders
        self.errors = errors
        self.kept: dict[App, list[AppLease]] = {}
        self.sweeping = False

    async def lease(self, app: App) -> AppLease:
        """The use of an app. Raises HTTPError 503."""
        kept = self.kept.get(app)
        while kept:
            lease = kept.pop()
            if lease.is_good():
                return lease
            lease.end()
        return await self._new_lease(app)

    async def _new_lease(self, app: App) -> AppLease:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                await self._ask(Use(app), [self.errors, theirs.fileno()])
            async with asyncio.timeout(PATIENCE):
                answer = json.loads(await self.loop.sock_recv(ours, ANSWER) or b'{"error": "the launcher ended"}')
        except TimeoutError:
            ours.close()
            raise HTTPError(503, f"{app.name} was not ready within {PATIENCE:.0f} s") from None
        except BaseException:
            ours.close()
            raise
        if "socket" not in answer:
            ours.close()
            raise HTTPError(503, f"{app.name} cannot be used: {answer.get('error')}")
        return AppLease(answer["socket"], ours, functools.partial(self._keep, app))

    def _keep(self, app: App, lease: AppLease) -> None:
        """Keep a lease that was used. Of an app that watches files only a new one has it look at them."""
        kept = self.kept.setdefault(app, [])
        if app.watched or len(kept) >= MOST_KEPT:
            lease.end()
            return
        lease.idle_since = self.loop.time()
        kept.append(lease)
        if not self.sweeping:
            self.sweeping = True
            self.loop.call_later(KEPT, self._sweep)

    def _sweep(self) -> None:
        """End the leases that nobody has used for a while."""
        limit = self.loop.time() - KEPT
        for app, kept in list(self.kept.items()):
            for lease in kept:
                if lease.idle_since <= limit:
                    lease.end()
            kept[:] = [lease for lease in kept if lease.idle_since > limit]
            if not kept:
                del self.kept[app]
        self.sweeping = bool(self.kept)
        if self.sweeping:
            self.loop.call_later(KEPT, self._sweep)

    async def execute(
        self, command: Sequence[bytes], environment: Mapping[bytes, bytes], folder: str, stdin: int, limits: Limits
    ) -> RunningProgram:
        """Run a program for one request. Raises HTTPError 500, 503."""
        output, program_output = os.pipe2(os.O_CLOEXEC)
        errors, program_errors = os.pipe2(os.O_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        running = RunningProgram(output, errors, ours)
        try:
            order = Run(tuple(command), dict(environment), folder, limits)
            await self._ask(order, [stdin, program_output, program_errors, theirs.fileno()])
        except BaseException:
            running.close()
            raise
        finally:
            os.close(program_output)
            os.close(program_errors)
            theirs.close()
        os.set_blocking(output, False)
        os.set_blocking(errors, False)
        return running

    async def _ask(self, order: Run | Use, descriptors: Sequence[int]) -> None:
        """Send an order, once the launcher has room for it: its queue is short (net.unix.max_dgram_qlen)."""
        end = self.loop.time() + PATIENCE
        try:
            while not self._sent(order, descriptors):
                if self.loop.time() > end:
                    raise HTTPError(503, "the launcher of programs does not keep up")
                await asyncio.sleep(FULL)
        except ValueError as error:
            raise HTTPError(500, str(error)) from None
        except OSError as error:
            raise HTTPError(503, f"the launcher of programs cannot be reached: {error.strerror}") from None

    def _sent(self, order: Run | Use, descriptors: Sequence[int]) -> bool:
        try:
            send_order(self.orders, order, descriptors)
        except BlockingIOError:
            return False
        return True
