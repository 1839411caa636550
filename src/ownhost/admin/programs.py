"""Which program would answer a request, and whether it could. Nothing is run, and no server is asked."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from ownhost.admin.explanation import Program
from ownhost.apps import asgi, wsgi
from ownhost.http.message import HTTPError
from ownhost.identity.identity import Identity
from ownhost.identity.permissions import Need, Obstacle, find_obstacle
from ownhost.modules import mod_asgi, mod_wsgi
from ownhost.modules.mod_alias import CGI
from ownhost.modules.mod_php import SCRIPT_HANDLERS, php_server
from ownhost.modules.mod_proxy import backend_of
from ownhost.request.proxied import PROXIED, PROXY_HANDLER
from ownhost.request.request import Request

_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where env(1) searches without a PATH
_LONGEST_LINE = 256  # bytes of a #! line (execve(2))


def program_of(request: Request, identity: Identity) -> Program | None:
    """The program that would answer a request; None if no program does."""
    is_proxied = request.is_proxied or request.handler.startswith(PROXIED)
    find = _PROGRAMS.get(PROXY_HANDLER if is_proxied else request.handler)
    if find is None:
        return None
    try:
        return find(request, identity)
    except HTTPError as error:  # its runner is not installed, or wrongly configured
        return Program("the program", request.filename, error.reason, status=error.status)


def _cgi(request: Request, identity: Identity) -> Program:
    program = Program("a CGI program", request.filename)
    try:
        with open(request.filename, "rb") as file:
            start = file.read(_LONGEST_LINE)
    except OSError:
        start = b""
    is_script = start.startswith(b"#!")
    if _stopped(program, request.filename, identity, Need.RUN_SCRIPT if is_script else Need.RUN):
        return program
    if os.statvfs(request.filename).f_flag & os.ST_NOEXEC:
        _trouble(program, f"{request.filename} is on a file system that is mounted noexec", "keep it elsewhere")
    elif is_script:
        _check_interpreter(program, start.split(b"\n")[0], identity)
    elif start and not start.startswith(b"\x7fELF"):
        name = shlex.quote(request.filename)
        _trouble(
            program,
            f"{request.filename} is neither a binary nor begins with #! and an interpreter",
            f"sed -i '1i #!/bin/sh' {name}, or whatever interprets it",
        )
    return program


def _check_interpreter(program: Program, line: bytes, identity: Identity) -> None:
    """Check that the interpreter of a #! line exists and may be run."""
    words = line[2:].decode("utf-8", "surrogateescape").split(" ")
    words = [word for word in words if word]
    if not words:
        _trouble(program, f"the first line of {program.command} names no interpreter", "write one behind #!")
        return
    interpreter = words[0]
    if interpreter.endswith("\r"):
        fix = f"sed -i 's/\\r$//' {shlex.quote(program.command)}"
        _trouble(program, f"the lines of {program.command} end as on Windows, so no interpreter is found", fix)
        return
    if not os.access(interpreter, os.F_OK):
        fix = f"install it, or correct the first line of {program.command}"
        _trouble(program, f"its interpreter {interpreter} does not exist", fix)
    elif not _stopped(program, interpreter, identity, Need.RUN) and Path(interpreter).name == "env":
        named = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        if named and shutil.which(named, path=_SEARCHED) is None:
            _trouble(program, f"{interpreter} finds no {named} in the usual folders", f"install {named}")


def _php(request: Request, identity: Identity) -> Program:
    program = Program("PHP", f"{php_server(request)} runs {request.filename}", status=200)
    _stopped(program, request.filename, identity, Need.READ, status=403)
    return program


def _wsgi(request: Request, identity: Identity) -> Program:
    python = wsgi.app_of(request).command[0]
    program = Program("a WSGI application", f"{python} runs {request.filename}")
    if not _check_python(program, python, identity):
        _stopped(program, request.filename, identity, Need.READ)
    return program


def _asgi(request: Request, identity: Identity) -> Program:
    app = asgi.app_of(request)
    program = Program("an ASGI application", f"{app.command[0]} runs {app.command[-1]}")
    _check_python(program, app.command[0], identity)
    return program


def _check_python(program: Program, python: str, identity: Identity) -> bool:
    """Check whether a Python is missing, or may not be run."""
    if not os.access(python, os.F_OK) and find_obstacle(python, identity, Need.RUN) is None:
        _trouble(program, f"there is no {python}", "name a virtual environment that has it (python-home=)")
        return True
    return _stopped(program, python, identity, Need.RUN)


def _proxy(request: Request, identity: Identity) -> Program:
    backend = backend_of(request)
    if backend is None:
        return Program("another server", "none that is named")
    if not backend.socket:
        return Program("another server", f"{backend.scheme}://{backend.authority}{backend.path}")
    program = Program("another server", f"{backend.scheme} at the socket {backend.socket}")
    if _stopped(program, backend.socket, identity, Need.WRITE, status=503):
        return program
    try:
        is_socket = stat.S_ISSOCK(os.stat(backend.socket).st_mode)
    except OSError:
        _trouble(program, f"there is no socket {backend.socket}", "start the server that listens on it", 503)
    else:
        if not is_socket:
            _trouble(program, f"{backend.socket} is not a socket", "name the socket that the server listens on", 503)
    return program


def _stopped(program: Program, path: str, identity: Identity, need: Need, status: int = 500) -> bool:
    found = find_obstacle(path, identity, need)
    if not isinstance(found, Obstacle):
        return False
    who = f"{identity.name} (uid {identity.uid}) may not {found.verb} it"
    _trouble(program, f"{found.shown}, and {who}", found.command(identity), status)
    return True


def _trouble(program: Program, why: str, fix: str, status: int = 500) -> None:
    program.trouble, program.fix, program.status = why, fix, status


_PROGRAMS: dict[str, Callable[[Request, Identity], Program]] = {
    CGI: _cgi,
    **dict.fromkeys(SCRIPT_HANDLERS, _php),
    mod_wsgi.HANDLER: _wsgi,
    mod_asgi.HANDLER: _asgi,
    PROXY_HANDLER: _proxy,
}
