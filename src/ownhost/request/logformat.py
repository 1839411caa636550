"""LogFormat: a format string, compiled once, to a function from an exchange to a line.

Source: the table in Apache's manual, mod_log_config ("Custom Log Formats"), and mod_logio for %I and %O.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from os import getpid

from ownhost.config.directive import ArgumentError
from ownhost.config.server_name import SERVER_NAME
from ownhost.request.exchange import Exchange
from ownhost.request.hosts import USE_CANONICAL_NAME

Getter = Callable[[Exchange], str]

# One directive: %, then in any order a condition, < or >, and an argument in braces, then the letter.
_ITEM = re.compile(
    r"%(?P<before>[<>]?)(?:(?P<not>!)?(?P<status>[0-9]{3}(?:,[0-9]{3})*))?(?P<between>[<>]?)"
    r"(?:\{(?P<argument>[^}]*)\})?(?P<after>[<>]?)(?P<code>\^t[io]|[%a-zA-Z])"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\v": "\\v", "\f": "\\f", "\\": "\\\\", '"': '\\"'}


def escape(text: str) -> str:
    """What a client sent, so that it cannot end the line or a quoted field (Apache's ap_escape_logitem)."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(_escaped, text.encode("utf-8", "surrogateescape").decode("latin-1") if _wide(text) else text)


def _wide(text: str) -> bool:
    return any(ord(character) > 0xFF for character in text)


def _escaped(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\x{ord(match[0]):02x}"


def compile_format(text: str) -> Getter:
    """A format as a function. Raises ArgumentError that points at what is unknown."""
    template: list[str] = []
    getters: list[Getter] = []
    position = 0
    while position < len(text):
        if text[position] == "%":
            match = _ITEM.match(text, position)
            if match is None:
                raise ArgumentError(
                    f"expected a format code at column {position + 1}: {text[position : position + 9]!r}"
                )
            if match["code"] == "%":
                template.append("%%")
            else:
                template.append("%s")
                getters.append(_item(match))
            position = match.end()
        elif text[position] == "\\" and text[position + 1 : position + 2] in (*_ESCAPES, "\\", '"'):
            template.append(_ESCAPES.get(text[position + 1], text[position + 1]))
            position += 2
        else:
            template.append(text[position].replace("%", "%%"))
            position += 1
    pattern, functions = "".join(template) + "\n", tuple(getters)
    return lambda exchange: pattern % tuple([get(exchange) for get in functions])


def _item(match: re.Match[str]) -> Getter:
    """The getter of one format code, with its conditions."""
    code, argument = match["code"], match["argument"]
    which = match["before"] or match["between"] or match["after"]
    if code in _WITH_ARGUMENT:
        getter = _WITH_ARGUMENT[code](argument or "")
    elif code == "s":
        getter = _final_status if which == ">" else _first_status
    elif code in _PLAIN:
        getter = _PLAIN[code]
    else:
        raise ArgumentError(f"there is no format code %{code} (column {match.start() + 1})")
    if match["status"]:
        wanted, negated = frozenset(map(int, match["status"].split(","))), bool(match["not"])
        return lambda exchange: getter(exchange) if (exchange.first_status in wanted) != negated else "-"
    return getter


def _final_status(exchange: Exchange) -> str:
    return str(exchange.response.status)


def _first_status(exchange: Exchange) -> str:
    return str(exchange.first_status)


# Time. %t is the same for all requests of a second, so it is kept.

_last_second = (-1, "")


def _clf_time(exchange: Exchange) -> str:
    global _last_second
    second = int(exchange.started)
    if _last_second[0] != second:
        _last_second = (second, time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second)))
    return _last_second[1]


def _time(argument: str) -> Getter:
    if not argument:
        return _clf_time
    kind, colon, rest = argument.partition(":")
    at_end = colon != "" and kind == "end"
    form = rest if colon and kind in ("begin", "end") else argument

    def moment(exchange: Exchange) -> float:
        return exchange.started + exchange.duration if at_end else exchange.started

    if not form:
        return _clf_time
    numbers: dict[str, Callable[[float], str]] = {
        "sec": lambda at: str(int(at)),
        "msec": lambda at: str(int(at * 1000)),
        "usec": lambda at: str(int(at * 1_000_000)),
        "msec_frac": lambda at: f"{int(at * 1000) % 1000:03d}",
        "usec_frac": lambda at: f"{int(at * 1_000_000) % 1_000_000:06d}",
    }
    if form in numbers:
        number = numbers[form]
        return lambda exchange: number(moment(exchange))
    return lambda exchange: time.strftime(form, time.localtime(moment(exchange)))


def _duration(argument: str) -> Getter:
    factor = {"": 1, "s": 1, "ms": 1000, "us": 1_000_000}.get(argument)
    if factor is None:
        raise ArgumentError(f"expected ms, us or s in %{{...}}T, not {argument!r}")
    return lambda exchange: str(int(exchange.duration * factor))


