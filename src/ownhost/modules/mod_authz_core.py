"""mod_authz_core: who may see what, by rules (Require) and groups of them (RequireAll, RequireAny, RequireNone).

Other modules add providers to `PROVIDERS`; each evaluates one kind of rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ownhost.config import known, methods
from ownhost.config.arguments import choice, flag, known_word, words
from ownhost.config.directive import (
    ArgumentError,
    Block,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    Source,
    declare,
)
from ownhost.config.expression import Condition, variables_of
from ownhost.config.expression_parser import parse_condition
from ownhost.config.lexer import next_word
from ownhost.config.methods import EVERY, Methods
from ownhost.config.model import Section, SectionKind
from ownhost.config.regex import Pattern
from ownhost.config.words import Word, Words
from ownhost.http.message import HTTPError, Response
from ownhost.modules.mod_authn_core import IN_SECTIONS as IN_SECTIONS
from ownhost.modules.mod_authn_core import authenticate, scheme_of
from ownhost.request import expressions
from ownhost.request.errorlog import LOG_LEVEL
from ownhost.request.module import Module, register
from ownhost.request.redirects import is_decided
from ownhost.request.request import Level, Request


class Verdict(StrEnum):
    """The verdict of a rule or a group on a request."""

    GRANTED = "granted"
    DENIED = "denied"
    NEEDS_USER = "denied (no authenticated user yet)"
    NEUTRAL = "neutral"

    @classmethod
    def of(cls, granted: bool) -> Verdict:
        """Granted or denied."""
        return cls.GRANTED if granted else cls.DENIED


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of rule: how its words are parsed, and how it is evaluated for a request.

    `seen` is for people: the part of the request that decides, such as "the client is 127.0.0.1".
    """

    parse: Callable[[Call], Any]
    check: Callable[[Request, Any], Verdict]
    seen: Callable[[Request], str] = lambda _: ""


PROVIDERS: Words[Provider] = Words("Providers of Require", "provider")
# Providers of modules that Ownhost does not have.
_NOT_YET = frozenset(
    """
    dbm-group dbm-file-group dbd-group dbd-login dbd-logout ldap-user ldap-group ldap-dn ldap-attribute ldap-filter
    ldap-search unix-group
    """.split()  # noqa: SIM905 - a table
)


# Rules as data


