"""ASGI: the program that runs a request's asynchronous Python application.

uvicorn speaks HTTP on the program's socket, WebSocket, and the application's lifespan. It believes
X-Forwarded-For and X-Forwarded-Proto, as only this owner's workers can connect: they must have one
value each, from the worker.

Source: uvicorn's manual, "Settings"; ASGI's specification of `root_path`.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from socket import SocketType
from urllib.parse import quote

from ownhost.apps.app import App, Protocol
from ownhost.apps.forwarding import requested_upgrade
from ownhost.apps.proxy import ask_http
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
from ownhost.apps.spool import Flow
from ownhost.http.hops import end_to_end
from ownhost.http.limits import TIMEOUT
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.modules import mod_asgi
from ownhost.modules.mod_asgi import ScriptAlias
from ownhost.modules.proxying.backend import Backend
from ownhost.modules.proxying.parameters import Parameters
from ownhost.modules.python_daemons import Daemon
from ownhost.request.module import Module, register
from ownhost.request.names import scheme
from ownhost.request.programs import Launcher, Lease
from ownhost.request.request import Request

PROCESSES = 1  # where no ASGIDaemonProcess says it: a process takes many requests at once


def app_of(request: Request) -> App:
    """The program for a request that has the handler asgi-script. Raises HTTPError 404, 500."""
    alias = mod_asgi.alias_of(request)
    daemon = mod_asgi.daemon_of(request, alias)
    check_owner(daemon, "ASGIDaemonProcess")
    return App(
        name=daemon.name or PurePosixPath(alias.script).name,
        command=command_of(alias, daemon),
        protocol=Protocol.HTTP,
        module="asgi",
        environment=(*environment_of(daemon), *_python_path(daemon)),
        folder=daemon.home or home_of(os.geteuid()),
        processes=daemon.processes or PROCESSES,
        at_once=0,
        max_requests=max_requests(request, daemon),
        request_timeout=daemon.request_timeout,
        idle_timeout=daemon.inactivity_timeout or IDLE_TIMEOUT,
        watched=(alias.script,),
    )


def command_of(alias: ScriptAlias, daemon: Daemon) -> tuple[str, ...]:
    """uvicorn's command line."""
    script = PurePosixPath(alias.script)
    options = {
        "--fd": "0",
        "--app-dir": str(script.parent),
        "--root-path": alias.prefix,
        "--log-level": "warning",
        "--forwarded-allow-ips": "*",
    }
    return (
        python_of(daemon.python_home),
        *("-m", "uvicorn", "--proxy-headers", "--no-access-log", "--no-server-header", "--no-date-header"),
        *(f"{name}={value}" for name, value in options.items() if value),
        f"{script.stem}:{alias.name}",
    )


def target(request: Request) -> str:
    """The target for uvicorn: the path below the application's prefix, which uvicorn itself puts before it."""
    path = quote(request.path_info or "/", safe="/!$&'()*+,;=:@~", errors="surrogateescape")
    return path if request.query is None else f"{path}?{request.query}"


def _python_path(daemon: Daemon) -> tuple[tuple[str, str], ...]:
    folders = [folder for folder in (daemon.home, daemon.python_path) if folder]
    return (("PYTHONPATH", ":".join(folders)),) if folders else ()


async def run(request: Request, launcher: Launcher, app: App, body: RequestBody) -> Response:
    """What the application answers. Raises HTTPError."""
    content = await content_of(request, body)
    lease = await launcher.lease(app)
    upgrade = Parameters(upgrade="websocket", reuse=False)
    backend = Backend("http", "localhost", 80, lease.path, parameters=upgrade)
    timeout = app.request_timeout or request.site.settings[TIMEOUT]
    try:
        fields = fields_for(request, backend)
        response = await ask_http(request, backend, target(request), fields, content, timeout, body)
    except HTTPError as error:
        lease.close()
        if error.status == 502:  # there is no other server here that could be said to be bad
            raise HTTPError(500, f"{app.name} ended without an answer", module="asgi") from None
        raise
    except BaseException:
        lease.close()
        raise
    return _with_lease(response, lease)


def fields_for(request: Request, backend: Backend) -> list[tuple[str, str]]:
    """The header fields for uvicorn, which believes what it is told of the client: so that is told once, by us."""
    hidden = ("x-forwarded-for", "x-forwarded-proto", "content-length", "expect")
    fields = end_to_end(request.head.fields, but=hidden)
    protocol = requested_upgrade(request, backend)
    if protocol:
        fields += (("Upgrade", protocol), ("Connection", "Upgrade"))
    else:
        fields.append(("Connection", "close"))
    return [*fields, ("X-Forwarded-For", request.endpoints.client), ("X-Forwarded-Proto", scheme(request))]


def _with_lease(response: Response, lease: Lease) -> Response:
    """A response that holds the app while it is being sent."""
    tunnel, body = response.tunnel, response.body
    if tunnel is not None:

        async def tunnelled(client: SocketType, data: bytes) -> None:
            try:
                await tunnel(client, data)
            finally:
                lease.close()

        response.tunnel = tunnelled
    elif isinstance(body, Flow):
        body.when_closed(lease.close)
    else:
        lease.close()
    return response


register(
    Module(name="asgi-app", identifier="asgi-app_module", handlers={mod_asgi.HANDLER: handler("asgi", app_of, run)})
)
