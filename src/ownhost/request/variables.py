"""Server variables: what %{NAME} is in expressions and in mod_rewrite's conditions (expr.html, "Variables").

Text is held as paths are: UTF-8 with surrogate escapes. A variable that follows from anything but the virtual host,
the path and the served file makes the request impure (`Request.pure`).
"""

from __future__ import annotations

import grp
import ipaddress
import pwd
import time
from collections.abc import Callable

from ownhost.http.message import Response
from ownhost.http.wire import from_wire
from ownhost.request.names import SERVER_ADMIN, scheme, server_name, server_token
from ownhost.request.request import CannotTell, Request
from ownhost.request.translate import DOCUMENT_ROOT

API_VERSION = "20120211"  # of Apache 2.4's modules

_NO_ADMIN = "[no address given]"  # Apache's words
_TIMESTAMP = "%Y%m%d%H%M%S"


def lookup(request: Request, name: str, response: Response | None = None) -> str | None:
    """The value of a variable, "" where it is not set; None where there is no such variable.

    Names are taken in any case. `response` is what is about to be sent, where that is known. Raises `CannotTell` in a
    gate for what only the file shows.
    """
    name = name.upper()
    if response is not None and name in _OF_RESPONSE:
        return _OF_RESPONSE[name](response)
    get = _VARIABLES.get(name)
    if get is None:
        return None
    if name not in _PURE:
        request.pure = False
    return get(request)


def exists(name: str) -> bool:
    """Whether there is such a variable."""
    return name.upper() in _VARIABLES


def uri(request: Request) -> str:
    """The path: cleaned, or before that as it was sent."""
    return request.uri or from_wire(request.head.path)


def _filename(request: Request) -> str:
    """The file name; the path before there is one, which is what server-level rewriting works on."""
    return request.filename or request.uri


def _path_info(request: Request) -> str:
    if request.filename:
        _need_files(request)
    return request.path_info


def _need_files(request: Request) -> None:
    if not request.site.sees_files:
        raise CannotTell


def _document_root(request: Request) -> str:
    return request.document_root or request.site.settings[DOCUMENT_ROOT]


def _header(name: str) -> Callable[[Request], str]:
    return lambda request: from_wire(request.head.values.get(name, ""))


def _environment(name: str) -> Callable[[Request], str]:
    return lambda request: request.env.get(name, "")


def _now(form: str) -> Callable[[Request], str]:
    return lambda _request: time.strftime(form)


def _script_user(request: Request) -> str:
    _need_files(request)
    if request.stat is None:
        return ""
    try:
        return pwd.getpwuid(request.stat.st_uid).pw_name
    except KeyError:
        return ""


def _script_group(request: Request) -> str:
    _need_files(request)
    if request.stat is None:
        return ""
    try:
        return grp.getgrgid(request.stat.st_gid).gr_name
    except KeyError:
        return ""


def _last_modified(request: Request) -> str:
    _need_files(request)
    modified = 0.0 if request.stat is None else request.stat.st_mtime
    return time.strftime(_TIMESTAMP, time.localtime(modified))


def _the_request(request: Request) -> str:
    head = request.head
    return from_wire(f"{head.method} {head.target} {head.protocol}")


def _ipv6(request: Request) -> str:
    client = request.endpoints.client
    if ":" not in client:
        return "off"
    return "off" if ipaddress.IPv6Address(client.partition("%")[0]).ipv4_mapped else "on"


def _on(value: bool) -> str:
    return "on" if value else "off"


