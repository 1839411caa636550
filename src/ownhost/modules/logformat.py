"""LogFormat: a format string, compiled once, to a function from an exchange to a line.

Source: the tables in Apache's manual: mod_log_config ("Custom Log Formats"), mod_logio (%I %O %S
%^FB), mod_ssl (%x). Values from a client, or from an owner's configuration, are escaped: one
exchange is one line, whatever it contains.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import getpid

from ownhost.config.arguments import known_word
from ownhost.config.directive import ArgumentError, Source
from ownhost.config.model import VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.config.words import Word, Words
from ownhost.request.exchange import Exchange
from ownhost.request.hosts import USE_CANONICAL_NAME
from ownhost.request.request import Request
from ownhost.request.ssl_variables import of_connection
from ownhost.request.variables import of_mod_ssl

Getter = Callable[[Exchange], str]
OTHER_OWNER = VirtualHost(0, Source("", 0))  # a server without settings: for checking a format

# One directive: %, then in any order a condition, < or >, and an argument in braces, then the letter.
_ITEM = re.compile(
    r"%(?P<before>[<>]?)(?:(?P<not>!)?(?P<status>[0-9]{3}(?:,[0-9]{3})*))?(?P<between>[<>]?)"
    r"(?:\{(?P<argument>[^}]*)\})?(?P<after>[<>]?)(?P<code>\^(?:t[io]|FB)|[a-zA-Z])"
)
_LITERAL = re.compile(r'%%|\\[ntr"\\]|[^%]', re.DOTALL)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\"": '"', r"\\": "\\"}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\v": "\\v", "\f": "\\f", "\\": "\\\\", '"': '\\"'}


def escape(text: str) -> str:
    """A client's text, so that it cannot end the line or a quoted field (Apache's ap_escape_logitem).

    Text of the wire is ISO 8859-1, and its bytes are shown; text with anything beyond that is
    UTF-8.
    """
    if _is_plain(text):
        return text
    return _UNSAFE.sub(_escaped, text if text.isascii() or max(text) <= "\xff" else _utf8_bytes(text))


def escape_name(text: str) -> str:
    """The same for file names, paths and configured text, which are decoded as UTF-8."""
    return text if _is_plain(text) else _UNSAFE.sub(_escaped, _utf8_bytes(text))


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _utf8_bytes(text: str) -> str:
    """The UTF-8 bytes of a text, one character each."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "replace").decode("latin-1")


def _escaped(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\x{ord(match[0]):02x}"


def compile_format(text: str, server: VirtualHost = OTHER_OWNER) -> Getter:
    """A format, as a function that makes a line with its newline, for a virtual host's exchanges.

    Raises ArgumentError.
    """
    template: list[str] = []
    getters: list[Getter] = []
    position = 0
    while position < len(text):
        if (match := _ITEM.match(text, position)) is not None:
            template.append("%s")
            getters.append(_item(match, server))
        elif (match := _LITERAL.match(text, position)) is not None:
            template.append(_ESCAPES.get(match[0], match[0]))
        else:
            raise ArgumentError(_what_is_wrong(text, position))
        position = match.end()
    pattern, functions = "".join(template) + "\n", tuple(getters)
    return lambda exchange: pattern % tuple([get(exchange) for get in functions])


def constant_start(text: str, server: VirtualHost) -> str:
    """The fixed beginning of a virtual host's lines: text, and values that only its configuration sets (%v, %p)."""
    start = ""
    position = 0 if r"\n" not in text else len(text)  # one that makes several lines of a request: each begins with it
    while position < len(text):
        if (match := _ITEM.match(text, position)) is not None:
            constant = _constant(match, server)
            if not constant:
                break
            start += constant
        elif (match := _LITERAL.match(text, position)) is not None:
            start += _ESCAPES.get(match[0], match[0])
        else:
            break
        position = match.end()
    return start


def _constant(match: re.Match[str], server: VirtualHost) -> str:
    """The value of a format code if it is the same for every request; "" otherwise."""
    code, argument = match["code"], match["argument"] or ""
    if match["status"]:
        return ""
    if code == "v" or (code == "V" and server.settings[USE_CANONICAL_NAME]):
        return escape_name(server.settings[SERVER_NAME].host)
    port = _configured_port(server) if code == "p" and argument in ("", "canonical") else 0
    return str(port) if port else ""


def _what_is_wrong(text: str, position: int) -> str:
    """Why the text at a % is not a format code."""
    rest = text[position:]
    where = f"at column {position + 1}: {rest[:12]!r}"
    if "{" in rest and "}" not in rest:
        return f"a {{ without }} {where}"
    return f"expected a format code such as %h or %{{Referer}}i, or %% for a percent sign, {where}"


@dataclass(frozen=True, slots=True)
class Item:
    """A format code as it is written: its argument, and whether it is for the last of internal redirects (%>s)."""

    server: VirtualHost
    argument: str
    last: bool


def _item(match: re.Match[str], server: VirtualHost) -> Getter:
    """The getter of one format code, with its conditions."""
    which = match["before"] or match["between"] or match["after"]
    try:
        word = known_word(CODES, match["code"])
    except ArgumentError as error:
        raise ArgumentError(f"{error} (column {match.start() + 1}: {match[0]!r})") from None
    getter = word.means(Item(server, match["argument"] or "", which == ">"))
    if match["status"]:
        wanted, negated = frozenset(map(int, match["status"].split(","))), bool(match["not"])
        return lambda exchange: getter(exchange) if (exchange.response.status in wanted) != negated else "-"
    return getter


def _status(item: Item) -> Getter:
    return _final_status if item.last else _first_status


def _final_status(exchange: Exchange) -> str:
    return str(exchange.response.status)


def _first_status(exchange: Exchange) -> str:
    return str(exchange.first_status)


# Time. %t is the same for all requests of a second, so it is kept.

_last_second = (-1, "")


def _clf(at: float) -> str:
    global _last_second
    second = int(at)
    if _last_second[0] != second:
        _last_second = (second, time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second)))
    return _last_second[1]


