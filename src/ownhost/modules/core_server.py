"""Directives of Apache's core about the server as a whole: its own files, its protocols, its look-ups."""

from __future__ import annotations

from ownhost.config.arguments import flag, ignored, path, single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
    extend,
)

RUNTIME_FOLDER = Setting("DefaultRuntimeDir", "")  # an absolute path; "" for the usual one
PID_FILE = Setting("PidFile", "")  # an absolute path; "" for none
PROTOCOLS: Setting[tuple[str, ...]] = Setting("Protocols", ("http/1.1",))  # the protocols served, best first
PROTOCOLS_HONOR_ORDER = Setting("ProtocolsHonorOrder", True)  # otherwise the client's order counts


def parse_lookups(call: Call) -> None:
    """Parse HostnameLookups, of which only Off is served."""
    if single(call).lower() != "off":
        raise ArgumentError(f"expected Off, not {call.args[0]!r}: looking up clients' names is not supported yet")


def parse_protocols(call: Call) -> tuple[str, ...]:
    """Parse Protocols: those that are served, in lower case and in the order given. There must be at least one."""
    asked = [name.lower() for name in words(1)(call)]
    unknown = [name for name in asked if name not in ("http/1.1", "h2", "h2c", "acme-tls/1")]
    if unknown:
        raise ArgumentError(f"expected h2 or http/1.1, not {unknown[0]!r}")
    served = tuple(name for name in asked if name in ("http/1.1", "h2"))
    if not served:
        raise ArgumentError(f"expected h2 or http/1.1 among them: {asked[0]} is not offered")
    if "h2c" in asked:
        call.notes.append("HTTP/2 without TLS (h2c) is not offered; no browser speaks it")
    return served


for _directive in (
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
        "DefaultRuntimeDir",
        "core",
        "folder",
        SERVERS,
        (
            "Where the server keeps its state folder. In it, each owner has a folder for sockets of "
            "programs and the like."
        ),
        path(),
        setting=RUNTIME_FOLDER,
        default="/run/ownhost",
    ),
    Directive(
        "Protocols",
        "core",
        "protocol...",
        SERVERS,
        "Which protocols are spoken: h2 (HTTP/2, over TLS) and http/1.1. h2c is not offered.",
        parse_protocols,
        setting=PROTOCOLS,
        fold=extend,
        default="http/1.1",
    ),
    Directive(
        "ProtocolsHonorOrder",
        "core",
        "On|Off",
        SERVERS,
        ("Whether the order of Protocols counts for a client that speaks several, or the client's own order."),
        flag(),
        setting=PROTOCOLS_HONOR_ORDER,
        default="On",
    ),
):
    declare(_directive)

_WHOLE_SERVER = ("AcceptFilter", "Mutex", "SeeRequestTail")  # Apache refuses them in a virtual host
for _name, _syntax, _text in (
    ("AcceptFilter", "protocol filter", "Which kernel filter holds back connections until they carry data."),
    ("Mutex", "mechanism...", "How Apache's processes lock each other out. Ownhost needs no locks."),
    ("SeeRequestTail", "On|Off", "Which end of a long request line the status page shows."),
    (
        "LimitInternalRecursion",
        "number [number]",
        "How many internal redirects a request may take. The limit is fixed.",
    ),
    ("FlushMaxPipelined", "number", "How many pipelined responses are held back to be sent together."),
    ("FlushMaxThreshold", "number", "How many bytes are held back to be sent together."),
):
    _where = SERVER_ONLY if _name in _WHOLE_SERVER else SERVERS
    declare(Directive(_name, "core", _syntax, _where, _text, ignored(), answer=Answer.NO_EFFECT))
