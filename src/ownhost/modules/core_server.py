"""Directives of Apache's core about the server as a whole: what it calls itself, and where its own files are."""

from __future__ import annotations

import platform

from ownhost import __version__
from ownhost.config.arguments import choice, ignored, one_word, path, single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Setting,
    Settings,
    declare,
)

SERVER_ADMIN = Setting("ServerAdmin", "")  # "" where it is not said
SERVER_SIGNATURE = Setting("ServerSignature", "Off")  # "On", "Off" or "EMail"
SERVER_TOKENS = Setting("ServerTokens", "Full")  # "Full", "OS", "Minimal", "Minor", "Major" or "Prod"
PID_FILE = Setting("PidFile", "")  # an absolute path; "" for none
PROTOCOLS: Setting[tuple[str, ...]] = Setting("Protocols", ("http/1.1",))

_TOKENS = {
    **dict.fromkeys(("Prod", "ProductOnly"), "Prod"),
    **dict.fromkeys(("Minimal", "Min"), "Minimal"),
    "Major": "Major",
    "Minor": "Minor",
    "OS": "OS",
    "Full": "Full",
}


def server_token(settings: Settings) -> str:
    """The value of the Server response header, as detailed as the main server's ServerTokens asks."""
    level = settings[SERVER_TOKENS]
    major, minor, *_ = __version__.split(".")
    version = {"Prod": "", "Major": f"/{major}", "Minor": f"/{major}.{minor}"}.get(level, f"/{__version__}")
    return f"Ownhost{version}" + (f" ({platform.system()})" if level in ("OS", "Full") else "")


def parse_lookups(call: Call) -> None:
    """Parse HostnameLookups, of which only Off is served."""
    if single(call).lower() != "off":
        raise ArgumentError(f"expected Off, not {call.args[0]!r}: looking up clients' names is not supported yet")


def parse_protocols(call: Call) -> tuple[str, ...]:
    """Parse Protocols: those that are served, in lower case. At least one must be."""
    asked = [name.lower() for name in words(1)(call)]
    unknown = [name for name in asked if name not in ("http/1.1", "h2", "h2c", "acme-tls/1")]
    if unknown:
        raise ArgumentError(f"expected http/1.1 or h2, not {unknown[0]!r}")
    if "http/1.1" not in asked:
        raise ArgumentError("expected http/1.1 among them: HTTP/2 is not served yet")
    return ("http/1.1",)


for _directive in (
    Directive(
        "ServerAdmin",
        "core",
        "email|URL",
        SERVERS,
        "The address of whoever keeps the server, for error pages.",
        one_word(),
        setting=SERVER_ADMIN,
    ),
    Directive(
        "ServerSignature",
        "core",
        "On|Off|EMail",
        SECTIONS,
        "Whether pages that the server makes end with a line about it.",
        choice({"On": "On", "Off": "Off", "EMail": "EMail"}),
        setting=SERVER_SIGNATURE,
        default="Off",
    ),
    Directive(
        "ServerTokens",
        "core",
        "Full|OS|Minimal|Minor|Major|Prod",
        SERVER_ONLY,
        "How much the Server header tells.",
        choice(_TOKENS),
        setting=SERVER_TOKENS,
        default="Full",
    ),
    Directive(
        "PidFile",
        "core",
        "file",
        SERVER_ONLY,
        "Where the supervisor writes its process id.",
        path(),
        setting=PID_FILE,
    ),
    Directive(
        "HostnameLookups",
        "core",
        "Off",
        SECTIONS,
        "Whether clients' addresses are looked up as names. Only Off is supported.",
        parse_lookups,
        default="Off",
    ),
    Directive(
        "Protocols",
        "core",
        "protocol...",
        SERVERS,
        "Which protocols are spoken. http/1.1 is; h2 and h2c are left out until they are.",
        parse_protocols,
        setting=PROTOCOLS,
        default="http/1.1",
        note="HTTP/2 is not served yet, HTTP/1.1 is",
    ),
):
    declare(_directive)

for _name, _syntax, _text in (
    ("ProtocolsHonorOrder", "On|Off", "Whether the order of Protocols counts. There is one to choose from."),
    ("DefaultRuntimeDir", "folder", "Where Apache keeps its own runtime files. Ownhost has none."),
    ("AcceptFilter", "protocol filter", "Which kernel filter holds connections until they carry data."),
    ("Mutex", "mechanism...", "How Apache's processes lock each other out. There is nothing to lock."),
    ("SeeRequestTail", "On|Off", "Which end of a long request line the status page shows."),
    (
        "LimitInternalRecursion",
        "number [number]",
        "How many internal redirects a request may take. The limit is fixed.",
    ),
    ("FlushMaxPipelined", "number", "How many pipelined responses are held back to be sent together."),
    ("FlushMaxThreshold", "number", "How many bytes are held back to be sent together."),
):
    declare(Directive(_name, "core", _syntax, SERVERS, _text, ignored(), answer=Answer.NO_EFFECT))
