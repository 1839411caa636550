"""How much a client may send, and how long a connection may last: core's directives for the protocol.

Source of every directive here: https://httpd.apache.org/docs/2.4/mod/core.html
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ownhost.config.arguments import choice, duration, flag, integer, words
from ownhost.config.directive import (
    ANYWHERE,
    SERVER_ONLY,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    Where,
    declare,
)
from ownhost.config.methods import is_token

MAX_HEAD = 65536  # bytes of a whole head that a connection will buffer

LIMIT_REQUEST_LINE = Setting("LimitRequestLine", 8190)
LIMIT_REQUEST_FIELDS = Setting("LimitRequestFields", 100)  # 0: no limit of its own
LIMIT_REQUEST_FIELD_SIZE = Setting("LimitRequestFieldSize", 8190)
LIMIT_REQUEST_BODY = Setting("LimitRequestBody", 1 << 30)  # 0: unlimited
TIMEOUT = Setting("Timeout", 60.0)
KEEP_ALIVE = Setting("KeepAlive", True)
KEEP_ALIVE_TIMEOUT = Setting("KeepAliveTimeout", 5.0)
MAX_KEEP_ALIVE_REQUESTS = Setting("MaxKeepAliveRequests", 100)  # 0: unlimited
TRACE_ENABLE = Setting("TraceEnable", "On")  # "On", "Off" or "extended"


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """The values of HttpProtocolOptions and RegisterHttpMethod."""

    unsafe: bool = False  # lines that end with LF alone, more spaces than one, and so on
    registered_methods: bool = False  # only the methods that are registered
    allow_0_9: bool = True  # HTTP/0.9
    methods: frozenset[str] = frozenset()  # registered in addition to the known ones


Words = dict[str, bool]  # fields of ProtocolOptions that the configuration sets
HTTP_PROTOCOL_OPTIONS: Setting[Words] = Setting("HttpProtocolOptions", {}, lambda outer, inner: {**outer, **inner})
REGISTERED_METHODS: Setting[frozenset[str]] = Setting(
    "RegisterHttpMethod", frozenset(), lambda outer, inner: outer | inner
)


@dataclass(frozen=True)
class HeadLimits:
    """Limits on a request head: bytes of a line, fields, bytes of a field, bytes of the whole head; and its form."""

    line: int
    fields: int
    field_size: int
    total: int
    options: ProtocolOptions = ProtocolOptions()

    @functools.cached_property
    def harmless(self) -> int:
        """A head of no more bytes than this is within all limits, as a field takes at least four bytes."""
        return min(self.line, self.field_size, self.total, 4 * self.fields if self.fields else self.total)


def head_limits(settings: Settings) -> HeadLimits:
    """The limits on request heads from a server's merged settings. `fields` 0 is no limit."""
    line = settings[LIMIT_REQUEST_LINE]
    fields = settings[LIMIT_REQUEST_FIELDS]
    field_size = settings[LIMIT_REQUEST_FIELD_SIZE]
    needed = line + 2 + fields * (field_size + 2) + 2 if fields else MAX_HEAD
    options = ProtocolOptions(**settings[HTTP_PROTOCOL_OPTIONS], methods=settings[REGISTERED_METHODS])
    return HeadLimits(line, fields, field_size, min(needed, MAX_HEAD), options)


_WORDS: dict[str, tuple[str, bool]] = {
    "strict": ("unsafe", False),
    "unsafe": ("unsafe", True),
    "registeredmethods": ("registered_methods", True),
    "lenientmethods": ("registered_methods", False),
    "allow0.9": ("allow_0_9", True),
    "require1.0": ("allow_0_9", False),
}
_OFFERED = "Strict, Unsafe, RegisteredMethods, LenientMethods, Allow0.9 or Require1.0"


def _protocol_options(call: Call) -> Words:
    if not call.args:
        raise ArgumentError(f"expected {_OFFERED}, got none")
    said: Words = {}
    for word in call.args:
        if word.lower() not in _WORDS:
            raise ArgumentError(f"expected {_OFFERED}, not {word!r}")
        field, value = _WORDS[word.lower()]
        said[field] = value
    return said


