"""A program's variables for a request: CGI/1.1 (RFC 3875, section 4), with Apache's additions.

All values are text (`http.wire`): `encoded` gives the bytes to send, in which a client's bytes are
unchanged. The names are those of Apache's ap_add_common_vars and ap_add_cgi_vars.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping
from html import escape

from ownhost.http.message import HTTPError
from ownhost.http.wire import to_bytes, unwire
from ownhost.identity.daemon_environment import PATH
from ownhost.modules.core_programs import CGI_PASS_AUTH, CGI_VAR, CURRENT
from ownhost.request import names
from ownhost.request.redirects import subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance
from ownhost.request.routes import known
from ownhost.request.variables import VARIABLES

_FIELD_NAME = re.compile(r"[A-Za-z0-9-]+")
_NOT_IN_NAMES = re.compile(rb"[^A-Za-z0-9_]")
_PASSWORDS = ("authorization", "proxy-authorization")
# Content-Type and Content-Length have variables without HTTP_. Many programs would obey HTTP_PROXY,
# and clients must not set that. A body is not chunked any more when a program gets it.
_LEFT_OUT = ("content-type", "content-length", "proxy", "transfer-encoding")
# Those that have the same name in expressions.
_SAME = (
    *("SERVER_SOFTWARE", "SERVER_ADDR", "SERVER_PORT", "SERVER_ADMIN", "SERVER_PROTOCOL"),
    *("REQUEST_SCHEME", "REQUEST_METHOD"),
    *("DOCUMENT_ROOT", "CONTEXT_PREFIX", "CONTEXT_DOCUMENT_ROOT", "SCRIPT_FILENAME"),
)
MOST_NAMES = 1_024  # of fields, whose variables' names are remembered


def environment(request: Request, *, body_length: int | None) -> dict[str, str]:
    """All variables of a request. `body_length` is that of the body as the program gets it; None if there is none.

    A client that itself says that there are 0 bytes is believed, as in Apache.

    Variables from a request's phases (SetEnv, SetEnvIf) are among them, except names with another
    meaning here.
    """
    head = request.head
    variables = dict(request.env)
    variables.setdefault("PATH", PATH)
    variables.update(_fields(request))
    variables.update(known(request, "environment", _of_route))
    variables["REMOTE_ADDR"] = request.endpoints.client
    variables["REMOTE_PORT"] = str(request.endpoints.client_port)
    variables["QUERY_STRING"] = unwire(request.query or "")
    if head.major == 2:
        variables.update(HTTP2="on", H2PUSH="off")  # in mod_http2's form
    if "content-type" in head.values:
        variables["CONTENT_TYPE"] = unwire(head.values["content-type"])
    if body_length is not None:
        variables["CONTENT_LENGTH"] = str(body_length)
    elif not head.values.get("content-length", "-").strip("0"):
        variables["CONTENT_LENGTH"] = "0"
    variables["REQUEST_URI"] = _request_uri(request)
    variables.update(_user(request))
    if request.path_info and (translated := _translated(request)):
        variables["PATH_TRANSLATED"] = translated
    variables.update(_redirect(request))
    return variables


def _user(request: Request) -> dict[str, str]:
    """Who the client is, if it had to say so."""
    if request.user is not None:
        return {"REMOTE_USER": request.user, **({"AUTH_TYPE": request.auth_type} if request.auth_type else {})}
    before = request.previous.user if request.previous is not None else None
    return {} if before is None else {"REDIRECT_REMOTE_USER": before}


def _of_route(request: Request) -> dict[str, str]:
    """The variables for the request's target: the same for all requests of one route."""
    variables = {name: VARIABLES[name].get(request) for name in _SAME}
    variables["SERVER_NAME"] = escape(names.server_name(request)[0])
    variables["SERVER_SIGNATURE"] = names.signature(request).removeprefix("<hr>\n")
    variables["GATEWAY_INTERFACE"] = "CGI/1.1"
    if request.endpoints.secure:
        variables["HTTPS"] = "on"
    variables["SCRIPT_NAME"] = request.uri
    if request.path_info:
        variables["SCRIPT_NAME"] = script_name(request.uri, request.path_info)
        variables["PATH_INFO"] = request.path_info
    return variables


def encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Variables as the bytes for a protocol."""
    return {to_bytes(name): to_bytes(value) for name, value in variables.items()}


def for_execution(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Variables as the environment of a process: names have only letters, digits and _ (ap_create_environment)."""
    return {_portable(to_bytes(name)): to_bytes(value) for name, value in variables.items()}


def _portable(name: bytes) -> bytes:
    name = _NOT_IN_NAMES.sub(b"_", name)
    return b"_" + name[1:] if name[:1].isdigit() else name


def _fields(request: Request) -> dict[str, str]:
    """HTTP_ variables of header fields (RFC 3875, 4.1.18)."""
    passes_passwords = request.settings[CGI_PASS_AUTH]
    return {
        variable: unwire(value)
        for name, value in request.head.values.items()
        if (variable := _variable(name)) and (passes_passwords or name not in _PASSWORDS)
    }


@functools.lru_cache(MOST_NAMES)
def _variable(field: str) -> str:
    """The variable of a header field; "" if there is none.

    Names with anything but letters, digits and - are left out, as in Apache: X_A would look like
    X-A.
    """
    if field in _LEFT_OUT or not _FIELD_NAME.fullmatch(field):
        return ""
    return f"HTTP_{field.upper().replace('-', '_')}"


def _request_uri(request: Request) -> str:
    """The target as it was sent, with all its slashes, or the current path (CGIVar)."""
    return request.uri if request.settings[CGI_VAR] == CURRENT else unwire(request.head.target)


def script_name(uri: str, path_info: str) -> str:
    """The part of a path before its path info (RFC 3875, 4.1.13).

    Several slashes count as one there, as in Apache. If the two don't agree (rewriting may do
    that), it is the part that they don't share, up to a whole component.
    """
    place, rest = len(uri), len(path_info)
    while place and rest and uri[place - 1] == path_info[rest - 1]:
        place, rest = place - 1, rest - 1
        if path_info[rest] == "/":
            while place and uri[place - 1] == "/":
                place -= 1
    end = uri.find("/", place)
    return uri if end < 0 else uri[:end]


def _translated(request: Request) -> str:
    """The file name to which PATH_INFO, as a path of this server, leads; "" if it leads nowhere (4.1.6)."""
    inner = subrequest(request, request.path_info)
    with contextlib.suppress(HTTPError):  # the name is passed on all the same: nothing is opened
        advance(inner, Phase.WALK)
    return inner.filename + inner.path_info


def _redirect(request: Request) -> dict[str, str]:
    """The variables about the request before an internal redirect (custom-error.html)."""
    previous = request.previous
    if previous is None or request.is_subrequest:
        return {}
    told = {"REDIRECT_STATUS": str(previous.error_status or previous.status), "REDIRECT_URL": previous.uri}
    if previous.query is not None:
        told["REDIRECT_QUERY_STRING"] = unwire(previous.query)
    if previous.error_status:
        told["REDIRECT_REQUEST_METHOD"] = previous.method
    return told