_VARIABLES: dict[str, Callable[[Request], str]] = {
    # The request
    "REQUEST_METHOD": lambda request: request.method,
    "REQUEST_SCHEME": scheme,
    "REQUEST_URI": uri,
    "DOCUMENT_URI": lambda request: request.env.get("DOCUMENT_URI") or uri(request),
    "REQUEST_FILENAME": _filename,
    "SCRIPT_FILENAME": _filename,
    "SCRIPT_USER": _script_user,
    "SCRIPT_GROUP": _script_group,
    "LAST_MODIFIED": _last_modified,
    "PATH_INFO": _path_info,
    "QUERY_STRING": lambda request: from_wire(request.query or ""),
    "IS_SUBREQ": lambda request: "true" if request.is_subrequest else "false",
    "THE_REQUEST": _the_request,
    "REQUEST_STATUS": lambda request: str(request.error_status or 200),
    "HANDLER": lambda request: request.handler or request.alias,
    "CONTENT_TYPE": lambda request: request.content_type,
    "REQUEST_LOG_ID": lambda _: "",  # log lines carry no ids
    "HTTP_ACCEPT": _header("accept"),
    "HTTP_COOKIE": _header("cookie"),
    "HTTP_FORWARDED": _header("forwarded"),
    "HTTP_HOST": _header("host"),
    "HTTP_PROXY_CONNECTION": _header("proxy-connection"),
    "HTTP_REFERER": _header("referer"),
    "HTTP_USER_AGENT": _header("user-agent"),
    # The client and its connection
    "REMOTE_ADDR": lambda request: request.endpoints.client,
    "REMOTE_PORT": lambda request: str(request.endpoints.client_port),
    "REMOTE_HOST": lambda request: request.endpoints.client,  # names are never looked up
    "REMOTE_USER": _environment("REMOTE_USER"),
    "REMOTE_IDENT": lambda _: "",  # identd is never asked
    "AUTH_TYPE": _environment("AUTH_TYPE"),
    "CONN_REMOTE_ADDR": lambda request: request.endpoints.client,
    "CONN_LOG_ID": lambda _: "",
    "HTTPS": lambda request: _on(request.endpoints.secure),
    "HTTP2": lambda _: "off",
    "IPV6": _ipv6,
    # The server
    "SERVER_NAME": lambda request: server_name(request)[0],
    "SERVER_PORT": lambda request: str(server_name(request)[1]),
    "SERVER_ADDR": lambda request: request.endpoints.local,
    "SERVER_ADMIN": lambda request: request.site.settings[SERVER_ADMIN] or _NO_ADMIN,
    "SERVER_PROTOCOL": lambda request: request.head.protocol,
    "SERVER_PROTOCOL_VERSION": lambda request: f"100{request.head.minor}",
    "SERVER_PROTOCOL_VERSION_MAJOR": lambda _: "1",
    "SERVER_PROTOCOL_VERSION_MINOR": lambda request: str(request.head.minor),
    "SERVER_SOFTWARE": lambda request: server_token(request.site.settings),
    "DOCUMENT_ROOT": _document_root,
    "CONTEXT_PREFIX": lambda request: request.context_prefix,
    "CONTEXT_DOCUMENT_ROOT": lambda request: request.context_root or _document_root(request),
    "API_VERSION": lambda _: API_VERSION,
    # The time
    "TIME": _now(_TIMESTAMP),
    "TIME_YEAR": _now("%Y"),
    "TIME_MON": _now("%m"),
    "TIME_DAY": _now("%d"),
    "TIME_HOUR": _now("%H"),
    "TIME_MIN": _now("%M"),
    "TIME_SEC": _now("%S"),
    "TIME_WDAY": _now("%w"),
}

_OF_RESPONSE: dict[str, Callable[[Response], str]] = {
    "REQUEST_STATUS": lambda response: str(response.status),
    "CONTENT_TYPE": lambda response: from_wire(response.header("content-type") or ""),
}

# What follows from virtual host, method, path and the served file, which the memory of answers knows.
_PURE = frozenset(
    """
    REQUEST_METHOD REQUEST_URI DOCUMENT_URI REQUEST_FILENAME SCRIPT_FILENAME SCRIPT_USER SCRIPT_GROUP LAST_MODIFIED
    PATH_INFO IS_SUBREQ REQUEST_STATUS HANDLER CONTENT_TYPE REQUEST_LOG_ID CONN_LOG_ID REMOTE_IDENT HTTP2 SERVER_ADMIN
    SERVER_PROTOCOL_VERSION_MAJOR SERVER_SOFTWARE DOCUMENT_ROOT CONTEXT_PREFIX CONTEXT_DOCUMENT_ROOT API_VERSION
    """.split()  # noqa: SIM905 - a table
)