def _methods(call: Call) -> frozenset[str]:
    names = words(1)(call)
    for name in names:
        if not is_token(name):
            raise ArgumentError(f"expected the name of a method, not {name!r}")
    return frozenset(names)


declare(
    Directive(
        name="LimitRequestLine",
        module="core",
        syntax="bytes",
        where=SERVERS,
        help="The longest request line. A longer one gets 414.",
        parse=integer(0, MAX_HEAD),
        setting=LIMIT_REQUEST_LINE,
        default="8190",
    )
)
declare(
    Directive(
        name="LimitRequestFields",
        module="core",
        syntax="number",
        where=SERVERS,
        help="The largest number of header fields of a request; 0 is no limit. More get 431.",
        parse=integer(0, 32767),
        setting=LIMIT_REQUEST_FIELDS,
        default="100",
    )
)
declare(
    Directive(
        name="LimitRequestFieldSize",
        module="core",
        syntax="bytes",
        where=SERVERS,
        help="The longest header field of a request, name and value. A longer one gets 431.",
        parse=integer(0, MAX_HEAD),
        setting=LIMIT_REQUEST_FIELD_SIZE,
        default="8190",
    )
)
declare(
    Directive(
        name="LimitRequestBody",
        module="core",
        syntax="bytes",
        where=ANYWHERE,
        override=Override.ALL,
        help="The largest request body; 0 is no limit. A larger one gets 413.",
        parse=integer(0),
        setting=LIMIT_REQUEST_BODY,
        default="1073741824",
    )
)
declare(
    Directive(
        name="Timeout",
        module="core",
        syntax="time",
        where=SERVERS,
        help=("How long the server waits for the client to send or receive data before the connection ends."),
        parse=duration(),
        setting=TIMEOUT,
        default="60",
    )
)
declare(
    Directive(
        name="KeepAlive",
        module="core",
        syntax="On|Off",
        where=SERVERS,
        help="Whether a connection may carry more than one request.",
        parse=flag(),
        setting=KEEP_ALIVE,
        default="On",
    )
)
declare(
    Directive(
        name="KeepAliveTimeout",
        module="core",
        syntax="time",
        where=SERVERS,
        help="How long a connection stays open for its next request; 100ms is a tenth of a second.",
        parse=duration(),
        setting=KEEP_ALIVE_TIMEOUT,
        default="5",
    )
)
declare(
    Directive(
        name="MaxKeepAliveRequests",
        module="core",
        syntax="number",
        where=SERVERS,
        help="How many requests one connection may carry; 0 is no limit.",
        parse=integer(0),
        setting=MAX_KEEP_ALIVE_REQUESTS,
        default="100",
    )
)
declare(
    Directive(
        name="TraceEnable",
        module="core",
        syntax="On|Off|extended",
        where=SERVERS,
        help="Whether TRACE is answered. With extended, it may have a body.",
        parse=choice({"On": "On", "Off": "Off", "extended": "extended"}),
        setting=TRACE_ENABLE,
        default="On",
    )
)
declare(
    Directive(
        name="HttpProtocolOptions",
        module="core",
        syntax="[Strict|Unsafe] [RegisteredMethods|LenientMethods] [Allow0.9|Require1.0]",
        where=Where.SERVER | Where.VIRTUAL_HOST,
        help=("How strictly requests are parsed, whether methods must be known, and whether HTTP/0.9 is answered."),
        parse=_protocol_options,
        setting=HTTP_PROTOCOL_OPTIONS,
        fold=lambda before, said: {**(before or {}), **said},
        default="Strict LenientMethods Allow0.9",
    )
)
declare(
    Directive(
        name="RegisterHttpMethod",
        module="core",
        syntax="method [method] ...",
        where=SERVER_ONLY,
        help="Methods that HttpProtocolOptions RegisteredMethods allows in addition to the known ones.",
        parse=_methods,
        setting=REGISTERED_METHODS,
        fold=lambda before, names: (before or frozenset()) | names,
    )
)