@dataclass(frozen=True, slots=True)
class Rule:
    """One Require line."""

    text: str  # as written
    provider: str
    argument: Any
    negated: bool
    methods: Methods  # of the <Limit> around it
    source: Source | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"Require {self.text}"


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are combined: all of them, or any. `methods` None: those of its content."""

    name: str
    children: tuple[Rule | Group, ...]
    any_of: bool = True
    negated: bool = False
    methods: Methods | None = None
    source: Source | None = field(default=None, compare=False)  # None for an implicit group

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Requirement:
    """The rules of one scope, and how they combine with those of the scope around it (AuthMerging)."""

    group: Group | None = None
    merging: str = ""  # "Off", "And", "Or"; "" if it is not set


def fold(before: Requirement | None, after: Requirement) -> Requirement:
    """Rules of one scope: one of them is enough to let a client in."""
    if before is None:
        return after
    children = [child for group in (before.group, after.group) if group is not None for child in group.children]
    return Requirement(Group(_ANY, tuple(children)) if children else None, after.merging or before.merging)


def merge(outer: Requirement, inner: Requirement) -> Requirement:
    """Rules of an inner scope replace those around it, unless AuthMerging combines them."""
    if inner.merging in ("", "Off"):
        return inner
    groups = [group for group in (outer.group, inner.group) if group is not None]
    if len(groups) == 2:
        either = inner.merging == "Or"
        return Requirement(Group(f"AuthMerging {inner.merging}", tuple(groups), any_of=either), inner.merging)
    return Requirement(groups[0] if groups else None, inner.merging)


# Directives

_ANY, _ALL, _NONE = "<RequireAny>", "<RequireAll>", "<RequireNone>"


def parse_require(call: Call) -> Requirement:
    """[not] provider and its words. Unknown words are refused: a wrong guess would let clients in."""
    name, rest = next_word(call.raw)
    negated = name.lower() == "not"
    if negated:
        name, rest = next_word(rest)
    if not name:
        raise ArgumentError("expected who may see what is here, got nothing")
    if name in _NOT_YET:
        raise ArgumentError(f"{name} is not supported yet")
    provider = known_word(PROVIDERS, name).means
    if negated and call.outer != "RequireAll":
        here = f", not in <{call.outer}>" if call.outer else ""
        raise ArgumentError(f"not lets nobody in, so it is expected in a <RequireAll>{here}")
    own = dataclasses.replace(call, name=f"Require {name}", args=call.args[1 + negated :], raw=rest)
    rule = Rule(call.raw, name, provider.parse(own), negated, call.methods, call.source)
    return Requirement(Group(_ANY, (rule,)))


def _group(*, any_of: bool, negated: bool = False) -> Callable[[Call], Requirement]:
    def parse(call: Call) -> Requirement:
        if call.raw:
            raise ArgumentError(f"expected no argument, got {call.raw}")
        if call.inside is None or call.inside.group is None:
            raise ArgumentError("expected Require lines in it, found none that can be used")
        children = call.inside.group.children
        if not any_of and all(child.negated for child in children):
            raise ArgumentError("expected a rule in it that can let somebody in, found only negative ones")
        if negated and call.outer != "RequireAll":
            raise ArgumentError("it lets nobody in, so it is expected in a <RequireAll>")
        group = Group(f"<{call.name}>", children, any_of, negated, call.methods, call.source)
        return Requirement(Group(_ANY, (group,)))

    return parse


def parse_merging(call: Call) -> Requirement:
    """Off, And or Or."""
    if call.outer:
        raise ArgumentError(f"cannot stand in <{call.outer}>; expected around it")
    return Requirement(merging=choice({"Off": "Off", "And": "And", "Or": "Or"})(call))


REQUIRE: Setting[Requirement] = Setting("Require", Requirement(), merge)


def _declare(
    name: str,
    syntax: str,
    text: str,
    parse: Callable[[Call], Requirement],
    *,
    section: bool = False,
    words: tuple[Words[Any], ...] = (),
) -> None:
    declare(
        Directive(
            name,
            "mod_authz_core",
            syntax,
            IN_SECTIONS,
            text,
            parse,
            setting=REQUIRE,
            fold=fold,
            override=Override.AUTH_CONFIG,
            block=Block.SETTING if section else None,
            default="Off" if name == "AuthMerging" else "",
            words=words,
        )
    )


_declare("Require", "[not] provider ...", "Which clients may see the content.", parse_require, words=(PROVIDERS,))
_declare("RequireAll", "", "All rules in it must be kept, and one must let in.", _group(any_of=False), section=True)
_declare("RequireAny", "", "One rule in it must let in.", _group(any_of=True), section=True)
_declare("RequireNone", "", "No rule in it may let in.", _group(any_of=True, negated=True), section=True)
_declare("AuthMerging", "Off|And|Or", "Whether rules count together with those around them.", parse_merging)
FORBIDDEN_ON_FAILURE = Setting("AuthzSendForbiddenOnFailure", False)

declare(
    Directive(
        "AuthzSendForbiddenOnFailure",
        "mod_authz_core",
        "On|Off",
        IN_SECTIONS,
        "Whether a user who may not see a page gets a 403, or a 401 with another chance.",
        flag(),
        setting=FORBIDDEN_ON_FAILURE,
        override=Override.AUTH_CONFIG,
        default="Off",
    )
)


# Deciding


def access(request: Request) -> Response | None:
    """Refuse a client that is not let in. Without any Require, every client is (as in Apache).

    Clients are asked who they are only if that decides it.
    """
    group = request.settings[REQUIRE].group
    if is_decided(request):
        _keep_user(request)
        return None
    if request.permitted:
        return None
    if group is None:
        if scheme_of(request)[0]:
            why = "AuthType configured with no corresponding authorization directives"
            raise HTTPError(500, f"AH01627: {why}", module="authz_core")
        return None
    verdict = decide(group, request, within_all=True)
    if verdict is Verdict.GRANTED:
        return None
    if verdict is not Verdict.NEEDS_USER:
        raise _denied(request)
    request.pure = False
    waiting = authenticate(request)
    if waiting is not None:
        return waiting
    if request.user is None:
        why = "No authentication done but request not allowed without authentication for"
        raise HTTPError(500, f"AH00027: {why} {request.uri}. Authentication not configured?")
    if decide(group, request, within_all=True) is not Verdict.GRANTED:
        raise _unauthorized(request)
    return None


def _keep_user(request: Request) -> None:
    """The user of a page that explains an error, if somebody has verified who that is."""
    before = request.previous
    if before is not None and request.error_status != 401:
        request.user, request.auth_type = before.user, before.auth_type


def _denied(request: Request) -> HTTPError:
    """A refusal that does not depend on who the user is."""
    return HTTPError(403, f"AH01630: client denied by server configuration: {request.filename}", module="authz_core")


def _unauthorized(request: Request) -> HTTPError:
    """The refusal of a user. A browser asks for another name and password then."""
    why = f'AH01631: user {request.user}: authorization failure for "{request.uri}": '
    scheme = scheme_of(request)[1]
    if scheme is None or request.settings[FORBIDDEN_ON_FAILURE]:
        return HTTPError(403, why, module="authz_core")
    return HTTPError(401, why, scheme.challenge(request), module="authz_core")


def decide(node: Rule | Group, request: Request, *, within_all: bool) -> Verdict:
    """The verdict of a rule or a group. One for other methods is neutral."""
    if not concerns(node, request.method):
        return Verdict.GRANTED if within_all else Verdict.NEUTRAL
    if isinstance(node, Rule):
        verdict = PROVIDERS.known[node.provider].means.check(request, node.argument)
    else:
        verdict = _any_of(node.children, request) if node.any_of else _all_of(node.children, request)
    if node.negated:
        # A client that a negated rule does not refuse is not yet let in.
        verdict = Verdict.DENIED if verdict is Verdict.GRANTED else Verdict.NEUTRAL
    if request.settings[LOG_LEVEL].of("authz_core") >= Level.DEBUG:
        request.log(Level.DEBUG, "authz_core", f"authorization result of {node}: {verdict}")
    return verdict


def concerns(node: Rule | Group, method: str) -> bool:
    """Whether a rule or a group is for requests with a method, by the <Limit> around it."""
    if isinstance(node, Group) and node.methods is None:
        return any(concerns(child, method) for child in node.children)
    assert node.methods is not None
    return method in node.methods


def _all_of(children: Collection[Rule | Group], request: Request) -> Verdict:
    result = Verdict.NEUTRAL
    for child in children:
        verdict = decide(child, request, within_all=True)
        if verdict is Verdict.DENIED:
            return verdict
        if verdict is Verdict.NEEDS_USER or result is Verdict.NEUTRAL:
            result = verdict
    return result


def _any_of(children: Collection[Rule | Group], request: Request) -> Verdict:
    result = Verdict.NEUTRAL
    for child in children:
        verdict = decide(child, request, within_all=False)
        if verdict is Verdict.GRANTED:
            return verdict
        if verdict is Verdict.NEEDS_USER or result is Verdict.NEUTRAL:
            result = verdict
    return result


# Providers


def _parse_all(call: Call) -> bool:
    return choice({"granted": True, "denied": False})(call)


def _parse_methods(call: Call) -> Methods:
    for method in words(1)(call):
        if method not in methods.KNOWN:
            raise ArgumentError(f"expected HTTP methods, not {method!r}{known.suggestion(method, methods.KNOWN)}")
    return Methods.of(call.args)


def _parse_expression(call: Call) -> Condition:
    if not call.raw:
        raise ArgumentError("expected an expression, got none")
    return parse_condition(call.args[0] if len(call.args) == 1 else call.raw, call.source)


def _check_env(request: Request, names: tuple[str, ...]) -> Verdict:
    request.pure = False
    return Verdict.of(any(name in request.env for name in names))


def _check_expression(request: Request, condition: Condition) -> Verdict:
    if expressions.holds(condition, request):
        return Verdict.GRANTED
    asks = request.user is None and "REMOTE_USER" in variables_of(condition.node)
    return Verdict.NEEDS_USER if asks else Verdict.DENIED


for _word in (
    Word(
        "all",
        "granted|denied",
        "Lets all clients in, or none.",
        Provider(_parse_all, lambda _, granted: Verdict.of(granted)),
    ),
    Word("env", "variable...", "Lets in requests with one of the variables.", Provider(words(1), _check_env)),
    Word(
        "method",
        "method...",
        "Lets in requests with one of the methods.",
        Provider(
            _parse_methods,
            lambda request, allowed: Verdict.of(request.method in allowed),
            lambda request: f"the method is {request.method}",
        ),
    ),
    Word(
        "expr",
        "expression",
        "Lets in requests for which an expression is true.",
        Provider(_parse_expression, _check_expression),
    ),
):
    PROVIDERS.add(_word)

_BUILT_IN = Source("built in", 0)
_DENIED = Requirement(
    Group(_ANY, (Rule("all denied", "all", argument=False, negated=False, methods=EVERY, source=_BUILT_IN),))
)
# .htaccess, .htpasswd and the like are for no client, as Apache's own configuration says, unless
# this one overrides it.
SECRETS = Section(
    SectionKind.FILES_MATCH,
    r"^\.ht",
    _BUILT_IN,
    Pattern(r"^\.ht"),
    Settings({REQUIRE.name: _DENIED}),
    {REQUIRE.name: _BUILT_IN},
)

register(Module(name="mod_authz_core", identifier="authz_core_module", access=access, defaults=(SECRETS,)))