_TIMES: dict[str, Callable[[float], str]] = {
    "": _clf,
    "sec": lambda at: str(int(at)),
    "msec": lambda at: str(int(at * 1000)),
    "usec": lambda at: str(int(at * 1_000_000)),
    "msec_frac": lambda at: f"{int(at * 1000) % 1000:03d}",
    "usec_frac": lambda at: f"{int(at * 1_000_000) % 1_000_000:06d}",
}


def _time(argument: str) -> Getter:
    """%{form}t, %{begin:form}t and %{end:form}t: a form of `_TIMES`, else strftime(3)'s."""
    kind, colon, rest = argument.partition(":")
    form = rest if colon and kind in ("begin", "end") else argument
    show = _TIMES.get(form) or (lambda at: time.strftime(form, time.localtime(at)))
    if colon and kind == "end":
        return lambda exchange: show(exchange.started + exchange.duration)
    return lambda exchange: show(exchange.started)


def _duration(argument: str) -> Getter:
    factor = {"": 1, "s": 1, "ms": 1000, "us": 1_000_000}.get(argument)
    if factor is None:
        raise ArgumentError(f"expected ms, us or s in %{{...}}T, not {argument!r}")
    return lambda exchange: str(int(exchange.duration * factor))


# Addresses and names.


def _address(argument: str) -> Getter:
    if argument not in ("", "c"):
        raise ArgumentError(f"expected nothing or c in %{{...}}a, not {argument!r}")
    if argument == "c":
        return lambda exchange: exchange.endpoints.peer or exchange.endpoints.client
    return lambda exchange: exchange.endpoints.client


def _configured_port(server: VirtualHost) -> int:
    return server.settings[SERVER_NAME].port or (server.addresses[0].port if server.addresses else 0)


def _port(item: Item) -> Getter:
    """%p: the port of ServerName or <VirtualHost>, else the one at which the client connected."""
    configured, argument = _configured_port(item.server), item.argument
    if argument in ("", "canonical"):
        return (lambda _: str(configured)) if configured else (lambda exchange: str(exchange.endpoints.local_port))
    if argument == "local":
        return lambda exchange: str(exchange.endpoints.local_port)
    if argument == "remote":
        return lambda exchange: str(exchange.endpoints.client_port)
    raise ArgumentError(f"expected canonical, local or remote in %{{...}}p, not {argument!r}")


def _process(argument: str) -> Getter:
    if argument not in ("", "pid", "tid", "hextid"):
        raise ArgumentError(f"expected pid, tid or hextid in %{{...}}P, not {argument!r}")
    return (lambda _: f"{getpid():x}") if argument == "hextid" else (lambda _: str(getpid()))


