"""Server variables: the values of %{NAME} in expressions and in rewriting.

Sources: the tables of expr.html and of mod_rewrite's RewriteCond. Names are as there, in capitals.
Values are text (`http.wire`).
"""

from __future__ import annotations

import grp
import ipaddress
import pwd
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ownhost.config.ssl_names import canonical
from ownhost.http.wire import unwire
from ownhost.request import ssl_variables
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.names import SERVER_ADMIN, scheme, server_name, software
from ownhost.request.request import Request

Get = Callable[[Request], str]
API_VERSION = "20120211"  # Apache 2.4's: its module interface, for configurations that ask
NO_ADMIN = "[no address given]"  # Apache's default without a ServerAdmin
_TIMESTAMP = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Variable:
    """The getter of a variable. `pure` ones follow from virtual host, path and file system alone.

    `header` is the field with its value: responses that depend on it say so (Vary).
    """

    get: Get
    pure: bool = False
    header: str = ""


def lookup(request: Request, name: str) -> str | None:
    """The value of a variable, "" if it has none; None if there is no such variable."""
    variable = VARIABLES.get(name)
    if variable is None:
        return ssl_variables.lookup(request, name) if name.startswith("SSL_") else None
    if not variable.pure:
        request.pure = False
    if variable.header:
        vary(request, variable.header)
    return variable.get(request)


def of_mod_ssl(request: Request, name: str) -> str:
    """mod_ssl's value for a name, in %{NAME}x, %{NAME}s and %{SSL:NAME}: its own variables, and many others.

    "" if there is no value.
    """
    kind, colon, rest = name.partition(":")
    if kind.upper() == "ENV" and colon:
        request.pure = False
        note = request.notes.get(rest)
        return request.env.get(rest, "") if note is None else note
    name = canonical(name)
    return "" if name in _NOT_OF_MOD_SSL else lookup(request, name) or ""


def header(request: Request, name: str, *, varies: bool = True) -> str:
    """A field of the request, by its name in any case; "" if there is none."""
    request.pure = False
    if varies:
        vary(request, name)
    return unwire(request.head.values.get(name.lower(), ""))


def named(table: Mapping[str, str], name: str) -> str | None:
    """A value by its name in any case, as in Apache's tables of variables; None if there is none."""
    if name in table:
        return table[name]
    wanted = name.lower()
    return next((value for key, value in table.items() if key.lower() == wanted), None)


def vary(request: Request, name: str) -> None:
    """Make the response say that it depends on a field of the request. Host needs no mention."""
    if name.lower() != "host" and name.lower() not in map(str.lower, request.vary):
        request.vary.append(name)


def owner(request: Request) -> str:
    """SCRIPT_USER: the name of the file's owner, "" without an account."""
    if request.stat is None:
        return ""
    try:
        return pwd.getpwuid(request.stat.st_uid).pw_name
    except KeyError:
        return ""


def group(request: Request) -> str:
    """SCRIPT_GROUP: the name of the file's group, "" if it has none."""
    if request.stat is None:
        return ""
    try:
        return grp.getgrgid(request.stat.st_gid).gr_name
    except KeyError:
        return ""


def modified(request: Request) -> str:
    """LAST_MODIFIED of the file. Apache knows it only when the file is about to be sent, and says 1970 before."""
    return time.strftime(_TIMESTAMP, time.localtime(request.stat.st_mtime if request.stat else 0))


def _is_ipv6(request: Request) -> str:
    client = request.endpoints.peer or request.endpoints.client
    mapped = ":" not in client or ipaddress.IPv6Address(client.partition("%")[0]).ipv4_mapped
    return "off" if mapped else "on"


def _server_name(request: Request) -> str:
    return server_name(request)[0]


def _time(form: str) -> Get:
    return lambda _: time.strftime(form, time.localtime())


def _header(name: str) -> Variable:
    key = name.lower()
    return Variable(lambda request: unwire(request.head.values.get(key, "")), header=name)


