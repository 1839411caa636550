"""What a server behind this one is told about a request: header fields for HTTP, variables for FastCGI, SCGI and uwsgi.

Sources: RFC 9110, 7.6; Apache's ap_proxy_create_hdrbrgd, mod_proxy_fcgi, mod_proxy_scgi and
mod_proxy_uwsgi.
"""

from __future__ import annotations

import re

from ownhost.apps.environment import environment, script_name
from ownhost.http.hops import end_to_end
from ownhost.http.message import HTTPError
from ownhost.http.wire import unwire, wire
from ownhost.modules.mod_proxy import PROXY_ADD_HEADERS, PROXY_PRESERVE_HOST, PROXY_VIA
from ownhost.modules.mod_proxy_fcgi import BACKEND_TYPE, changed
from ownhost.modules.proxying.backend import Backend
from ownhost.modules.proxying.connections import MAX_FORWARDS
from ownhost.request import names
from ownhost.request.hosts import SERVER_NAME
from ownhost.request.proxied import PROXIED
from ownhost.request.request import Request

Fields = list[tuple[str, str]]
# Fields that are replaced: the body has arrived, so its length is known, and an expectation is met.
_OURS = ("host", "content-length", "expect", "max-forwards")


def request_fields(request: Request, backend: Backend) -> Fields:
    """The header fields for an HTTP server, without the body's length."""
    settings = request.settings
    host = request.head.values.get("host", "")
    preserves = settings[PROXY_PRESERVE_HOST] and host
    fields = [("Host", host if preserves else backend.authority)]
    fields += end_to_end(request.head.fields, but=_OURS)
    protocol = requested_upgrade(request, backend)
    if protocol:
        fields += (("Upgrade", protocol), ("Connection", "Upgrade"))
    elif not keeps_connection(request, backend):
        fields.append(("Connection", "close"))
    forwards = forwards_left(request)
    if forwards is not None:
        fields.append(("Max-Forwards", str(forwards)))
    if settings[PROXY_ADD_HEADERS]:
        fields = _merged(fields, "X-Forwarded-For", request.endpoints.client)
        fields = _merged(fields, "X-Forwarded-Host", host)
        fields = _merged(fields, "X-Forwarded-Server", request.site.settings[SERVER_NAME].host)
    return via(request, fields, request.head.protocol.removeprefix("HTTP/"))


def keeps_connection(request: Request, backend: Backend) -> bool:
    """Whether the connection may be used again."""
    return backend.reuses and not {"proxy-nokeepalive", "force-proxy-request-1.0"} & request.env.keys()


def accepts_interim(request: Request) -> bool:
    """Whether a client gets interim responses: the variable proxy-interim-response may suppress them."""
    return request.env.get("proxy-interim-response", "RFC").lower() == "rfc"


def forwards_left(request: Request) -> int | None:
    """The Max-Forwards to send: one less than came (RFC 9110, 7.6.2); None for none. Raises HTTPError 400.

    As in Apache, it counts for each method.
    """
    said = request.head.values.get("max-forwards")
    if said is None:
        forwards = request.site.settings[MAX_FORWARDS]
        return forwards if forwards >= 0 else None
    if not re.fullmatch("[0-9]{1,18}", said):
        raise HTTPError(400, f"Max-Forwards request header {said!r} could not be parsed", module="proxy")
    if int(said) == 0:
        raise HTTPError(400, "Max-Forwards has reached zero - proxy loop?", module="proxy")
    return int(said) - 1


def requested_upgrade(request: Request, backend: Backend) -> str:
    """The protocol that a client asks to switch to, if the backend may do that; "" otherwise (RFC 9110, 7.8)."""
    asked = request.head.values.get("upgrade", "")
    options = {option.strip().lower() for option in request.head.values.get("connection", "").split(",")}
    allowed = backend.parameters.upgrade.lower()
    return asked if "upgrade" in options and allowed in ("any", asked.lower()) else ""


def via(request: Request, fields: Fields, version: str) -> Fields:
    """Fields of a message in this version of HTTP ("1.1"), with Via according to ProxyVia (RFC 9110, 7.6.3)."""
    level = request.settings[PROXY_VIA]
    if level == "Off":
        return fields
    if level == "Block":
        return [field for field in fields if field[0].lower() != "via"]
    host, port = names.server_name(request)
    port_is_usual = port == names.DEFAULT_PORTS[names.scheme(request)]
    said = f"{version} {host}" if port_is_usual else f"{version} {host}:{port}"
    if level == "Full":
        said += f" ({names.server_token(request.site.settings)})"
    return _merged(fields, "Via", said)


def _merged(fields: Fields, name: str, value: str) -> Fields:
    """One field with all its values, and one more appended."""
    if not value:
        return fields
    there = [said for field, said in fields if field.lower() == name.lower()]
    others = [field for field in fields if field[0].lower() != name.lower()]
    return [*others, (name, ", ".join((*there, wire(value))))]


def variables(request: Request, backend: Backend, body_length: int | None) -> dict[str, str]:
    """The variables for a server that speaks FastCGI, SCGI or uwsgi.

    FastCGI servers get the URL's path as SCRIPT_FILENAME, php-fpm with Apache's prefix: then it
    finds out which part of it is the file. The others get it as the part after the program's own
    path.
    """
    found = environment(request, body_length=body_length)
    forwards = forwards_left(request)
    if forwards is not None:
        found["HTTP_MAX_FORWARDS"] = str(forwards)
    if backend.scheme == "fcgi":
        is_fpm = request.settings[BACKEND_TYPE] == "FPM"
        found["SCRIPT_FILENAME"] = (f"{PROXIED}fcgi://{backend.authority}" if is_fpm else "") + backend.path
        return changed(request, found)
    if backend.scheme == "uwsgi" and "authorization" in request.head.values:  # uwsgi hides no field, in Apache either
        found["HTTP_AUTHORIZATION"] = unwire(request.head.values["authorization"])
    found["PATH_INFO"] = backend.path
    found["SCRIPT_NAME"] = script_name(request.uri, backend.path)
    return found