def _server_name(item: Item) -> Getter:
    name = escape_name(item.server.settings[SERVER_NAME].host)
    return (lambda _: name) if name else (lambda exchange: exchange.endpoints.local)


def _requested_name(item: Item) -> Getter:
    """%V: by UseCanonicalName."""
    canonical = _server_name(item)
    if item.server.settings[USE_CANONICAL_NAME]:
        return canonical
    return lambda exchange: (escape(exchange.request.head.host) if exchange.request else "") or canonical(exchange)


# The request.


def _request_header(name: str) -> Getter:
    key = name.lower()

    def get(exchange: Exchange) -> str:
        value = exchange.request.head.values.get(key) if exchange.request else None
        return "-" if value is None else escape(value)

    return get


def _response_header(name: str) -> Getter:
    key = name.lower()

    def get(exchange: Exchange) -> str:
        values = [value for field, value in exchange.response_headers if field.lower() == key]
        return escape(", ".join(values)) if values else "-"

    if key == "content-type":  # Apache shows it without parameters
        return lambda exchange: get(exchange).partition(";")[0].rstrip()
    return get


def _cookie(name: str) -> Getter:
    def get(exchange: Exchange) -> str:
        for pair in (exchange.request.head.values.get("cookie", "") if exchange.request else "").split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip() == name:
                return escape(value.strip())
        return "-"

    return get


def _from(table: str) -> Callable[[str], Getter]:
    """%{X}e and %{X}n: the request's environment and its notes."""

    def make(name: str) -> Getter:
        def get(exchange: Exchange) -> str:
            value = getattr(exchange.request, table).get(name) if exchange.request else None
            return "-" if value is None else escape_name(value)

        return get

    return make


def _asked(get: Callable[[Request], str]) -> Make:
    """A code without argument, for a value that only a parsed request has."""
    return lambda _: lambda exchange: get(exchange.request) if exchange.request is not None else "-"


def _user(request: Request) -> str:
    """%u: "" is shown as two quotes, as in Apache."""
    return "-" if request.user is None else escape(request.user) or '""'


def _connection(exchange: Exchange) -> str:
    """%X: X aborted, + kept alive, - closed."""
    return "X" if exchange.aborted else "+" if exchange.kept_alive else "-"


def _ssl_variable(name: str) -> Getter:
    """%{NAME}x: a variable of mod_ssl."""

    def get(exchange: Exchange) -> str:
        if exchange.request is None:
            return escape_name(of_connection(exchange.endpoints, name)) or "-"
        return escape_name(of_mod_ssl(exchange.request, name)) or "-"

    return get


_CRYPTOGRAPHY = {  # the old names of %{...}c
    "version": "SSL_PROTOCOL",
    "cipher": "SSL_CIPHER",
    "subjectdn": "SSL_CLIENT_S_DN",
    "clientcert": "SSL_CLIENT_S_DN",
    "issuerdn": "SSL_CLIENT_I_DN",
    "cacert": "SSL_CLIENT_I_DN",
}


def _cryptography(name: str) -> Getter:
    """%{NAME}c: the same, by old names. Unknown ones are shown as -, as errors are."""
    return _ssl_variable(_CRYPTOGRAPHY[name]) if name in _CRYPTOGRAPHY else _nothing(name)


def _variable(name: str) -> Getter:
    """%{NAME}e. The name in a handshake is the connection's, even if a response was remembered with another."""
    if name == "SSL_TLS_SNI":
        return _ssl_variable(name)
    return _from("env")(name)


def _nothing(_: str) -> Getter:
    """Values that this server never knows: trailers, a user by identd, the time of the first byte."""
    return lambda _: "-"


# The format codes. A getter is made once for each code of a format.


def _always(get: Getter) -> Make:
    """A code that has no argument."""
    return lambda _: get


def _named(make: Callable[[str], Getter]) -> Make:
    """A code that depends only on its argument."""
    return lambda item: make(item.argument)


Make = Callable[[Item], Getter]  # raises ArgumentError
_NEVER = "Always -."

