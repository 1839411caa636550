"""ASGI: the program that runs a request's asynchronous Python application.

uvicorn speaks HTTP on the program's socket, WebSocket, and the application's lifespan. It believes X-Forwarded-For and
X-Forwarded-Proto, as nobody but this owner's workers can connect: they must have one value each, from the worker.

Source: uvicorn's manual, "Settings"; ASGI's specification of `root_path`.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import quote

from ownhost.apps.app import App, Protocol
from ownhost.apps.wsgi import IDLE_TIMEOUT, check_owner, environment_of, home_of, max_requests, python_of
from ownhost.modules import mod_asgi
from ownhost.modules.mod_asgi import ScriptAlias
from ownhost.modules.python_daemons import Daemon
from ownhost.request.request import Request

PROCESSES = 1  # where no ASGIDaemonProcess says it: a process takes many requests at once


def app_of(request: Request) -> App:
    """The program for a request that has the handler asgi-script. Raises HTTPError 404, 500."""
    alias = mod_asgi.alias_of(request)
    daemon = mod_asgi.daemon_of(request, alias)
    check_owner(daemon)
    limit = max_requests(request, daemon)
    return App(
        name=daemon.name or PurePosixPath(alias.script).name,
        command=command_of(alias, daemon, limit),
        protocol=Protocol.HTTP,
        environment=(*environment_of(daemon), *_python_path(daemon)),
        folder=daemon.home or home_of(os.geteuid()),
        processes=daemon.processes or PROCESSES,
        at_once=0,
        max_requests=limit,
        request_timeout=daemon.request_timeout,
        idle_timeout=daemon.inactivity_timeout or IDLE_TIMEOUT,
        watched=(alias.script,),
    )


def command_of(alias: ScriptAlias, daemon: Daemon, limit: int) -> tuple[str, ...]:
    """uvicorn's command line."""
    script = PurePosixPath(alias.script)
    options = {
        "--fd": "0",
        "--app-dir": str(script.parent),
        "--root-path": alias.prefix,
        "--log-level": "warning",
        "--forwarded-allow-ips": "*",
        "--limit-max-requests": str(limit or ""),
    }
    return (
        python_of(daemon.python_home),
        *("-m", "uvicorn", "--proxy-headers", "--no-access-log", "--no-server-header", "--no-date-header"),
        *(f"{name}={value}" for name, value in options.items() if value),
        f"{script.stem}:{alias.name}",
    )


def target(request: Request) -> str:
    """What uvicorn is asked for: the path below the application's prefix, which it puts in front itself."""
    path = quote(request.path_info or "/", safe="/!$&'()*+,;=:@~", errors="surrogateescape")
    return path if request.query is None else f"{path}?{request.query}"


def _python_path(daemon: Daemon) -> tuple[tuple[str, str], ...]:
    folders = [folder for folder in (daemon.home, daemon.python_path) if folder]
    return (("PYTHONPATH", ":".join(folders)),) if folders else ()
