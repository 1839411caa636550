"""Having programs run: a worker's side of its identity's launcher."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence

from ownhost.apps.app import App
from ownhost.http.message import HTTPError
from ownhost.processes.orders import Run, Use, send_order
from ownhost.request.programs import Limits

LOOK_AGAIN = 0.01  # seconds between looks for room in the socket of orders
ANSWER = 4_096  # bytes of the launcher's answer, at most


class AppLease:
    """The use of an app (request.programs.Lease)."""

    def __init__(self, path: str, sock: socket.socket) -> None:
        self.path = path
        self._sock = sock

    def close(self) -> None:
        """The request is through."""
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

    async def lease(self, app: App) -> AppLease:
        """The use of an app. Raises HTTPError 503."""
        answer, ours = await self._ask(Use(app), [self.errors], app.name)
        return AppLease(answer["socket"], ours)

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
                await asyncio.sleep(LOOK_AGAIN)
            except ValueError as error:
                raise HTTPError(500, str(error)) from None
            except OSError as error:
                raise HTTPError(503, f"the launcher of programs cannot be reached: {error.strerror}") from None
