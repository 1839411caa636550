"""What expressions come to for a request (expr.html).

Each expression is made into functions once; they are kept with it. A back-reference belongs to one evaluation.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import ipaddress
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ownhost.config import expression as e
from ownhost.config.globs import compile_glob
from ownhost.http.message import HTTPError, Response
from ownhost.request import variables
from ownhost.request.request import CannotTell, Level, Request

LARGEST_FILE = 10_485_760  # bytes that file() reads
FALSE = frozenset(("", "0", "off", "false", "no"))  # what -T takes for false, in any case


@dataclass(slots=True)
class Evaluation:
    """One evaluation: for whom, and what the last regular expression found."""

    request: Request
    response: Response | None = None
    groups: tuple[str, ...] = field(default=())


Says = Callable[[Evaluation], bool]
Gives = Callable[[Evaluation], str]


def holds(condition: e.Condition, request: Request, response: Response | None = None) -> bool:
    """Whether a condition holds for a request. `response` is what resp() looks into.

    Raises CannotTell in a gate where that takes a look at a file.
    """
    return _compiled(condition)(Evaluation(request, response))


def groups(condition: e.Condition, request: Request) -> tuple[str, ...] | None:
    """What the last regular expression that matched has found, if a condition holds; None where it doesn't."""
    context = Evaluation(request)
    return context.groups if _compiled(condition)(context) else None


def value(expression: e.StringExpression, request: Request, response: Response | None = None) -> str:
    """The text that an expression comes to for a request. Raises CannotTell."""
    return _text(expression)(Evaluation(request, response))


@functools.lru_cache(maxsize=4096)
def _compiled(condition: e.Condition) -> Says:
    return _condition(condition.node)


@functools.lru_cache(maxsize=4096)
def _text(expression: e.StringExpression) -> Gives:
    return _word(expression.word)


# Conditions


def _condition(node: e.Node) -> Says:
    match node:
        case e.Constant(value=truth):
            return lambda _: truth
        case e.Not(operand=operand):
            says = _condition(operand)
            return lambda context: not says(context)
        case e.All(operands=operands):
            every = tuple(map(_condition, operands))
            return lambda context: all(says(context) for says in every)
        case e.AnyOf(operands=operands):
            some = tuple(map(_condition, operands))
            return lambda context: any(says(context) for says in some)
        case e.Compare():
            return _comparison(node)
        case e.Matches(word=word, regex=regex, negated=negated):
            return _match(_word(word), regex, negated)
        case e.Member(word=word, members=members):
            one, others = _word(word), tuple(map(_word, members))
            return lambda context: one(context) in [other(context) for other in others]
        case e.Wildcard(operator=operator, word=word, pattern=pattern):
            return _wildcard(operator, _word(word), _word(pattern))
        case e.InNetwork(word=word, network=network):
            return _in_network(_word(word), ipaddress.ip_network(network))
        case e.Unary(operator=operator, word=word):
            return _unary(operator, _word(word))


_COMPARISONS: dict[str, Callable[[int], bool]] = {
    "eq": lambda order: order == 0,
    "ne": lambda order: order != 0,
    "lt": lambda order: order < 0,
    "le": lambda order: order <= 0,
    "gt": lambda order: order > 0,
    "ge": lambda order: order >= 0,
}


def _comparison(node: e.Compare) -> Says:
    left, right, wanted = _word(node.left), _word(node.right), _COMPARISONS[node.operator]
    if node.numbers:
        return lambda context: wanted(number(left(context)) - number(right(context)))
    if node.operator in ("eq", "ne"):
        equal = node.operator == "eq"
        return lambda context: (left(context) == right(context)) == equal
    return lambda context: wanted(order(left(context), right(context)))


def order(one: str, other: str) -> int:
    """How two texts compare, byte by byte: below, at or above 0."""
    first, second = one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    return (first > second) - (first < second)


_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})")


def number(text: str) -> int:
    """The number that a text begins with, as C's atoi(3): 0 where there is none."""
    match = _NUMBER.match(text)
    return int(match[1]) if match else 0


