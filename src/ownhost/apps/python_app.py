"""What WSGI and ASGI applications have in common: their owner, their Python, how they are asked."""

from __future__ import annotations

import functools
import os
import pwd
import sys
from collections.abc import Awaitable, Callable
from grp import getgrnam

from ownhost.apps.answer import launcher_of
from ownhost.apps.app import App
from ownhost.http.message import Content, HTTPError, RequestBody, Response
from ownhost.modules.mpm import MAX_CONNECTIONS_PER_CHILD
from ownhost.modules.python_daemons import Daemon
from ownhost.request.programs import Launcher
from ownhost.request.request import Request
from ownhost.request.routes import known

IDLE_TIMEOUT = 60  # seconds, if inactivity-timeout= does not set it
# The Python below Ownhost's own virtual environment, not the environment: owners must not see what
# is installed there. It may be root's alone (/root/.pyenv): then the system's.
PYTHONS = tuple(dict.fromkeys((os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3")))

Run = Callable[[Request, Launcher, App, RequestBody], Awaitable[Response]]  # has an app answer a request


def handler(kind: str, app_of: Callable[[Request], App], run: Run) -> Callable[[Request], Response]:
    """A handler that has the app of a request answer; errors are logged in the name of `kind`.

    It raises what `app_of` and `run` do, and HTTPError 500 if no programs can be run.
    """

    def handle(request: Request) -> Response:
        request.pure = False
        app = known(request, kind, app_of)
        return Response(200, deferred=lambda body: answer(request, app, body))

    async def answer(request: Request, app: App, body: RequestBody) -> Response:
        return await run(request, launcher_of(request, kind), app, body)

    return handle


async def content_of(request: Request, body: RequestBody) -> Content | None:
    """All of a request's body; None if it has none. Raises HTTPError, ClientGone."""
    return await body.read() if request.head.has_body else None


def python_of(folder: str) -> str:
    """The Python of a virtual environment. Without one, the first that this process's identity may run."""
    return python_in(folder) if folder else default_python()


def python_in(folder: str) -> str:
    """The Python of a virtual environment."""
    return f"{folder.rstrip('/')}/bin/python"


@functools.cache
def default_python() -> str:
    """The first Python that this process's identity may run; Ownhost's own if it may run none."""
    return next((python for python in PYTHONS if os.access(python, os.X_OK)), PYTHONS[0])


def max_requests(request: Request, daemon: Daemon) -> int:
    """How many requests a process serves; 0: no limit."""
    if daemon.maximum_requests is None:
        return request.site.settings[MAX_CONNECTIONS_PER_CHILD]
    return daemon.maximum_requests


def environment_of(daemon: Daemon) -> tuple[tuple[str, str], ...]:
    """The environment of a group's processes."""
    return tuple((name, value) for name, value in (("LANG", daemon.lang), ("LC_ALL", daemon.locale)) if value)


def check_owner(daemon: Daemon, directive: str) -> None:
    """Check that a group's user= and group= are this process's own: it starts nothing as another. Raises HTTPError."""
    for option, name, found, own in (
        ("user", daemon.user, _uid, os.geteuid()),
        ("group", daemon.group, _gid, os.getegid()),
    ):
        if name and found(name) != own:
            wanted = f"{directive} {daemon.name} has {option}={name}"
            raise HTTPError(
                500, f"{wanted}, but its requests are served as {option} {own}; AssignUserID says who serves"
            )


@functools.cache
def home_of(uid: int) -> str:
    """The home folder of a user."""
    try:
        folder = pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
    return folder if os.access(folder, os.X_OK) else "/"


@functools.cache
def _uid(name: str) -> int:
    """The uid of a name or #uid; -1 if there is none."""
    if name.startswith("#"):
        return int(name[1:]) if name[1:].isdecimal() else -1
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


@functools.cache
def _gid(name: str) -> int:
    """The gid of a name or #gid; -1 if there is none."""
    if name.startswith("#"):
        return int(name[1:]) if name[1:].isdecimal() else -1
    try:
        return getgrnam(name).gr_gid
    except KeyError:
        return -1
