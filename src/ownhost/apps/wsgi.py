"""WSGI: the program that runs a request's Python application."""

from __future__ import annotations

import functools
import os
import pwd
import sys
from grp import getgrnam
from pathlib import Path

from ownhost.apps.answer import launcher_of
from ownhost.apps.app import FOLDER, App, Protocol
from ownhost.apps.environment import environment
from ownhost.apps.fastcgi_client import ask_app
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.http.wire import unwire
from ownhost.modules import mod_wsgi
from ownhost.modules.mpm import MAX_CONNECTIONS_PER_CHILD, MAX_SPARE_SERVERS, MIN_SPARE_SERVERS, START_SERVERS
from ownhost.modules.python_daemons import Daemon
from ownhost.request.module import Module, register
from ownhost.request.request import Request
from ownhost.request.ways import known

RUNNER = "wsgi_runner.py"
PROCESSES = 4  # at most, where no WSGIDaemonProcess says it
IDLE_TIMEOUT = 60  # seconds, likewise
# Written for each program, and not run from here: an owner need not be able to read where Ownhost is installed.
_FILES = tuple(
    (name, (Path(__file__).parent / "runner" / name).read_text(encoding="utf-8"))
    for name in (RUNNER, "fastcgi_responder.py")
)
# That of the system, not of Ownhost's own virtual environment: what is installed there is no owner's business.
DEFAULT_PYTHON = os.path.realpath(sys.executable)


def app_of(request: Request) -> App:
    """The program for a request that has the handler wsgi-script. Raises HTTPError 403, 404, 500."""
    mod_wsgi.check_script(request)
    daemon = mod_wsgi.daemon_of(request)
    check_owner(daemon)
    settings = request.site.settings
    arguments = {
        "--home": daemon.home,
        "--python-path": daemon.python_path or settings[mod_wsgi.PYTHON_PATH],
        "--maximum-requests": str(max_requests(request, daemon) or ""),
        "--request-timeout": str(daemon.request_timeout or ""),
        "--process-group": daemon.name,
        "--application-group": mod_wsgi.application_group(request),
        "--umask": daemon.umask,
        "--title": title_of(daemon),
    }
    return App(
        name=daemon.name or Path(request.filename).name,
        command=(
            python_of(daemon.python_home or settings[mod_wsgi.PYTHON_HOME]),
            f"{FOLDER}/{RUNNER}",
            *(f"{name}={value}" for name, value in arguments.items() if value),
            *(() if request.settings[mod_wsgi.SCRIPT_RELOADING] else ("--no-reload",)),
            "--",
            request.filename,
            mod_wsgi.callable_of(request),
        ),
        protocol=Protocol.FASTCGI,
        environment=environment_of(daemon),
        folder=daemon.home or home_of(os.geteuid()),
        files=_FILES,
        processes=daemon.processes or PROCESSES,
        first=settings[START_SERVERS],
        spare=settings[MIN_SPARE_SERVERS],
        most_spare=max(settings[MAX_SPARE_SERVERS], settings[MIN_SPARE_SERVERS] + 1),
        max_requests=max_requests(request, daemon),
        request_timeout=daemon.request_timeout,
        idle_timeout=daemon.inactivity_timeout or IDLE_TIMEOUT,
    )


def python_of(folder: str) -> str:
    """The Python of a virtual environment; the system's where there is none."""
    return f"{folder.rstrip('/')}/bin/python" if folder else DEFAULT_PYTHON


def max_requests(request: Request, daemon: Daemon) -> int:
    """How many requests a process serves; 0: no limit."""
    if daemon.maximum_requests is None:
        return request.site.settings[MAX_CONNECTIONS_PER_CHILD]
    return daemon.maximum_requests


def title_of(daemon: Daemon) -> str:
    """What the processes of a group are called."""
    return f"(wsgi:{daemon.name})" if daemon.display_name == "%{GROUP}" else daemon.display_name


def environment_of(daemon: Daemon) -> tuple[tuple[str, str], ...]:
    """The variables that a group's processes have."""
    return tuple((name, value) for name, value in (("LANG", daemon.lang), ("LC_ALL", daemon.locale)) if value)


def check_owner(daemon: Daemon) -> None:
    """See that a group's user= and group= are this process's own: it starts nothing as another. Raises HTTPError."""
    for option, name, found, own in (
        ("user", daemon.user, _uid, os.geteuid()),
        ("group", daemon.group, _gid, os.getegid()),
    ):
        if name and found(name) != own:
            wanted = f"WSGIDaemonProcess {daemon.name} has {option}={name}"
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
    """The uid of a name or #uid; -1 where there is none."""
    if name.startswith("#"):
        return int(name[1:]) if name[1:].isdecimal() else -1
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


@functools.cache
def _gid(name: str) -> int:
    """The gid of a name or #gid; -1 where there is none."""
    if name.startswith("#"):
        return int(name[1:]) if name[1:].isdecimal() else -1
    try:
        return getgrnam(name).gr_gid
    except KeyError:
        return -1


def handle(request: Request) -> Response:
    """Have a Python application answer. Raises HTTPError 403, 404, 500."""
    request.pure = False
    app = known(request, "wsgi", app_of)
    return Response(200, deferred=lambda body: run(request, app, body))


async def run(request: Request, app: App, body: RequestBody) -> Response:
    """What the application answers. Raises HTTPError."""
    launcher = launcher_of(request, "wsgi")
    content = await body.read() if request.head.has_body else None
    variables = wsgi_environment(request, None if content is None else content.size)
    return await ask_app(request, launcher, app, variables, content, app.request_timeout)


def wsgi_environment(request: Request, body_length: int | None) -> dict[str, str]:
    """The variables for an application; WSGIPassAuthorization lets it see passwords."""
    variables = environment(request, body_length=body_length)
    authorization = request.head.values.get("authorization")
    if authorization and mod_wsgi.passes_authorization(request):
        variables["HTTP_AUTHORIZATION"] = unwire(authorization)
    return variables


register(Module(name="wsgi-app", identifier="wsgi-app_module", handlers={mod_wsgi.HANDLER: handle}))
