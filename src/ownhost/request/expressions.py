"""Evaluating expressions for a request (expr.html).

Each expression is compiled into functions once; they are kept with it. A back-reference belongs to
one evaluation. An expression without a value (a file that cannot be read) is logged, and counts as
false.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable
from typing import TypeVar

from ownhost.config import expression as e
from ownhost.config.expression_words import COMPARISONS, FUNCTIONS, PATTERNS, TESTS
from ownhost.config.regex import Pattern
from ownhost.http.message import Response
from ownhost.http.wire import to_bytes, unwire
from ownhost.request import ssl_variables, variables
from ownhost.request.expression_functions import Evaluation, Failed
from ownhost.request.expression_tests import Gives, Says, in_network
from ownhost.request.request import Level, Request

INT64 = 2**63  # the limit of whole numbers

T = TypeVar("T")


def holds(condition: e.Condition, request: Request, response: Response | None = None, *, sent: bool = False) -> bool:
    """Whether a condition is true for a request. resp() looks into `response`; `sent` says that it was sent."""
    return bool(_evaluate(condition, _compiled(condition), Evaluation(request, response, sent)))


def groups(condition: e.Condition, request: Request) -> tuple[str, ...] | None:
    """The groups of the last regular expression that matched, if a condition is true; None if it is not."""
    context = Evaluation(request)
    return context.groups if _evaluate(condition, _compiled(condition), context) else None


def computed(
    expression: e.StringExpression, request: Request, response: Response | None = None, found: tuple[str, ...] = ()
) -> str | None:
    """The text of an expression for a request; None if it has no value.

    `found` has the values of $0 to $9, from an earlier condition. As in Apache, only conditions
    make a response say which fields of the request it depends on.
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
            return PATTERNS.known[operator].means.compile(_word(word), _word(pattern))
        case e.InNetwork(word=word, network=network):
            return in_network(_word(word), ipaddress.ip_network(network))
        case e.Unary(operator=operator, word=word):
            return TESTS.known[operator].means.compile(_word(word))


_ORDERS = {word.means.name: word.means.holds for word in COMPARISONS}


def _comparison(node: e.Compare) -> Says:
    left, right, holds = _word(node.left), _word(node.right), _ORDERS[node.operator]
    if node.by_length:
        return lambda context: holds(order_by_length(left(context), right(context)), 0)
    if node.numbers:
        return lambda context: holds(number(left(context)), number(right(context)))
    if node.operator in ("eq", "ne"):
        equal = node.operator == "eq"
        return lambda context: (left(context) == right(context)) == equal
    return lambda context: holds(order(left(context), right(context)), 0)


def order(one: str, other: str) -> int:
    """The order of two texts, byte by byte: below, at or above 0."""
    first, second = to_bytes(one), to_bytes(other)
    return (first > second) - (first < second)


def order_by_length(one: str, other: str) -> int:
    """The same, but a shorter text comes before any longer one."""
    return len(to_bytes(one)) - len(to_bytes(other)) or order(one, other)


_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{0,20})")


def number(text: str) -> int:
    """The number that a text begins with, as C's strtoll(3): 0 if there is none, at most 64 bits."""
    sign, digits = _NUMBER.match(text).groups()  # type: ignore[union-attr]
    return max(-INT64, min(int(f"{sign}{digits or 0}"), INT64 - 1))


def _match(gives: Gives, regex: Pattern, negated: bool) -> Says:
    def says(context: Evaluation) -> bool:
        found = regex.search(gives(context))
        if regex.groups:  # one without groups keeps the result of an earlier one
            context.groups = found
        return bool(found) != negated

    return says


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
    argument, server_value = _word(call.argument), call.server_value
    function = FUNCTIONS.known[call.function].means
    gives = function.gives
    if function.of_server:
        return lambda context: gives(context, argument(context), server_value)
    return lambda context: gives(context, argument(context))


def _variable(name: str) -> Gives:
    of_response = _OF_RESPONSE.get(name)
    if of_response is None:
        return lambda context: variables.lookup(context.request, name) or ""
    return lambda context: (
        (context.response and of_response(context.response)) or variables.lookup(context.request, name) or ""
    )


# Values that a response knows better than its request.
_OF_RESPONSE: dict[str, Callable[[Response], str]] = {
    "REQUEST_STATUS": lambda response: str(response.status),
    "CONTENT_TYPE": lambda response: unwire(response.header("content-type") or ""),
}