def _match(gives: Gives, regex: re.Pattern[str], negated: bool) -> Says:
    def says(context: Evaluation) -> bool:
        found = regex.search(gives(context))
        if found is None:
            return negated
        context.groups = (found[0], *(group or "" for group in found.groups()))
        return not negated

    return says


def _wildcard(operator: str, gives: Gives, pattern: Gives) -> Says:
    def says(context: Evaluation) -> bool:
        glob, text = pattern(context), gives(context)
        if operator == "strcmatch":
            glob, text = glob.lower(), text.lower()
        return _glob(glob, operator == "fnmatch").fullmatch(text) is not None

    return says


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str, within_path: bool) -> re.Pattern[str]:
    return compile_glob(pattern, within_path=within_path)


def _in_network(gives: Gives, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Says:
    def says(context: Evaluation) -> bool:
        try:
            return ipaddress.ip_address(gives(context)) in network
        except ValueError:
            return False

    return says


def _unary(operator: str, gives: Gives) -> Says:
    if operator == "n":
        return lambda context: gives(context) != ""
    if operator == "z":
        return lambda context: gives(context) == ""
    if operator == "T":
        return lambda context: gives(context).lower() not in FALSE
    if operator in "UFA":
        reachable = url_is_reachable if operator in "UA" else file_is_reachable
        return lambda context: reachable(context.request, gives(context))
    return lambda context: file_test(context.request, operator, gives(context))


def file_test(request: Request, operator: str, name: str) -> bool:
    """-d, -e, -f, -s, -L, -h, -x: what is at a file name. Raises CannotTell in a gate."""
    _look(request)
    try:
        found = os.lstat(name) if operator in "Lh" else os.stat(name)
    except (OSError, ValueError):
        return False
    match operator:
        case "d":
            return stat.S_ISDIR(found.st_mode)
        case "f":
            return stat.S_ISREG(found.st_mode)
        case "s":
            return stat.S_ISREG(found.st_mode) and found.st_size > 0
        case "L" | "h":
            return stat.S_ISLNK(found.st_mode)
        case "x":
            return os.access(name, os.X_OK)
        case _:
            return True


def _look(request: Request) -> None:
    """Somebody is about to look at a file: gates may not."""
    request.pure = False
    if not request.site.sees_files:
        raise CannotTell


def url_is_reachable(request: Request, path: str) -> bool:
    """-U: whether a client may ask for a path of this server, by a subrequest for it. What is missing may be asked for.

    Raises CannotTell in a gate.
    """
    _look(request)
    whole = path if path.startswith("/") else request.uri.rpartition("/")[0] + "/" + path
    return _look_up(request, whole) is not None


def file_is_reachable(request: Request, name: str) -> bool:
    """-F: whether a file would be served, by a subrequest for it. Raises CannotTell in a gate."""
    _look(request)
    found = _look_up(request, request.uri, name) if name else None
    return found is not None and found.stat is not None


def _look_up(request: Request, path: str, filename: str = "") -> Request | None:
    """A subrequest that went well as far as access control."""
    from ownhost.request import serve  # serving asks expressions in turn

    uri, mark, query = path.partition("?")
    try:
        inner = serve.redirected(request, uri, query if mark else None, subrequest=True)
        if filename:
            inner.filename, inner.begun = filename, True
        answer = serve.find(inner)
    except HTTPError:
        return None
    return inner if answer is None or answer.status < 300 else None


# Words


def _word(word: e.Word) -> Gives:
    match word:
        case e.Text(value=text):
            return lambda _: text
        case e.Concatenation(parts=parts):
            every = tuple(map(_word, parts))
            return lambda context: "".join([gives(context) for gives in every])
        case e.BackReference(group=group):
            return lambda context: context.groups[group] if group < len(context.groups) else ""
        case e.Variable(name=name):
            return _variable(name)
        case e.Call(function=name, argument=argument):
            function, gives = _FUNCTIONS[name], _word(argument)
            return lambda context: function(context, gives(context))


def _variable(name: str) -> Gives:
    return lambda context: variables.lookup(context.request, name) or ""


def _resp(context: Evaluation, name: str) -> str:
    """resp(): a field of the response. As in Apache, Content-Type is not among them: CONTENT_TYPE is a variable."""
    if name.lower() == "content-type":
        return ""
    return (context.response.header(name.lower()) or "") if context.response is not None else ""


def _env(context: Evaluation, name: str) -> str:
    """reqenv(): a variable of the request."""
    context.request.pure = False
    return context.request.env.get(name, "")


def _osenv(context: Evaluation, name: str) -> str:
    """osenv(): a variable of the process; workers have none."""
    context.request.pure = False
    return os.environ.get(name, "")


def _note(context: Evaluation, name: str) -> str:
    """note(): a note that a module made."""
    context.request.pure = False
    return context.request.notes.get(name, "")


def _any_env(context: Evaluation, name: str) -> str:
    """env(): the first of note, reqenv and osenv that has the name."""
    return _note(context, name) or _env(context, name) or _osenv(context, name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


_ESCAPED = re.compile("%[0-9A-F]{2}")


def escape(text: str) -> str:
    """escape(): what cannot stand in a path as %xx, in small letters."""
    quoted = quote_from_bytes(_bytes(text), safe="$&+,/:;=@!*'()")
    return _ESCAPED.sub(lambda match: match[0].lower(), quoted)


def _unescape(text: str) -> str:
    """unescape(): %xx decoded; "" where an escape is bad, or gives "/" or NUL."""
    if re.search(r"%(?![0-9A-Fa-f]{2})|%2[Ff]|%00", text):
        return ""
    return _decoded(unquote_to_bytes(_bytes(text)))


def _unbase64(text: str) -> str:
    try:
        return _decoded(base64.b64decode(_bytes(text) + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return ""


def _file(context: Evaluation, name: str) -> str:
    """file(): the content of a file."""
    _look(context.request)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no file")
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise OSError(0, f"it is larger than {LARGEST_FILE} bytes")
    except (OSError, ValueError) as error:
        context.request.log(Level.WARN, "core", f"file({name}) in an expression cannot be read: {error}")
        return ""
    return _decoded(content)


def _filesize(context: Evaluation, name: str) -> str:
    """filesize(): bytes; "0" where there is no file."""
    _look(context.request)
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return "0"
    return str(found.st_size) if stat.S_ISREG(found.st_mode) else "0"


_LDAP = str.maketrans({char: f"\\{ord(char):02x}" for char in "*()\\\0"})


def _plain(function: Callable[[str], str]) -> Callable[[Evaluation, str], str]:
    """A function that looks at nothing but its argument."""
    return lambda _, text: function(text)


_FUNCTIONS: dict[str, Callable[[Evaluation, str], str]] = {
    "req": lambda context, name: variables.header(context.request, name),
    "http": lambda context, name: variables.header(context.request, name),
    "req_novary": lambda context, name: variables.header(context.request, name, varies=False),
    "resp": _resp,
    "reqenv": _env,
    "osenv": _osenv,
    "note": _note,
    "env": _any_env,
    "file": _file,
    "filesize": _filesize,
    "tolower": _plain(lambda text: _decoded(_bytes(text).lower())),
    "toupper": _plain(lambda text: _decoded(_bytes(text).upper())),
    "escape": _plain(escape),
    "unescape": _plain(_unescape),
    "base64": _plain(lambda text: base64.b64encode(_bytes(text)).decode()),
    "unbase64": _plain(_unbase64),
    "md5": _plain(lambda text: hashlib.md5(_bytes(text), usedforsecurity=False).hexdigest()),
    "sha1": _plain(lambda text: hashlib.sha1(_bytes(text), usedforsecurity=False).hexdigest()),
    "ldap": _plain(lambda text: text.translate(_LDAP)),
}