VARIABLES: dict[str, Variable] = {
    "HTTP_ACCEPT": _header("Accept"),
    "HTTP_COOKIE": _header("Cookie"),
    "HTTP_FORWARDED": _header("Forwarded"),
    "HTTP_HOST": Variable(
        lambda request: unwire(request.head.values.get("host", ""))
    ),  # caches distinguish hosts anyway
    "HTTP_PROXY_CONNECTION": _header("Proxy-Connection"),
    "HTTP_REFERER": _header("Referer"),
    "HTTP_USER_AGENT": _header("User-Agent"),
    "AUTH_TYPE": Variable(lambda request: request.auth_type),
    "REMOTE_USER": Variable(lambda request: request.user or ""),
    "REMOTE_IDENT": Variable(lambda _: ""),  # identd is never asked
    "REMOTE_ADDR": Variable(lambda request: request.endpoints.client),
    "CONN_REMOTE_ADDR": Variable(lambda request: request.endpoints.peer or request.endpoints.client),
    "REMOTE_HOST": Variable(lambda request: request.endpoints.client),  # names are never looked up
    "REMOTE_PORT": Variable(lambda request: str(request.endpoints.client_port)),
    "SERVER_ADDR": Variable(lambda request: request.endpoints.local),
    "SERVER_NAME": Variable(_server_name),
    "SERVER_PORT": Variable(lambda request: str(server_name(request)[1])),
    "HTTPS": Variable(lambda request: "on" if request.endpoints.secure else "off"),
    "HTTP2": Variable(lambda request: "on" if request.head.major == 2 else "off"),
    "IPV6": Variable(_is_ipv6),
    "REQUEST_METHOD": Variable(lambda request: request.method),
    "REQUEST_SCHEME": Variable(scheme),
    "QUERY_STRING": Variable(lambda request: unwire(request.query or "")),
    "SERVER_PROTOCOL": Variable(lambda request: request.head.protocol),
    "SERVER_PROTOCOL_VERSION": Variable(lambda request: f"{request.head.major}00{request.head.minor}"),
    "SERVER_PROTOCOL_VERSION_MAJOR": Variable(lambda request: str(request.head.major)),
    "SERVER_PROTOCOL_VERSION_MINOR": Variable(lambda request: str(request.head.minor)),
    "THE_REQUEST": Variable(lambda request: unwire(f"{request.method} {request.head.target} {request.head.protocol}")),
    "REQUEST_STATUS": Variable(lambda request: str(request.status)),
    "REQUEST_LOG_ID": Variable(lambda _: ""),  # the error log has no ids
    "CONN_LOG_ID": Variable(lambda _: ""),
    "REQUEST_URI": Variable(lambda request: request.uri, pure=True),
    "DOCUMENT_URI": Variable(lambda request: request.uri, pure=True),
    "REQUEST_FILENAME": Variable(lambda request: request.filename, pure=True),
    "SCRIPT_FILENAME": Variable(lambda request: request.filename, pure=True),
    "PATH_INFO": Variable(lambda request: request.path_info, pure=True),
    "SCRIPT_USER": Variable(owner),
    "SCRIPT_GROUP": Variable(group),
    "LAST_MODIFIED": Variable(modified, pure=True),
    "DOCUMENT_ROOT": Variable(lambda request: request.document_root or request.site.settings[DOCUMENT_ROOT], pure=True),
    "CONTEXT_PREFIX": Variable(lambda request: request.context_prefix, pure=True),
    "CONTEXT_DOCUMENT_ROOT": Variable(
        lambda request: request.context_document_root or request.document_root or request.site.settings[DOCUMENT_ROOT],
        pure=True,
    ),
    "IS_SUBREQ": Variable(lambda request: "true" if request.is_subrequest else "false", pure=True),
    "HANDLER": Variable(lambda request: request.handler or request.alias, pure=True),
    "CONTENT_TYPE": Variable(lambda request: request.content_type, pure=True),
    "SERVER_ADMIN": Variable(lambda request: request.site.settings[SERVER_ADMIN] or NO_ADMIN, pure=True),
    "SERVER_SOFTWARE": Variable(lambda request: software(request.site.settings), pure=True),
    "API_VERSION": Variable(lambda _: API_VERSION, pure=True),
    "TIME": Variable(_time(_TIMESTAMP)),
    "TIME_YEAR": Variable(_time("%Y")),
    "TIME_MON": Variable(_time("%m")),
    "TIME_DAY": Variable(_time("%d")),
    "TIME_HOUR": Variable(_time("%H")),
    "TIME_MIN": Variable(_time("%M")),
    "TIME_SEC": Variable(_time("%S")),
    "TIME_WDAY": Variable(_time("%w")),
}

# Those that mod_ssl does not know.
_NOT_OF_MOD_SSL = frozenset(
    """
    CONN_LOG_ID CONN_REMOTE_ADDR CONTENT_TYPE CONTEXT_DOCUMENT_ROOT CONTEXT_PREFIX DOCUMENT_URI HANDLER HTTP2 IPV6
    LAST_MODIFIED REMOTE_PORT REQUEST_LOG_ID REQUEST_STATUS SCRIPT_GROUP SCRIPT_USER SERVER_ADDR
    SERVER_PROTOCOL_VERSION SERVER_PROTOCOL_VERSION_MAJOR SERVER_PROTOCOL_VERSION_MINOR
    """.split()  # noqa: SIM905 - a table
)
