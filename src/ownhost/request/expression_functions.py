"""The functions of expressions (expr.html, "Functions"): from a text, and a request, to a text."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ownhost.config.expression_words import FUNCTIONS, Function
from ownhost.config.words import Word
from ownhost.http.message import Response
from ownhost.http.wire import from_bytes, to_bytes, unwire
from ownhost.request import variables
from ownhost.request.request import Request

LARGEST_FILE = 10_485_760  # bytes that file() reads


class Failed(Exception):
    """An expression has no value: a file in it cannot be read."""


@dataclass(slots=True)
class Evaluation:
    """One evaluation: its request, and the result of the last regular expression with groups.

    `sent` says that the response was sent: its head is complete, Content-Type included.
    """

    request: Request
    response: Response | None = None
    sent: bool = False
    groups: tuple[str, ...] = ()


def look(request: Request) -> None:
    """Note that an expression looks at a file: a remembered response would not look again."""
    request.pure = False


def _resp(context: Evaluation, name: str) -> str:
    """resp(): a field of the response. As in Apache, Content-Type is set last, when the response is sent."""
    if context.response is None or (name.lower() == "content-type" and not context.sent):
        return ""
    return unwire(context.response.header(name.lower()) or "")


def _reqenv(context: Evaluation, name: str) -> str:
    """reqenv(): a variable of the request."""
    context.request.pure = False
    return variables.named(context.request.env, name) or ""


def _note(context: Evaluation, name: str) -> str:
    """note(): a note that a module made."""
    context.request.pure = False
    return variables.named(context.request.notes, name) or ""


def _env(context: Evaluation, name: str, server_value: str) -> str:
    """env(): the first of note, reqenv and osenv that has the name."""
    context.request.pure = False
    for table in (context.request.notes, context.request.env):
        value = variables.named(table, name)
        if value is not None:
            return value
    return server_value


def escape(text: str) -> str:
    """escape(): %xx for what a path cannot contain, in lower case."""
    quoted = quote_from_bytes(to_bytes(text), safe="$&+,/:;=@!*'()")
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)


def unescape(text: str) -> str:
    """unescape(): %xx decoded, except %2f; "" if an escape is bad, or gives NUL."""
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        return ""
    return from_bytes(unquote_to_bytes(to_bytes(re.sub("%(?=2[Ff])", "%25", text))))


def unbase64(text: str) -> str:
    """unbase64(): the part of a text that is base64, decoded, up to a NUL, where C ends texts."""
    digits = re.match("[A-Za-z0-9+/]*", text)[0]  # type: ignore[index]
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return from_bytes(base64.b64decode(digits + "=" * (-len(digits) % 4)).partition(b"\0")[0])


def ldap(text: str) -> str:
    """ldap(): escaped for names and filters of LDAP (RFC 4514, RFC 4515)."""
    data = to_bytes(text).decode("latin-1")
    return re.sub(r'[^ -~]|[\\*()"+,;<>]', lambda match: f"\\{ord(match[0]):02x}", data)


def _file(context: Evaluation, name: str) -> str:
    """file(): the content of a file, up to a NUL. Raises Failed."""
    look(context.request)
    try:
        descriptor = os.open(to_bytes(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Failed(f"{name} is not a file")
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise Failed(f"cannot read the file {name}: {error}") from None
    if len(content) > LARGEST_FILE:
        raise Failed(f"the file {name} is larger than {LARGEST_FILE} bytes")
    return from_bytes(content.partition(b"\0")[0])


def _filesize(context: Evaluation, name: str) -> str:
    """filesize(): bytes; "0" if there is no file."""
    look(context.request)
    try:
        found = os.stat(to_bytes(name))
    except (OSError, ValueError):
        return "0"
    return str(found.st_size) if stat.S_ISREG(found.st_mode) else "0"


def _plain(function: Callable[[str], str]) -> Function:
    """A function of its argument only."""
    return Function(lambda _, text: function(text))


def _field(context: Evaluation, name: str) -> str:
    """req(): a field of the request, which the response is noted to vary by."""
    return variables.header(context.request, name)


for _word in (
    Word("req", "field", "A field of the request.", Function(_field), ("http",)),
    Word(
        "req_novary",
        "field",
        "A field of the request. It is not added to Vary.",
        Function(lambda context, name: variables.header(context.request, name, varies=False)),
    ),
    Word(
        "resp",
        "field",
        ("A field of the response. Content-Type is there after the response was sent, so only for CustomLog."),
        Function(_resp),
    ),
    Word("reqenv", "variable", "An environment variable of the request.", Function(_reqenv)),
    Word(
        "osenv",
        "variable",
        "A variable of the server's own environment.",
        Function(lambda _context, _name, of_server: of_server, of_server=True),
        differs="As it was when the configuration was read, and only for names in it.",
    ),
    Word("note", "name", "A note that a module made.", Function(_note)),
    Word(
        "env",
        "name",
        "The first of note, reqenv and osenv that has the name.",
        Function(_env, of_server=True),
        differs="The same as for osenv.",
    ),
    Word("tolower", "text", "The text in lower case.", _plain(lambda text: from_bytes(to_bytes(text).lower()))),
    Word("toupper", "text", "The text in upper case.", _plain(lambda text: from_bytes(to_bytes(text).upper()))),
    Word("escape", "text", "The text with %xx for characters that a path cannot contain.", _plain(escape)),
    Word("unescape", "text", "The text with %xx decoded, except %2f; empty if an escape is bad.", _plain(unescape)),
    Word("base64", "text", "The text in base64.", _plain(lambda text: base64.b64encode(to_bytes(text)).decode())),
    Word("unbase64", "text", "The part of the text that is base64, decoded.", _plain(unbase64)),
    Word(
        "md5",
        "text",
        "The text's MD5 hash, in hexadecimal digits.",
        _plain(lambda text: hashlib.md5(to_bytes(text), usedforsecurity=False).hexdigest()),
    ),
    Word(
        "sha1",
        "text",
        "The text's SHA-1 hash, in hexadecimal digits.",
        _plain(lambda text: hashlib.sha1(to_bytes(text), usedforsecurity=False).hexdigest()),
    ),
    Word("file", "name", f"The content of a file, {LARGEST_FILE} bytes at most.", Function(_file, of_files=True)),
    Word("filesize", "name", "The size of a file in bytes; 0 if there is none.", Function(_filesize, of_files=True)),
    Word("ldap", "text", "The text, escaped for names and filters of LDAP.", _plain(ldap)),
):
    FUNCTIONS.add(_word)
