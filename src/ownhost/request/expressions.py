"""What expressions come to for a request (expr.html).

Each expression is made into functions once; they are kept with it. A back-reference belongs to one evaluation.
An expression that has no value (a file that cannot be read) is logged, and holds for nobody.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import stat
from collections.abc import Callable
from typing import TypeVar

from ownhost.config import expression as e
from ownhost.config.globs import compile_glob
from ownhost.config.regex import Pattern
from ownhost.http.message import HTTPError, Response
from ownhost.http.wire import to_bytes, unwire, wire
from ownhost.request import ssl_variables, variables
from ownhost.request.expression_functions import FUNCTIONS, Evaluation, Failed, env, look
from ownhost.request.redirects import subrequest
from ownhost.request.request import Level, Phase, Request
from ownhost.request.road import advance

FALSE = frozenset(("", "0", "off", "false", "no"))  # what -T takes for false, in any case
INT64 = 2**63  # what whole numbers are kept below

T = TypeVar("T")
Says = Callable[[Evaluation], bool]
Gives = Callable[[Evaluation], str]


def holds(condition: e.Condition, request: Request, response: Response | None = None, *, sent: bool = False) -> bool:
    """Whether a condition holds for a request. `response` is what resp() looks into; `sent`, that it has left."""
    return bool(_evaluate(condition, _compiled(condition), Evaluation(request, response, sent)))


def groups(condition: e.Condition, request: Request) -> tuple[str, ...] | None:
    """What the last regular expression that matched has found, if a condition holds; None where it doesn't."""
    context = Evaluation(request)
    return context.groups if _evaluate(condition, _compiled(condition), context) else None


def computed(
    expression: e.StringExpression, request: Request, response: Response | None = None, found: tuple[str, ...] = ()
) -> str | None:
    """The text that an expression comes to for a request; None where it has no value.

    `found` is what $0 to $9 stand for, from a condition that goes before. As in Apache, only conditions have a response
    say which fields of the request it depends on.
    """
    known = len(request.vary)
    context = Evaluation(request, response)
    context.groups = found
    text = _evaluate(expression, _text(expression), context)
    del request.vary[known:]
    return text


def value(
    expression: e.StringExpression, request: Request, response: Response | None = None, found: tuple[str, ...] = ()
) -> str:
    """The same, with "" for no value."""
    return computed(expression, request, response, found) or ""


def _evaluate(expression: e.Condition | e.StringExpression, ask: Callable[[Evaluation], T], to: Evaluation) -> T | None:
    try:
        return ask(to)
    except Failed as error:
        to.request.log(Level.ERROR, "core", f"the expression {expression.text!r} has no value: {error}")
        return None


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
        case e.HasExtension(word=word, oid=oid):
            text = _word(word)
            return lambda context: text(context) in ssl_variables.extension_texts(context.request, oid)
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
    if node.by_length:
        return lambda context: wanted(order_by_length(left(context), right(context)))
    if node.numbers:
        return lambda context: wanted(number(left(context)) - number(right(context)))
    if node.operator in ("eq", "ne"):
        equal = node.operator == "eq"
        return lambda context: (left(context) == right(context)) == equal
    return lambda context: wanted(order(left(context), right(context)))


def order(one: str, other: str) -> int:
    """How two texts compare, byte by byte: below, at or above 0."""
    first, second = to_bytes(one), to_bytes(other)
    return (first > second) - (first < second)


def order_by_length(one: str, other: str) -> int:
    """The same, where a shorter text comes before any longer one."""
    return len(to_bytes(one)) - len(to_bytes(other)) or order(one, other)


_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{0,20})")


def number(text: str) -> int:
    """The number that a text begins with, as C's strtoll(3): 0 where there is none, no more than 64 bits."""
    sign, digits = _NUMBER.match(text).groups()  # type: ignore[union-attr]
    return max(-INT64, min(int(f"{sign}{digits or 0}"), INT64 - 1))


def _match(gives: Gives, regex: Pattern, negated: bool) -> Says:
    def says(context: Evaluation) -> bool:
        found = regex.search(gives(context))
        if regex.groups:  # one without keeps what an earlier one has found
            context.groups = found
        return bool(found) != negated

    return says


def _wildcard(operator: str, gives: Gives, pattern: Gives) -> Says:
    def says(context: Evaluation) -> bool:
        text, glob = gives(context), pattern(context)
        if operator == "strcmatch":
            glob, text = glob.lower(), text.lower()
        return _glob(glob, operator == "fnmatch").search(text) != ()

    return says


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str, within_path: bool) -> Pattern:
    return compile_glob(pattern, within_path=within_path)


def _in_network(gives: Gives, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Says:
    def says(context: Evaluation) -> bool:
        try:
            address = ipaddress.ip_address(gives(context))
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address) in network

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
    """-d, -e, -f, -s, -L, -h, -x: what is at a file name."""
    look(request)
    try:
        found = (os.lstat if operator in "Lhx" else os.stat)(to_bytes(name))
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
            return bool(found.st_mode & 0o111)
        case _:
            return True


def url_is_reachable(request: Request, path: str) -> bool:
    """-U: whether a client may ask for a path of this server, by a subrequest. What is missing may be asked for."""
    look(request)
    whole = path if path.startswith("/") else f"{_folder(request.uri)}/{path}"
    uri, mark, query = whole.partition("?")
    return _look_up(request, uri, wire(query) if mark else None)[1] < 400


def file_is_reachable(request: Request, name: str) -> bool:
    """-F: whether a file would be served, by a subrequest for it."""
    look(request)
    filename = name if name.startswith("/") else f"{_folder(request.filename)}/{name}"
    inner, status = _look_up(request, request.uri, None, filename)
    return status < 300 and inner is not None and inner.stat is not None


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _look_up(request: Request, uri: str, query: str | None, filename: str = "") -> tuple[Request | None, int]:
    """A subrequest as far as access control, and its status. Not from within a look at the very same path."""
    if request.is_subrequest and request.previous is not None and request.previous.uri == request.uri:
        return None, 500
    try:
        inner = subrequest(request, uri, query, filename)
        answer = advance(inner, Phase.ACCESS)
    except HTTPError as error:
        return None, error.status
    return inner, 200 if answer is None else answer.status


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
        case e.Call():
            return _call(word)


def _call(call: e.Call) -> Gives:
    gives, server_value = _word(call.argument), call.server_value
    if call.function == "osenv":
        return lambda _: server_value
    if call.function == "env":
        return lambda context: env(context, gives(context), server_value)
    function = FUNCTIONS[call.function]
    return lambda context: function(context, gives(context))


def _variable(name: str) -> Gives:
    of_response = _OF_RESPONSE.get(name)
    if of_response is None:
        return lambda context: variables.lookup(context.request, name) or ""
    return lambda context: (
        (context.response and of_response(context.response)) or variables.lookup(context.request, name) or ""
    )


# What a response knows better than its request.
_OF_RESPONSE: dict[str, Callable[[Response], str]] = {
    "REQUEST_STATUS": lambda response: str(response.status),
    "CONTENT_TYPE": lambda response: unwire(response.header("content-type") or ""),
}
