"""The verdict of each access rule on a request: Require and its groups, and Order, Allow and Deny.

Each rule is evaluated by the code that decides about requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ownhost.admin.explanation import Ruled
from ownhost.config.directive import Source
from ownhost.modules import mod_access_compat, mod_authz_core
from ownhost.modules.mod_access_compat import COMPATIBLE, Client, Order, Statement, Statements
from ownhost.modules.mod_authz_core import PROVIDERS, REQUIRE, Group, Rule, Verdict
from ownhost.request import client
from ownhost.request.request import Request

YES, NO, NO_SAY = "yes", "no", "no say"
_WORDS = {Verdict.GRANTED: YES, Verdict.DENIED: NO, Verdict.NEEDS_USER: NO, Verdict.NEUTRAL: NO_SAY}


def rules_of(request: Request) -> list[Ruled]:
    """The rules for a request, and their verdicts, in the order of evaluation."""
    found = []
    said = request.settings[COMPATIBLE]
    if said:
        found.append(_compatible(said, request))
    group = request.settings[REQUIRE].group
    if group is not None:
        top = _require(group, request, within_all=True)
        # Rules of one scope are an implicit <RequireAny>. If it has a single rule, it says nothing
        # itself.
        found += top.rules if len(top.rules) == 1 and not top.declared else [top]
    return found


def deciding(rules: Iterable[Ruled], verdict: str) -> Iterator[Ruled]:
    """The single rules that a verdict comes from: the innermost ones with the same verdict."""
    for one in rules:
        if one.verdict == NO_SAY and verdict == NO and one.rules:
            yield from deciding(one.rules, NO_SAY)
        elif one.verdict == verdict:
            inner = list(deciding(one.rules, verdict))
            yield from inner or [one]


def _require(node: Rule | Group, request: Request, *, within_all: bool) -> Ruled:
    verdict = mod_authz_core.decide(node, request, within_all=within_all)
    if not mod_authz_core.concerns(node, request.method):
        return Ruled(str(node), _place(node.source), NO_SAY, f"not for {request.method}")
    if isinstance(node, Rule):
        why = PROVIDERS.known[node.provider].means.seen(request)
        if verdict is Verdict.NEEDS_USER:
            why = "nobody has logged in"
        return Ruled(str(node), _place(node.source), _WORDS[verdict], why)
    rules = [_require(child, request, within_all=not node.any_of) for child in node.children]
    return Ruled(str(node), _place(node.source), _WORDS[verdict], "", rules)


def _compatible(said: Statements, request: Request) -> Ruled:
    here = mod_access_compat.concerned(said, request)
    order = mod_access_compat.order_of(here)
    written = [one for one in here if one.order is not None][-1:]
    is_let_in = mod_access_compat.is_let_in(request, here)
    default = "lets in" if order is Order.DENY_ALLOW else "refuses"
    return Ruled(
        f"Order {order}",
        _place(written[0].source) if written else "",
        YES if is_let_in else NO,
        f"it {default} clients that no line names",
        [_line(one, request) for one in here if one.allows or one.denies],
    )


def _line(one: Statement, request: Request) -> Ruled:
    clients = one.allows or one.denies
    named = any(mod_access_compat.is_meant(request, who) for who in clients)
    verdict = NO_SAY if not named else YES if one.allows else NO
    return Ruled(one.text, _place(one.source), verdict, _seen(clients, request))


def _seen(clients: tuple[Client, ...], request: Request) -> str:
    """The part of the request that a line looks at."""
    if any(one.domain for one in clients):
        name = client.name(request)
        return f"the client is {client.address(request)}, {name or 'which has no name that leads back to it'}"
    if any(one.network is not None for one in clients):
        return f"the client is {client.address(request)}"
    return ""


def _place(source: Source | None) -> str:
    return "" if source is None else str(source)
