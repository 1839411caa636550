"""WSGI: the program that runs a request's Python application."""

from __future__ import annotations

import os
from pathlib import Path

from ownhost.apps.app import FOLDER, App, Protocol
from ownhost.apps.environment import environment
from ownhost.apps.fastcgi_client import ask_app
from ownhost.apps.python_app import (
    IDLE_TIMEOUT,
    check_owner,
    content_of,
    environment_of,
    handler,
    home_of,
    max_requests,
    python_of,
)
from ownhost.http.message import RequestBody, Response
from ownhost.http.wire import unwire
from ownhost.modules import mod_wsgi
from ownhost.modules.mpm import MAX_SPARE_SERVERS, MIN_SPARE_SERVERS, START_SERVERS
from ownhost.modules.python_daemons import Daemon
from ownhost.request.module import Module, register
from ownhost.request.programs import Launcher
from ownhost.request.request import Request

RUNNER = "wsgi_runner.py"
PROCESSES = 4  # at most, where no WSGIDaemonProcess says it
# Written for each program, and not run from here: an owner may not be able to read where Ownhost is
# installed.
_FILES = tuple(
    (name, (Path(__file__).parent / "runner" / name).read_text(encoding="utf-8"))
    for name in (RUNNER, "fastcgi_responder.py")
)


def app_of(request: Request) -> App:
    """The program for a request that has the handler wsgi-script. Raises HTTPError 403, 404, 500."""
    mod_wsgi.check_script(request)
    daemon = mod_wsgi.daemon_of(request)
    check_owner(daemon, "WSGIDaemonProcess")
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
        module="wsgi",
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


def title_of(daemon: Daemon) -> str:
    """The name of a group's processes."""
    return f"(wsgi:{daemon.name})" if daemon.display_name == "%{GROUP}" else daemon.display_name


async def run(request: Request, launcher: Launcher, app: App, body: RequestBody) -> Response:
    """The application's response. Raises HTTPError."""
    content = await content_of(request, body)
    variables = wsgi_environment(request, None if content is None else content.size)
    return await ask_app(request, launcher, app, variables, content, app.request_timeout)


def wsgi_environment(request: Request, body_length: int | None) -> dict[str, str]:
    """The variables for an application; WSGIPassAuthorization lets it see passwords."""
    variables = environment(request, body_length=body_length)
    authorization = request.head.values.get("authorization")
    if authorization and mod_wsgi.passes_authorization(request):
        variables["HTTP_AUTHORIZATION"] = unwire(authorization)
    return variables


register(
    Module(
        name="wsgi-app",
        identifier="wsgi-app_module",
        handlers={mod_wsgi.HANDLER: handler("wsgi", app_of, run)},
        stands_for=frozenset({"wsgi"}),
    )
)
