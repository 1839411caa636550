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


Function = Callable[[Evaluation, str], str]


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


def env(context: Evaluation, name: str, server_value: str) -> str:
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
    return lambda _, text: function(text)


# env and osenv are not among them: they need the server's environment.
FUNCTIONS: dict[str, Function] = {
    "req": lambda context, name: variables.header(context.request, name),
    "http": lambda context, name: variables.header(context.request, name),
    "req_novary": lambda context, name: variables.header(context.request, name, varies=False),
    "resp": _resp,
    "reqenv": _reqenv,
    "note": _note,
    "file": _file,
    "filesize": _filesize,
    "tolower": _plain(lambda text: from_bytes(to_bytes(text).lower())),
    "toupper": _plain(lambda text: from_bytes(to_bytes(text).upper())),
    "escape": _plain(escape),
    "unescape": _plain(unescape),
    "base64": _plain(lambda text: base64.b64encode(to_bytes(text)).decode()),
    "unbase64": _plain(unbase64),
    "md5": _plain(lambda text: hashlib.md5(to_bytes(text), usedforsecurity=False).hexdigest()),
    "sha1": _plain(lambda text: hashlib.sha1(to_bytes(text), usedforsecurity=False).hexdigest()),
    "ldap": _plain(ldap),
}
