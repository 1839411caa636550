"""mod_cgi: programs that are run for one request each (RFC 3875)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from urllib.parse import unquote_to_bytes

from ownhost.apps import pipes, script_log
from ownhost.apps.answer import answer, keep, launcher_of
from ownhost.apps.cgi_head import Dialect
from ownhost.apps.environment import environment, for_execution
from ownhost.apps.script_log import Transcript
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.http.wire import to_bytes
from ownhost.modules.core_files import ACCEPT_PATH_INFO
from ownhost.modules.core_programs import limits_of
from ownhost.modules.mod_alias import CGI
from ownhost.modules.mod_cgi import SCRIPT_LOG
from ownhost.request.links import OPTIONS, Option
from ownhost.request.module import Module, register
from ownhost.request.programs import Execution
from ownhost.request.request import Level, Request

MOMENT = 0.5  # seconds until processes that still hold unwanted output are ended
CGI_TYPE = "application/x-httpd-cgi"  # the media type that stands for the handler
GRACE = 3.0  # seconds for a program to end after its output has ended


def handle(request: Request) -> Response:
    """Have a file run. Raises HTTPError 403, 404."""
    request.pure = False
    try:
        check(request)
    except HTTPError as error:
        script_log.write_refused(request, error)
        raise
    return Response(200, deferred=lambda body: run(request, body))


def check(request: Request) -> None:
    """Refuse files that may not be run. Raises HTTPError 403, 404."""
    stderr = f"stderr from {request.filename}"  # these are Apache's words
    if Option.EXEC_CGI not in request.settings[OPTIONS] and request.alias != CGI:
        raise HTTPError(403, f"AH02809: {stderr}: Options ExecCGI is off in this directory", module="cgi")
    if request.stat is None:
        why = f"AH02811: {stderr}: script not found or unable to stat"
        raise HTTPError(404, why, module="cgi", level=Level.ERROR)
    if request.is_folder:
        raise HTTPError(403, f"AH02812: {stderr}: attempt to invoke directory as script", module="cgi")
    if request.path_info and request.settings[ACCEPT_PATH_INFO] == "Off":
        why = f"AH02813: {stderr}: AcceptPathInfo off disallows user's path"
        raise HTTPError(404, why, module="cgi", level=Level.ERROR)


async def run(request: Request, body: RequestBody) -> Response:
    """Run the program, and return its response. Raises HTTPError."""
    launcher = launcher_of(request, "cgi")
    content = await body.read() if request.head.has_body else None
    variables = environment(request, body_length=None if content is None else content.size)
    folder, _, name = request.filename.rpartition("/")
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        execution = await launcher.execute(
            (to_bytes(request.filename), *arguments(request.query)),
            for_execution(variables),
            folder or "/",
            null if content is None else content.fileno(),
            limits_of(request.settings),
        )
    finally:
        os.close(null)
    heard = Transcript() if request.settings[SCRIPT_LOG] else None
    output = Output(execution, request, heard)
    try:
        is_whole = name.startswith("nph-")
        dialect = Dialect.HTTP if is_whole else Dialect.CGI
        response = await answer(request, output, "cgi", dialect=dialect, body=body)
        response.as_sent = is_whole
        return response
    except HTTPError as error:
        if heard is not None and error.status >= 500:  # a client's error is not the program's
            await asyncio.wait((output.complaints,), timeout=GRACE)
            script_log.write_failed(request, error, content, heard)
        raise
    finally:
        output.heard = None


def arguments(query: str | None) -> list[bytes]:
    """The program's arguments: the words of a query without "=" (RFC 3875, 4.4)."""
    if not query or "=" in query:
        return []
    return [unquote_to_bytes(word) for word in query.encode("latin-1").split(b"+") if b"%00" not in word]


class Output:
    """A program's output (answer.Source). Its standard error goes to the error log."""

    def __init__(self, execution: Execution, request: Request, heard: Transcript | None) -> None:
        self.execution = execution
        self.request = request
        self.ended = False
        self.heard = heard  # kept for the ScriptLog, until the head is complete
        self.complaints = asyncio.ensure_future(pipes.read_lines(execution.errors, self.complain))

    def complain(self, line: str) -> None:
        """Log a line of its standard error."""
        if self.heard is not None:
            self.heard.complain(line)
        self.request.log(Level.ERROR, "cgi", f"AH01215: stderr from {self.request.filename}: {line}")

    async def read(self, deadline: float) -> bytes:
        """Some more; b"" at the end."""
        data = await pipes.read(self.execution.output, deadline)
        self.ended = not data
        if self.heard is not None:
            self.heard.say(data)
        return data

    def close(self) -> None:
        """Let the program end soon, with the processes that hold its output."""
        keep(self._end())

    async def _end(self) -> None:
        self.ended = self.ended or await pipes.closes(self.execution.output, MOMENT)
        if self.ended:
            await asyncio.wait((self.complaints,), timeout=GRACE)
        self.complaints.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self.complaints
        self.execution.close(output_complete=self.ended)


register(
    Module(
        name="mod_cgi",
        identifier="cgi_module",
        handlers={CGI: handle, CGI_TYPE: handle},
        stands_for=frozenset({"cgi", "cgid"}),
    )
)
