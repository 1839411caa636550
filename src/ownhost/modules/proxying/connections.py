"""mod_proxy's directives about connections to other servers, and those of its forward proxy, which Ownhost has not."""

from __future__ import annotations

from ownhost.config import addresses
from ownhost.config.arguments import duration, flag, ignored, integer, keyword, single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
    extend,
    outer_then_inner,
)

PROXY_TIMEOUT: Setting[float | None] = Setting("ProxyTimeout", None)  # None is Timeout
PROXY_BLOCK: Setting[tuple[str, ...]] = Setting("ProxyBlock", (), outer_then_inner)
MAX_FORWARDS = Setting("ProxyMaxForwards", -1)  # -1: no Max-Forwards is added
SOURCE_ADDRESS = Setting("ProxySourceAddress", "")  # "" is the system's choice
RECEIVE_BUFFER = Setting("ProxyReceiveBufferSize", 0)  # bytes; 0 is the system's own


def parse_requests(call: Call) -> None:
    """ProxyRequests, which must be off."""
    if flag()(call):
        raise ArgumentError(
            "On is not supported: this server answers for its own sites alone, and a proxy for all others would be one "
            "that anybody can hide behind; expected Off (for a server behind this one, ProxyPass is enough)"
        )


def parse_bad_header(call: Call) -> None:
    """What to do with a line in a response's head that is not a field: it is an error."""
    if keyword("IsError", "Ignore", "StartBody")(call) != "IsError":
        raise ArgumentError(f"{call.args[0]} is not supported: a guess about a malformed response may be wrong")


def parse_interpolate(call: Call) -> None:
    """ProxyPassInterpolateEnv, which must be off."""
    if flag()(call):
        raise ArgumentError("On is not supported: variables cannot stand in URLs here; RewriteRule [P] can do that")


def parse_buffer_size(call: Call) -> int:
    """Bytes; 0 is the system's own."""
    size = integer(0)(call)
    if 0 < size < 512:
        raise ArgumentError(f"expected at least 512 bytes, or 0 for the system's own, not {size}")
    return size


def parse_source_address(call: Call) -> str:
    """A numeric address."""
    word = single(call)
    if addresses.numeric(word) is None:
        raise ArgumentError(f"expected a numeric address of this machine, not {word!r}")
    return word


for _directive in (
    Directive(
        "ProxyTimeout",
        "mod_proxy",
        "seconds",
        SERVERS,
        "How long another server may say nothing.",
        duration(),
        setting=PROXY_TIMEOUT,
        default="as Timeout",
    ),
    Directive(
        "ProxyBlock",
        "mod_proxy",
        "*|word...",
        SERVERS,
        "Servers that are not asked: those with one of the words in their names; * is all.",
        lambda call: tuple(word.lower() for word in words(1)(call)),
        setting=PROXY_BLOCK,
        fold=extend,
    ),
    Directive(
        "ProxyMaxForwards",
        "mod_proxy",
        "number",
        SERVERS,
        "The Max-Forwards of requests that have none when they go on; -1 adds none.",
        integer(),
        setting=MAX_FORWARDS,
        default="-1",
    ),
    Directive(
        "ProxySourceAddress",
        "mod_proxy",
        "address",
        SERVERS,
        "This machine's address from which other servers are connected to.",
        parse_source_address,
        setting=SOURCE_ADDRESS,
    ),
    Directive(
        "ProxyReceiveBufferSize",
        "mod_proxy",
        "bytes",
        SERVERS,
        "The kernel's buffer for what other servers send; 0 is the system's own.",
        parse_buffer_size,
        setting=RECEIVE_BUFFER,
        default="0",
    ),
    Directive(
        "ProxyBadHeader",
        "mod_proxy",
        "IsError",
        SERVERS,
        "What happens if a line in a response's head is not a field. It is always an error.",
        parse_bad_header,
        answer=Answer.NO_EFFECT,
        default="IsError",
    ),
    Directive(
        "Proxy100Continue",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        ("Whether another server is asked before it is sent a body. It never is: the whole body is here already."),
        flag(),
        answer=Answer.NO_EFFECT,
        default="On",
    ),
    Directive(
        "ProxyRequests",
        "mod_proxy",
        "Off",
        SERVERS,
        "Off: this server is not a forward proxy, and cannot be one.",
        parse_requests,
        answer=Answer.NO_EFFECT,
        default="Off",
    ),
):
    declare(_directive)

for _name, _syntax, _where, _what in (
    ("NoProxy", "host...", SERVERS, "Servers that ProxyRemote does not apply to. There is no ProxyRemote here."),
    ("ProxyDomain", ".domain", SERVERS, "What a forward proxy appends to names without a domain. Ownhost is not one."),
    ("ProxyIOBufferSize", "bytes", SERVERS, "How much is passed on at once. Ownhost decides that itself."),
):
    declare(Directive(_name, "mod_proxy", _syntax, _where, _what, ignored(), answer=Answer.NO_EFFECT))

declare(
    Directive(
        "ProxyPassInherit",
        "mod_proxy",
        "On|Off",
        SERVERS,
        "Whether a virtual host has the main server's ProxyRemote lines, too. There are none.",
        flag(),
        answer=Answer.NO_EFFECT,
        default="On",
        note="has no effect on ProxyPass lines, in Apache either: a virtual host always has the main server's, too",
    )
)

for _name in ("ProxyRemote", "ProxyRemoteMatch"):
    declare(
        Directive(
            _name,
            "mod_proxy",
            "match URL",
            SERVERS,
            "A proxy between this server and those behind it.",
            ignored(),
            answer=Answer.UNSUPPORTED,
            note="Servers behind this one are connected to directly: name the other proxy in ProxyPass.",
        )
    )
declare(
    Directive(
        "ProxyPassInterpolateEnv",
        "mod_proxy",
        "Off",
        SECTIONS,
        ("Whether ${NAME} in a URL is a variable of the request. It never is. RewriteRule [P] can do that."),
        parse_interpolate,
        answer=Answer.NO_EFFECT,
        default="Off",
    )
)
