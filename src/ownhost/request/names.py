"""What a server calls itself to a client: its name and port, the Server field, the line under its pages."""

from __future__ import annotations

import platform
from html import escape

from ownhost import __version__
from ownhost.config.arguments import choice, one_word
from ownhost.config.directive import (
    ANYWHERE,
    SERVER_ONLY,
    SERVERS,
    Directive,
    Override,
    Setting,
    Settings,
    declare,
)
from ownhost.request.hosts import SERVER_NAME, USE_CANONICAL_NAME, USE_CANONICAL_PHYSICAL_PORT
from ownhost.request.request import Request

SERVER_ADMIN = Setting("ServerAdmin", "")  # "" where it is not said
SERVER_SIGNATURE = Setting("ServerSignature", "Off")  # "On", "Off" or "EMail"
SERVER_TOKENS = Setting("ServerTokens", "Full")  # "Full", "OS", "Minimal", "Minor", "Major" or "Prod"
SERVER_SOFTWARE = Setting("ServerSoftware", "")  # "": `software`

# What programs look for before they use Apache's features: rules in .htaccess files, pretty links.
COMPATIBLE = "(Apache/2.4 compatible)"
DEFAULT_PORTS = {"http": 80, "https": 443}

_TOKENS = {
    **dict.fromkeys(("Prod", "ProductOnly"), "Prod"),
    **dict.fromkeys(("Minimal", "Min"), "Minimal"),
    "Major": "Major",
    "Minor": "Minor",
    "OS": "OS",
    "Full": "Full",
}

for _directive in (
    Directive(
        "ServerAdmin",
        "core",
        "email|URL",
        SERVERS,
        "The address of the server's administrator, for error pages.",
        one_word(),
        setting=SERVER_ADMIN,
    ),
    Directive(
        "ServerSignature",
        "core",
        "On|Off|EMail",
        ANYWHERE,
        "Whether pages that the server makes end with a line about it.",
        choice({"On": "On", "Off": "Off", "EMail": "EMail"}),
        setting=SERVER_SIGNATURE,
        default="Off",
        override=Override.ALL,
    ),
    Directive(
        "ServerTokens",
        "core",
        "Full|OS|Minimal|Minor|Major|Prod",
        SERVER_ONLY,
        "How much the Server field says.",
        choice(_TOKENS),
        setting=SERVER_TOKENS,
        default="Full",
    ),
    Directive(
        "ServerSoftware",
        "ownhost",
        "text",
        SERVERS,
        "The SERVER_SOFTWARE that programs and rules see. Ownhost's own directive.",
        one_word(),
        setting=SERVER_SOFTWARE,
        default=f"the Server field and {COMPATIBLE}",
    ),
):
    declare(_directive)


def server_token(settings: Settings) -> str:
    """The value of the Server response header, as detailed as the main server's ServerTokens asks."""
    level = settings[SERVER_TOKENS]
    major, minor, *_ = __version__.split(".")
    version = {"Prod": "", "Major": f"/{major}", "Minor": f"/{major}.{minor}"}.get(level, f"/{__version__}")
    return f"Ownhost{version}" + (f" ({platform.system()})" if level in ("OS", "Full") else "")


def software(settings: Settings) -> str:
    """SERVER_SOFTWARE, as programs and rules see it."""
    return settings[SERVER_SOFTWARE] or f"{server_token(settings)} {COMPATIBLE}"


def scheme(request: Request) -> str:
    """The scheme that clients use: the connection's, or https if ServerName says that TLS ends before this server."""
    return "https" if request.endpoints.secure or request.site.settings[SERVER_NAME].scheme == "https" else "http"


def server_name(request: Request) -> tuple[str, int]:
    """The server's host and port in what it says to this client (UseCanonicalName)."""
    settings = request.settings or request.site.settings
    own = settings[SERVER_NAME]
    head, endpoints = request.head, request.endpoints
    physical = endpoints.local_port if settings[USE_CANONICAL_PHYSICAL_PORT] else 0
    default = DEFAULT_PORTS[scheme(request)]
    fallback = f"[{endpoints.local}]" if ":" in endpoints.local else endpoints.local
    if settings[USE_CANONICAL_NAME] or not head.host:
        return own.host or head.host or fallback, own.port or physical or default
    return head.host, head.host_port or physical or own.port or default


def signature(request: Request) -> str:
    """The line under pages that the server makes, as HTML; "" if ServerSignature is off."""
    settings = request.settings or request.site.settings
    level = settings[SERVER_SIGNATURE]
    if level == "Off":
        return ""
    host, port = server_name(request)
    shown = escape(host)
    if level == "EMail" and settings[SERVER_ADMIN]:
        shown = f'<a href="mailto:{escape(settings[SERVER_ADMIN])}">{shown}</a>'
    return f"<hr>\n<address>{escape(server_token(settings))} at {shown} port {port}</address>\n"
