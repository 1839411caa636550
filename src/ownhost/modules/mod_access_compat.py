"""mod_access_compat: Order, Allow, Deny and Satisfy, as in Apache 2.2.

The scopes' rules are not joined: any of these directives in an inner scope replaces all of the
outer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ownhost.config.arguments import choice, words
from ownhost.config.directive import ArgumentError, Call, Directive, Override, Setting, Source, declare, extend
from ownhost.config.methods import Methods
from ownhost.config.networks import Network, is_network, parse_network
from ownhost.http.message import HTTPError, Response
from ownhost.modules.mod_authz_core import IN_SECTIONS
from ownhost.modules.mod_authz_host import is_in_domain
from ownhost.request import client
from ownhost.request.module import Module, register
from ownhost.request.redirects import is_decided
from ownhost.request.request import Request


class Order(StrEnum):
    """Which lines are evaluated first; the last matching ones count, else the default."""

    DENY_ALLOW = "Deny,Allow"  # a client that no line names is let in
    ALLOW_DENY = "Allow,Deny"  # a client that no line names is refused
    MUTUAL_FAILURE = "Mutual-failure"  # only clients that are allowed and not denied


@dataclass(frozen=True, slots=True)
class Client:
    """The clients of a line: all, those in a network, those in a domain, or requests with or without a variable."""

    everybody: bool = False
    network: Network | None = None
    domain: str = ""
    variable: str = ""
    unset: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One line: exactly one of these, and the methods of the <Limit> around it."""

    methods: Methods
    order: Order | None = None
    allows: tuple[Client, ...] = ()
    denies: tuple[Client, ...] = ()
    any_satisfies: bool | None = None
    text: str = field(default="", compare=False)  # as written
    source: Source | None = field(default=None, compare=False)


Statements = tuple[Statement, ...]


def parse_order(call: Call) -> Statements:
    """Allow,Deny or the like: one word, without a space."""
    return _statement(call, order=choice({order.value: order for order in Order})(call))


def parse_allow(call: Call) -> Statements:
    """from and whom."""
    return _statement(call, allows=_clients(call))


def parse_deny(call: Call) -> Statements:
    """from and whom."""
    return _statement(call, denies=_clients(call))


def parse_satisfy(call: Call) -> Statements:
    """Any or All."""
    return _statement(call, any_satisfies=choice({"Any": True, "All": False})(call))


def _statement(call: Call, **said: Any) -> Statements:
    return (Statement(call.methods, text=f"{call.name} {call.raw}", source=call.source, **said),)


def _clients(call: Call) -> tuple[Client, ...]:
    first, *found = words(2)(call)
    if first.lower() != "from":
        raise ArgumentError(f"expected from and a client, not {first!r}")
    return tuple(map(_client, found))


def _client(word: str) -> Client:
    if word.lower() == "all":
        return Client(everybody=True)
    if word[:4].lower() == "env=":
        name = word[4:]
        return Client(variable=name.removeprefix("!"), unset=name.startswith("!"))
    if is_network(word):
        return Client(network=parse_network(word))
    if not word or "/" in word:
        raise ArgumentError(f"expected all, env=NAME, an address, a network or a host name, not {word!r}")
    return Client(domain=word)


COMPATIBLE: Setting[Statements] = Setting("Order", ())


def _declare(name: str, syntax: str, text: str, parse: Callable[[Call], Statements], override: Override) -> None:
    declare(
        Directive(
            name,
            "mod_access_compat",
            syntax,
            IN_SECTIONS,
            text,
            parse,
            setting=COMPATIBLE,
            fold=extend,
            override=override,
        )
    )


_FROM = "from all|address|network|host|env=[!]variable ..."
_declare("Order", "Deny,Allow|Allow,Deny", "Whether Allow or Deny is evaluated last.", parse_order, Override.LIMIT)
_declare("Allow", _FROM, "Which clients may see the content.", parse_allow, Override.LIMIT)
_declare("Deny", _FROM, "Which clients may not see the content.", parse_deny, Override.LIMIT)
_declare(
    "Satisfy", "Any|All", "Whether Allow is enough, or Require must agree, too.", parse_satisfy, Override.AUTH_CONFIG
)


def access(request: Request) -> Response | None:
    """Refuse denied clients. With Satisfy Any, leave that to Require, and let in clients that are not denied."""
    said = request.settings[COMPATIBLE]
    if not said or is_decided(request):
        return None
    here = concerned(said, request)
    any_satisfies = any([one.any_satisfies for one in here if one.any_satisfies is not None][-1:])
    if is_let_in(request, here):
        request.permitted = any_satisfies
    elif not any_satisfies:
        raise HTTPError(
            403, f"AH01797: client denied by server configuration: {request.filename}", module="access_compat"
        )
    return None


def concerned(said: Statements, request: Request) -> list[Statement]:
    """The lines for a request's method."""
    return [statement for statement in said if request.method in statement.methods]


def order_of(here: list[Statement]) -> Order:
    """The last Order counts."""
    return [Order.DENY_ALLOW, *(one.order for one in here if one.order is not None)][-1]


def is_let_in(request: Request, here: list[Statement]) -> bool:
    """The verdict of the last Order over all lines that name the client."""
    order = order_of(here)
    allowed = any(is_meant(request, one) for statement in here for one in statement.allows)
    denied = any(is_meant(request, one) for statement in here for one in statement.denies)
    return (allowed or not denied) if order is Order.DENY_ALLOW else (allowed and not denied)


def is_meant(request: Request, one: Client) -> bool:
    """Whether a line's word names a request's client."""
    if one.everybody:
        return True
    request.pure = False
    if one.network is not None:
        return client.address(request) in one.network
    if one.domain:
        name = client.name(request)
        return name != "" and is_in_domain(name, one.domain)
    return (one.variable in request.env) != one.unset


# Before Require, which it may make unnecessary.
register(
    Module(
        name="mod_access_compat",
        identifier="access_compat_module",
        order=40,
        uses=lambda server: server.says(COMPATIBLE),
        access=access,
    )
)