CODES: Words[Make] = Words(
    "Format codes of access logs",
    "format code",
    Word(
        "a",
        "[{c}]",
        "The client's address; with c, the connection's, such as a proxy's.",
        _named(_address),
    ),
    Word("A", "", "The address to which the client connected.", _always(lambda exchange: exchange.endpoints.local)),
    Word("B", "", "The bytes of the response's body.", _always(lambda exchange: str(exchange.body_bytes))),
    Word(
        "b",
        "",
        "The bytes of the response's body, or - for none.",
        _always(lambda exchange: str(exchange.body_bytes) if exchange.body_bytes else "-"),
    ),
    Word("C", "{NAME}", "A cookie of the request.", _named(_cookie)),
    Word("c", "{NAME}", "A fact about TLS: version, cipher, subjectdn or issuerdn.", _named(_cryptography)),
    Word(
        "D", "", "How long it took, in microseconds.", _always(lambda exchange: str(int(exchange.duration * 1_000_000)))
    ),
    Word("e", "{NAME}", "An environment variable of the request.", _named(_variable)),
    Word("f", "", "The file's name.", _asked(lambda request: escape_name(request.filename) or "-")),
    Word("h", "", "The client's address.", _named(_address), differs="Clients' names are never looked up."),
    Word(
        "H",
        "",
        "The protocol, such as HTTP/1.1.",
        _asked(lambda request: request.head.protocol),
    ),
    Word("I", "", "The bytes received: head and body.", _always(lambda exchange: str(exchange.bytes_in))),
    Word("i", "{NAME}", "A field of the request.", _named(_request_header)),
    Word(
        "k",
        "",
        "How many earlier requests the connection had.",
        _always(lambda exchange: str(exchange.keep_alive_requests)),
    ),
    Word("l", "", "The client's user, by identd.", _named(_nothing), differs=_NEVER),
    Word("L", "", "The id of the error log's lines.", _named(_nothing), differs=f"{_NEVER} Lines have no ids."),
    Word("m", "", "The method.", _asked(lambda request: escape(request.head.method))),
    Word("n", "{NAME}", "A note that a module made.", _named(_from("notes"))),
    Word("O", "", "The bytes sent: head and body.", _always(lambda exchange: str(exchange.bytes_out))),
    Word("o", "{NAME}", "A field of the response.", _named(_response_header)),
    Word(
        "p",
        "[{canonical|local|remote}]",
        "The server's port, the one to which the client connected, or the client's.",
        _port,
        differs=(
            "If ServerName and <VirtualHost> have no port, it is the one to which the client connected, not 80 or 443."
        ),
    ),
    Word("P", "[{pid|tid|hextid}]", "The process's id.", _named(_process), differs="A process has one thread."),
    Word(
        "q",
        "",
        "The query with its ?, or nothing.",
        _asked(lambda request: "" if request.query is None else f"?{escape(request.query)}"),
    ),
    Word("r", "", "The request's first line.", _always(lambda exchange: escape(exchange.request_line) or "-")),
    Word("R", "", "The handler.", _asked(lambda request: escape_name(request.handler) or "-")),
    Word("s", "", "The status; %>s is the one after internal redirects.", _status),
    Word("S", "", "The sum of %I and %O.", _always(lambda exchange: str(exchange.bytes_in + exchange.bytes_out))),
    Word(
        "t",
        "[{[begin:|end:]form}]",
        ("When the request began, or ended: in strftime(3)'s format, or sec, msec, usec, msec_frac, usec_frac."),
        _named(_time),
    ),
    Word("T", "[{ms|us|s}]", "How long it took, in seconds or another unit.", _named(_duration)),
    Word("u", "", "The user who logged in.", _asked(_user)),
    Word(
        "U",
        "",
        "The path, decoded, without the query.",
        _asked(lambda request: escape_name(request.uri) or escape(request.head.path)),
    ),
    Word("v", "", "The ServerName.", _server_name),
    Word("V", "", "The requested name, or the ServerName, by UseCanonicalName.", _requested_name),
    Word("x", "{NAME}", "A variable of mod_ssl.", _named(_ssl_variable)),
    Word(
        "X",
        "",
        "The connection's state: X aborted, + kept alive, - closed.",
        _always(_connection),
    ),
    Word("^FB", "", "The time to the first byte.", _named(_nothing), differs=_NEVER),
    Word("^ti", "{NAME}", "A trailer of the request.", _named(_nothing), differs=_NEVER),
    Word("^to", "{NAME}", "A trailer of the response.", _named(_nothing), differs=_NEVER),
    form="%{arguments}{name}",
)
