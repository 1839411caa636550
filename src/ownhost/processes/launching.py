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

    def fileno(self) -> int:
        """Its descriptor, which can be read once the launcher wants the lease back."""
        return self._sock.fileno()

    def is_good(self) -> bool:
        """Whether the app can still be used: the launcher ends a lease that it wants back, or says something."""
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
    """The launcher, as handlers ask it (request.programs.Launcher). `errors` is where apps' complaints go.

    `patience` is how many seconds a request waits for its turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, orders: socket.socket, errors: int, patience: float) -> None:
        self.loop = loop
        self.orders = orders
        self.errors = errors
        self.patience = patience
        self.kept: dict[App, list[AppLease]] = {}
        self.sweeping = False

    async def lease(self, app: App) -> AppLease:
        """The use of an app. Raises HTTPError 503."""
        while kept := self.kept.get(app):
            lease = kept[-1]
            self._forget(app, lease)
            if lease.is_good():
                return lease
            lease.end()
        answer, ours = await self._ask(Use(app), [self.errors], app.name)
        return AppLease(answer["socket"], ours, functools.partial(self._keep, app))

    def _keep(self, app: App, lease: AppLease) -> None:
        """Keep a lease that was used, unless others wait for its turn.

        Of an app that watches files only a new lease has the launcher look at them.
        """
        if app.watched or len(self.kept.get(app, ())) >= MOST_KEPT or not lease.is_good():
            lease.end()
            return
        lease.idle_since = self.loop.time()
        self.kept.setdefault(app, []).append(lease)
        self.loop.add_reader(lease.fileno(), self._end, app, lease)
        if not self.sweeping:
            self.sweeping = True
            self.loop.call_later(KEPT, self._sweep)

    def _forget(self, app: App, lease: AppLease) -> None:
        """A lease is kept no longer."""
        self.loop.remove_reader(lease.fileno())
        self.kept[app].remove(lease)
        if not self.kept[app]:
            del self.kept[app]

    def _end(self, app: App, lease: AppLease) -> None:
        """End a kept lease: nobody has used it for a while, or the launcher wants it back."""
        self._forget(app, lease)
        lease.end()

    def _sweep(self) -> None:
        """End the leases that nobody has used for a while."""
        limit = self.loop.time() - KEPT
        for app, kept in list(self.kept.items()):
            for lease in [lease for lease in kept if lease.idle_since <= limit]:
                self._end(app, lease)
        self.sweeping = bool(self.kept)
        if self.sweeping:
            self.loop.call_later(KEPT, self._sweep)

    async def execute(
        self, command: Sequence[bytes], environment: Mapping[bytes, bytes], folder: str, stdin: int, limits: Limits
    ) -> RunningProgram:
        """Run a program for one request. Raises HTTPError 500, 503."""
        output, program_output = os.pipe2(os.O_CLOEXEC)
        errors, program_errors = os.pipe2(os.O_CLOEXEC)
        order = Run(tuple(command), dict(environment), folder, limits)
        try:
            descriptors = [stdin, program_output, program_errors]
            _, ours = await self._ask(order, descriptors, command[0].decode("utf-8", "backslashreplace"))
        except BaseException:
            os.close(output)
            os.close(errors)
            raise
        finally:
            os.close(program_output)
            os.close(program_errors)
        os.set_blocking(output, False)
        os.set_blocking(errors, False)
        return RunningProgram(output, errors, ours)

    async def _ask(
        self, order: Run | Use, descriptors: Sequence[int], name: str
    ) -> tuple[dict[str, str], socket.socket]:
        """Wait for a request's turn: the launcher's answer, and the lease. Raises HTTPError 500, 503."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            async with asyncio.timeout(self.patience):
                with theirs:
                    await self._send(order, [*descriptors, theirs.fileno()])
                answer = json.loads(await self.loop.sock_recv(ours, ANSWER) or b'{"error": "the launcher ended"}')
            if "error" in answer:
                raise HTTPError(503, f"{name} cannot be used: {answer['error']}")
        except TimeoutError:
            ours.close()
            raise HTTPError(503, f"{name} cannot be used: no turn within {self.patience:.0f} s") from None
        except BaseException:
            ours.close()
            raise
        return answer, ours

    async def _send(self, order: Run | Use, descriptors: Sequence[int]) -> None:
        """Send an order, as soon as there is room for it. Raises HTTPError 500, 503."""
        while True:
            try:
                send_order(self.orders, order, descriptors)
                return
            except BlockingIOError:
                await asyncio.sleep(FULL)
            except ValueError as error:
                raise HTTPError(500, str(error)) from None
            except OSError as error:
                raise HTTPError(503, f"the launcher of programs cannot be reached: {error.strerror}") from None
