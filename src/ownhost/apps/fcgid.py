"""mod_fcgid: FastCGI programs that the launcher starts as the owner, with their socket as standard input."""

from __future__ import annotations

import posixpath

from ownhost.apps.app import App, Protocol
from ownhost.apps.environment import environment
from ownhost.apps.fastcgi_client import ask_app
from ownhost.apps.python_app import content_of, handler
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.http.wire import unwire
from ownhost.modules import mod_fcgid
from ownhost.modules.core_files import ACCEPT_PATH_INFO
from ownhost.modules.mod_alias import CGI
from ownhost.modules.mod_fcgid import CommandOptions, Wrapper
from ownhost.modules.mpm import MAX_CONNECTIONS_PER_CHILD, MAX_REQUEST_WORKERS
from ownhost.request.links import OPTIONS, Option
from ownhost.request.module import Module, register
from ownhost.request.programs import Launcher
from ownhost.request.request import Request

_PASSWORDS = ("authorization", "proxy-authorization")  # variables that `environment` leaves out


def wrapper_of(request: Request) -> Wrapper | None:
    """The program that runs a request's script; None if the script is a program itself."""
    wrappers = request.settings[mod_fcgid.WRAPPERS]
    _, dot, extension = request.filename.rpartition("/")[2].rpartition(".")
    return wrappers.get(dot + extension) or wrappers.get("")


def check_script(request: Request, wrapper: Wrapper | None) -> None:
    """The refusals of mod_fcgid before it runs a script. Raises HTTPError 403, 404."""
    name = request.filename
    if Option.EXEC_CGI not in request.settings[OPTIONS] and request.alias != CGI:
        raise HTTPError(403, f"location of script {name} does not have ExecCGI enabled", module="fcgid")
    if wrapper is None or not wrapper.virtual:
        if request.stat is None:
            raise HTTPError(404, f"script not found or unable to stat: {name}", module="fcgid")
        if request.is_folder:
            raise HTTPError(403, f"attempt to invoke directory as script: {name}", module="fcgid")
    if request.path_info and request.settings[ACCEPT_PATH_INFO] == "Off":
        raise HTTPError(404, f"{name}: AcceptPathInfo is Off, and {request.path_info} follows", module="fcgid")


def app_of(request: Request) -> App:
    """The program for a request that has the handler fcgid-script. Raises HTTPError 403, 404."""
    wrapper = wrapper_of(request)
    check_script(request, wrapper)
    command = (request.filename,) if wrapper is None else wrapper.command
    settings = request.site.settings
    options = settings[mod_fcgid.COMMANDS].get(command[0], CommandOptions())
    most = settings[mod_fcgid.MAX_PROCESSES] if options.processes is None else options.processes
    idle = settings[mod_fcgid.IDLE_TIMEOUT] if options.idle_timeout is None else options.idle_timeout
    return App(
        name=posixpath.basename(command[0]),
        command=command,
        protocol=Protocol.FASTCGI,
        module="fcgid",
        environment=variables_of(request, options),
        folder=posixpath.dirname(command[0]) or "/",
        processes=max(1, min(most, settings[MAX_REQUEST_WORKERS])),
        request_timeout=options.io_timeout or settings[mod_fcgid.IO_TIMEOUT],
        idle_timeout=idle,
    )


def variables_of(request: Request, options: CommandOptions) -> tuple[tuple[str, str], ...]:
    """The program's environment at its start."""
    settings = request.site.settings
    initial = settings[mod_fcgid.INITIAL_ENV]
    found = {**initial, **dict(options.environment)}
    said = settings[mod_fcgid.MAX_REQUESTS] if options.max_requests is None else options.max_requests
    requests = said or settings[MAX_CONNECTIONS_PER_CHILD]
    if requests:
        found.setdefault("PHP_FCGI_MAX_REQUESTS", str(requests))
    return tuple(found.items())


async def run(request: Request, launcher: Launcher, app: App, body: RequestBody) -> Response:
    """The program's response. Raises HTTPError."""
    check_length(request, request.head.content_length)
    content = await content_of(request, body)
    size = None if content is None else content.size
    check_length(request, size or 0)
    return await ask_app(request, launcher, app, fcgid_environment(request, size), content, app.request_timeout)


def check_length(request: Request, size: int) -> None:
    """Refuse a body that is too large. Raises HTTPError 500, as mod_fcgid does."""
    limit = request.site.settings[mod_fcgid.MAX_REQUEST_LEN]
    if limit and size > limit:
        raise HTTPError(500, f"HTTP request length {size} exceeds FcgidMaxRequestLen ({limit})", module="fcgid")


def fcgid_environment(request: Request, body_length: int | None) -> dict[str, str]:
    """The variables of a request: those of CGI, and fields under their own names for FcgidPassHeader."""
    variables = environment(request, body_length=body_length)
    variables["FCGI_ROLE"] = "RESPONDER"
    if request.site.settings[mod_fcgid.FIX_PATHINFO]:
        variables["SCRIPT_FILENAME"] = request.filename + request.path_info
    for name in request.site.settings[mod_fcgid.PASS_HEADERS]:
        value = request.head.values.get(name.lower())
        if value is not None:
            variables[name] = unwire(value)
            if name.lower() in _PASSWORDS:
                variables[f"HTTP_{name.upper().replace('-', '_')}"] = unwire(value)
    return variables


register(
    Module(
        name="fcgid-app",
        identifier="fcgid-app_module",
        handlers={mod_fcgid.HANDLER: handler("fcgid", app_of, run)},
        stands_for=frozenset({"fcgid"}),
    )
)
