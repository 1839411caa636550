r"""ErrorLogFormat: a format string, compiled once, that turns entries into lines of the error log.

Source: Apache's manual, core ("ErrorLogFormat"), and the behaviour of Apache 2.4. A space begins a
field, and is part of it; "% " begins one without a space; "\ " is a space that begins none. If an
item of a field has no value, the field is left out, except for the message in it, which is never
lost.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.arguments import known_word
from ownhost.config.directive import ArgumentError
from ownhost.config.model import VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.config.words import Word, Words
from ownhost.request.hosts import USE_CANONICAL_NAME
from ownhost.request.request import Level, Request

# Apache's default format, without the thread id (processes have one thread) and error numbers.
DEFAULT = r"[%{u}t] [%-m:%l] [pid %P] [client\ %a] %M% ,\ referer:\ %{Referer}i"


@dataclass(slots=True)
class Entry:
    """One message and what is known about it. `client` is "" or ADDRESS:PORT; `now` is seconds since the epoch.

    If another process made it, `values` are its `Format.values`, and there is no request.
    """

    now: float
    level: Level
    module: str
    pid: int
    server: VirtualHost
    message: str
    client: str = ""
    request: Request | None = None
    values: tuple[str, ...] | None = None


Getter = Callable[[Entry], str]  # "" if there is no value


@dataclass(frozen=True, slots=True)
class _Part:
    """A format code or a literal.

    Messages more severe than `level` don't show it; `instead` stands for a missing value.
    """

    get: Getter
    is_message: bool = False
    level: int = 0
    instead: str = ""


_TOKEN = re.compile(
    r"(?P<separator>%[ ]|[ ])|(?P<literal>%%|\\.|[^%\\ ]|\\$)"
    r"|%(?P<flags>[-+0-9]*)(?:\{(?P<argument>[^}]*)\})?(?P<more>[-+0-9]*)(?P<code>[A-Za-z])",
    re.DOTALL,
)
_LITERALS = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\ ": " ", r"\\": "\\", "%%": "%", r"\"": '"'}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\v": "\\v", "\f": "\\f", "\\": "\\\\"}


def escape(text: str) -> str:
    """Text that cannot end its line or control a terminal (Apache's ap_escape_errorlog_item); letters stay readable."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join([c if c.isprintable() and c != "\\" else _SHORT.get(c) or _as_bytes(c) for c in text])


def _as_bytes(character: str) -> str:
    handler = "surrogateescape" if "\udc80" <= character <= "\udcff" else "replace"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", handler))


class Format:
    """A format: `line` turns entries into lines. Raises ArgumentError that names the column."""

    def __init__(self, text: str) -> None:
        self._of_requests: list[Getter] = []  # what only an entry's request knows, in the format's order
        self._fields = self._parsed(text)

    def line(self, entry: Entry) -> str:
        """A line, with its newline."""
        return "".join([_show(parts, entry) for parts in self._fields]) + "\n"

    def values(self, entry: Entry) -> tuple[str, ...]:
        """The parts of the line that come from the entry's request, escaped."""
        return tuple([get(entry) for get in self._of_requests])

    def _parsed(self, text: str) -> list[list[_Part]]:
        fields: list[list[_Part]] = [[]]
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ArgumentError(
                    f"expected a format code such as %t, %M or %{{Referer}}i at column {position + 1}: "
                    f"{text[position : position + 12]!r}"
                )
            if match["separator"]:
                fields.append([])
            if match["code"]:
                fields[-1].append(self._code(match))
            elif match[0] != "% ":
                fields[-1].append(_literal(_LITERALS.get(match[0], match[0])))
            position = match.end()
        if not any(part.is_message for parts in fields for part in parts):
            raise ArgumentError("expected %M, the message, in the format")
        return fields

    def _code(self, match: re.Match[str]) -> _Part:
        code, argument = match["code"], match["argument"] or ""
        flags = match["flags"] + match["more"]
        if "+" in flags:
            raise ArgumentError(f"%+ is for the formats of connections and requests, not for {match[0]!r}")
        try:
            word = known_word(CODES, code)
        except ArgumentError as error:
            raise ArgumentError(f"{error} (column {match.start() + 1}: {match[0]!r})") from None
        getter = word.means(self, argument)
        level = re.search("[0-9]+", flags)
        return _Part(getter, code == "M", int(level[0]) if level else 0, "-" if "-" in flags or code == "M" else "")

    def of_request(self, get: Getter) -> Getter:
        """The same, for an entry that has a request or the values of one."""
        place = len(self._of_requests)
        self._of_requests.append(get)

        def value(entry: Entry) -> str:
            if entry.values is None:
                return get(entry)
            return entry.values[place] if place < len(entry.values) else ""

        return value


def compile_format(text: str) -> Callable[[Entry], str]:
    """A format as a function that makes a line with its newline. Raises ArgumentError that names the column."""
    return Format(text).line


def _show(parts: list[_Part], entry: Entry) -> str:
    """One field; if a value is missing, only what is never left out of it."""
    shown = [(part.get(entry) if entry.level >= part.level else "") or part.instead for part in parts]
    if all(shown):
        return "".join(shown)
    return "".join(text for part, text in zip(parts, shown, strict=True) if part.is_message)


def _literal(text: str) -> _Part:
    return _Part(lambda _: text)


def _at(_: Format, argument: str) -> Getter:
    """%t, with c (compact, as ISO 8601), u (with microseconds) and z (with the time zone) in braces."""
    if set(argument) - set("cuz"):
        raise ArgumentError(f"expected c, u or z in %{{...}}t, not {argument!r}")

    def get(entry: Entry) -> str:
        local = time.localtime(entry.now)
        fraction = f".{int(entry.now % 1 * 1_000_000):06d}" if "u" in argument else ""
        zone = time.strftime(" %z", local) if "z" in argument else ""
        if "c" in argument:
            return time.strftime("%Y-%m-%d %H:%M:%S", local) + fraction + zone
        return time.strftime("%a %b %d %H:%M:%S", local) + fraction + f" {local.tm_year}" + zone

    return get


def _of_request(get: Callable[[Request], str | None]) -> Getter:
    """A value that only a message about a request has."""
    return lambda entry: escape(get(entry.request) or "") if entry.request is not None else ""


def _server_name(entry: Entry) -> str:
    return escape(entry.server.settings[SERVER_NAME].host)


def _requested_name(format_: Format, _: str) -> Getter:
    """%V: by UseCanonicalName."""
    requested = format_.of_request(_of_request(lambda request: request.head.host))

    def get(entry: Entry) -> str:
        return (not entry.server.settings[USE_CANONICAL_NAME] and requested(entry)) or _server_name(entry)

    return get


def _client(format_: Format, argument: str) -> Getter:
    """%a: the client for which a front proxy speaks, if there is one; else, and for %{c}a, the connection's."""
    if argument == "c":
        return lambda entry: entry.client
    announced = format_.of_request(_of_request(_announced))
    return lambda entry: announced(entry) or entry.client


def _announced(request: Request) -> str:
    ends = request.endpoints
    return f"{ends.client}:{ends.client_port}" if ends.peer else ""


# The format codes. What only a request knows is made by the process that has the request: `Format.of_request`.


def _always(get: Getter) -> Make:
    """A code that has no argument."""
    return lambda _format, _argument: get


def _asked(get: Callable[[Request, str], str | None]) -> Make:
    """Something that a request has under a name, or has anyway."""
    return lambda format_, name: format_.of_request(_of_request(lambda request: get(request, name)))


Make = Callable[[Format, str], Getter]  # with what stands in braces; raises ArgumentError
_nothing = _always(lambda _: "")
_NEVER = "Always empty."

CODES: Words[Make] = Words(
    "Format codes of error logs",
    "format code",
    Word("a", "[{c}]", "The client's address and port; with c, those of the connection.", _client),
    Word(
        "A",
        "",
        "The address and port to which the client connected.",
        _asked(lambda request, _: f"{request.endpoints.local}:{request.endpoints.local_port}"),
    ),
    Word("e", "{NAME}", "An environment variable of the request.", _asked(lambda request, name: request.env.get(name))),
    Word("E", "", "The system's number of the error.", _nothing, differs=_NEVER),
    Word("F", "", "The line of the server's source.", _nothing, differs=_NEVER),
    Word("i", "{NAME}", "A field of the request.", _asked(lambda request, name: request.head.values.get(name.lower()))),
    Word("k", "", "How many requests the connection had.", _nothing, differs=_NEVER),
    Word("l", "", "The level.", _always(lambda entry: entry.level.name.lower())),
    Word("L", "", "The id of the request or connection.", _nothing, differs=_NEVER),
    Word("m", "", "The module.", _always(lambda entry: entry.module)),
    Word("M", "", "The message.", _always(lambda entry: escape(entry.message))),
    Word("n", "{NAME}", "A note that a module made.", _asked(lambda request, name: request.notes.get(name))),
    Word("P", "", "The process's id.", _always(lambda entry: str(entry.pid))),
    Word(
        "t",
        "[{[c][u][z]}]",
        "The time: c for ISO 8601, u for microseconds, z for the zone.",
        _at,
    ),
    Word(
        "T",
        "",
        "The thread's id.",
        _always(lambda entry: str(threading.get_native_id() if entry.values is None else entry.pid)),
        differs="A process has one thread.",
    ),
    Word("v", "", "The ServerName.", _always(_server_name)),
    Word("V", "", "The requested name, or the ServerName, by UseCanonicalName.", _requested_name),
    form="%{arguments}{name}",
)
