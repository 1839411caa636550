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

PATIENCE = 30.0  # seconds for an app to be ready
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
    """The launcher, as handlers ask it (request.programs.Launcher). `errors` is where apps' complaints go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, orders: socket.socket, errors: int) -> None:
        self.loop = loop
        self.orders = orders
        self.errors = errors

    async def lease(self, app: App) -> AppLease:
        """The use of an app. Raises HTTPError 503."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                self._send(Use(app), [self.errors, theirs.fileno()])
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
        return AppLease(answer["socket"], ours)

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
            self._send(order, [stdin, program_output, program_errors, theirs.fileno()])
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

    def _send(self, order: Run | Use, descriptors: Sequence[int]) -> None:
        try:
            send_order(self.orders, order, descriptors)
        except ValueError as error:
            raise HTTPError(500, str(error)) from None
        except OSError as error:
            raise HTTPError(503, f"the launcher of programs does not keep up: {error.strerror}") from None