# Addresses and names.


def _address(argument: str) -> Getter:
    if argument not in ("", "c"):
        raise ArgumentError(f"expected nothing or c in %{{...}}a, not {argument!r}")
    return lambda exchange: exchange.endpoints.client


def _port(argument: str) -> Getter:
    getters: dict[str, Getter] = {
        "": lambda exchange: str(exchange.endpoints.local_port),
        "canonical": lambda exchange: str(exchange.endpoints.local_port),
        "local": lambda exchange: str(exchange.endpoints.local_port),
        "remote": lambda exchange: str(exchange.endpoints.client_port),
    }
    if argument not in getters:
        raise ArgumentError(f"expected canonical, local or remote in %{{...}}p, not {argument!r}")
    return getters[argument]


def _process(argument: str) -> Getter:
    if argument not in ("", "pid", "tid", "hextid"):
        raise ArgumentError(f"expected pid, tid or hextid in %{{...}}P, not {argument!r}")
    return (lambda _: f"{getpid():x}") if argument == "hextid" else (lambda _: str(getpid()))


def _server_name(exchange: Exchange) -> str:
    if exchange.request is None:
        return "-"
    name = exchange.request.virtual_host.settings[SERVER_NAME]
    return name.host if name and name.host else exchange.endpoints.local


def _requested_name(exchange: Exchange) -> str:
    """%V: by UseCanonicalName."""
    if exchange.request is None:
        return "-"
    if exchange.request.virtual_host.settings[USE_CANONICAL_NAME]:
        return _server_name(exchange)
    return escape(exchange.request.head.host) or _server_name(exchange)


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

    return get


def _cookie(name: str) -> Getter:
    def get(exchange: Exchange) -> str:
        for pair in (exchange.request.head.values.get("cookie", "") if exchange.request else "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return escape(value)
        return "-"

    return get


def _from(table: str) -> Callable[[str], Getter]:
    """%{X}e and %{X}n: the request's environment and its notes."""

    def make(name: str) -> Getter:
        def get(exchange: Exchange) -> str:
            value = getattr(exchange.request, table).get(name) if exchange.request else None
            return "-" if value is None else escape(value)

        return get

    return make


def _of_request(get: Callable[[Exchange], str]) -> Getter:
    """Something that only a parsed request has."""
    return lambda exchange: escape(get(exchange)) if exchange.request is not None else "-"


def _connection(exchange: Exchange) -> str:
    """%X: X aborted, + kept alive, - closed."""
    return "X" if exchange.aborted else "+" if exchange.kept_alive else "-"


_WITH_ARGUMENT: dict[str, Callable[[str], Getter]] = {
    "a": _address,
    "C": _cookie,
    "e": _from("env"),
    "h": lambda argument: _address(argument),
    "i": _request_header,
    "n": _from("notes"),
    "o": _response_header,
    "p": _port,
    "P": _process,
    "t": _time,
    "T": _duration,
    "^ti": lambda _: lambda _: "-",  # trailers are read and dropped
    "^to": lambda _: lambda _: "-",
}

_PLAIN: dict[str, Getter] = {
    "A": lambda exchange: exchange.endpoints.local,
    "B": lambda exchange: str(exchange.body_bytes),
    "b": lambda exchange: str(exchange.body_bytes) if exchange.body_bytes else "-",
    "D": lambda exchange: str(int(exchange.duration * 1_000_000)),
    "f": _of_request(lambda exchange: exchange.request.filename or "-"),  # type: ignore[union-attr]
    "H": _of_request(lambda exchange: exchange.request.head.protocol),  # type: ignore[union-attr]
    "I": lambda exchange: str(exchange.bytes_in),
    "k": lambda exchange: str(exchange.keep_alive_requests),
    "l": lambda _: "-",
    "L": lambda _: "-",  # the error log's lines carry no id
    "m": _of_request(lambda exchange: exchange.request.head.method),  # type: ignore[union-attr]
    "O": lambda exchange: str(exchange.bytes_out),
    "q": _of_request(lambda exchange: "" if exchange.request.query is None else f"?{exchange.request.query}"),  # type: ignore[union-attr]
    "r": lambda exchange: escape(exchange.request_line),
    "R": lambda exchange: (exchange.request.handler or "-") if exchange.request else "-",
    "S": lambda exchange: str(exchange.bytes_in + exchange.bytes_out),
    "u": lambda exchange: escape(exchange.request.env.get("REMOTE_USER", "-")) if exchange.request else "-",
    "U": _of_request(lambda exchange: exchange.request.uri or exchange.request.head.path),  # type: ignore[union-attr]
    "v": _server_name,
    "V": _requested_name,
    "X": _connection,
}
