"""Running programs: a worker's side of its identity's launcher."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence

from ownhost.apps.app import App
from ownhost.http.message import HTTPError
from ownhost.processes.orders import HEARD_ALL, MAX_WORD, REPEATED, WAITS, Run, Use, send_order
from ownhost.processes.worker.calls import Calls
from ownhost.request.programs import Limits, Line

ANSWER = 4_096  # bytes of the launcher's answer, at most
KEPT = 1.0  # seconds that a lease waits for the next request
MOST_KEPT = 64  # leases of one app that are kept
FULL = 0.005  # seconds until another try if the launcher has no room for an order


class AppLease:
    """The use of an app (request.programs.Lease). The launcher says so if it wants it back, or the app ends."""

    def __init__(self, client: LauncherClient, app: App, path: str, sock: socket.socket) -> None:
        self.app = app
        self.path = path
        self.line: Line | None = None
        self.wanted = False
        self.idle_since = 0.0  # loop time
        self._client = client
        self._calls = client.calls_of(app)
        self._sock = sock
        client.loop.add_reader(sock.fileno(), self._on_message)

    def _on_message(self) -> None:
        self._client.loop.remove_reader(self._sock.fileno())
        self.wanted = True
        if self._client.forget(self):
            self.end()

    def call(self, line: Line) -> None:
        """The request was sent on a new line: a process must still take it."""
        self._calls.add(self, line)

    def may_keep_line(self) -> bool:
        """Whether no other request waits for the process that the line holds."""
        self._calls.drop(self)
        return not (self.wanted or self._calls.any())

    def complain(self) -> None:
        """Tell the launcher that no process takes the request."""
        self._say(WAITS)

    def repeat(self, messages: str) -> None:
        """Tell the launcher which messages a response had that the app's standard error has, too."""
        self._say((REPEATED + messages.encode("utf-8", "surrogateescape"))[:MAX_WORD])

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, or has not read earlier messages
            self._sock.send(word)

    def close(self) -> None:
        """The request is finished: the next one may use the lease, if it comes soon."""
        self._calls.drop(self)
        self._client.keep(self)

    def end(self) -> None:
        """Tell the launcher that the app is free."""
        self._calls.drop(self)
        if not self.wanted:
            self._client.loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self.hang_up()

    def lost(self) -> None:
        """The app no longer listens: end the lease, and the kept ones."""
        self.end()
        for lease in self._client.kept.pop(self.app, []):
            lease.end()

    def hang_up(self) -> None:
        """Leave no line to the next request."""
        if self.line is not None:
            self.line.close()
            self.line = None


def _best(kept: list[AppLease]) -> AppLease:
    """Take the kept lease that was used last, of those whose line is free; else the last one, without its line."""
    for place in range(len(kept) - 1, -1, -1):
        line = kept[place].line
        if line is not None and line.is_free():
            return kept.pop(place)
    lease = kept.pop()
    lease.hang_up()
    return lease


class RunningProgram:
    """A program that runs for one request (request.programs.Execution)."""

    def __init__(self, output: int, errors: int, control: socket.socket) -> None:
        self.output, self.errors = output, errors
        self._control = control

    def close(self, *, output_complete: bool) -> None:
        """Close it: the launcher ends processes that still hold the output, unless it was read to its end."""
        os.close(self.output)
        os.close(self.errors)
        if output_complete:
            with contextlib.suppress(OSError):  # the launcher is gone, and the program with it
                self._control.send(HEARD_ALL)
        self._control.close()


class LauncherClient:
    """The launcher, for handlers of one virtual host (request.programs.Launcher).

    `server` is that virtual host's id; `patience` is how many seconds a request waits for its turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, orders: socket.socket, server: int, patience: float) -> None:
        self.loop = loop
        self.orders = orders
        self.server = server
        self.patience = patience
        self.kept: dict[App, list[AppLease]] = {}
        self.calls: dict[App, Calls] = {}
        self.sweeping = False

    async def lease(self, app: App) -> AppLease:
        """The use of an app. Raises HTTPError 503."""
        if kept := self.kept.get(app):
            return _best(kept)
        answer, ours = await self._ask(Use(app, self.server), [], app.name)
        return AppLease(self, app, answer["socket"], ours)

    def calls_of(self, app: App) -> Calls:
        """The requests that an app has not taken yet."""
        return self.calls.get(app) or self.calls.setdefault(app, Calls(self.loop))

    def keep(self, lease: AppLease) -> None:
        """Keep a used lease, unless others wait for their turn.

        For an app with watched files, only a new lease makes the launcher check them.
        """
        kept = self.kept.setdefault(lease.app, [])
        if lease.wanted or lease.app.watched or len(kept) >= MOST_KEPT:
            lease.end()
            return
        lease.idle_since = self.loop.time()
        kept.append(lease)
        if not self.sweeping:
            self.sweeping = True
            self.loop.call_later(KEPT, self._sweep)

    def forget(self, lease: AppLease) -> bool:
        """Stop keeping a lease. Returns whether it was kept at all."""
        kept = self.kept.get(lease.app, [])
        if lease not in kept:
            return False
        kept.remove(lease)
        return True

    def _sweep(self) -> None:
        """End the leases that were not used for a while."""
        limit = self.loop.time() - KEPT
        for kept in self.kept.values():
            for lease in [lease for lease in kept if lease.idle_since <= limit]:
                kept.remove(lease)
                lease.end()
        self.kept = {app: kept for app, kept in self.kept.items() if kept}
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
