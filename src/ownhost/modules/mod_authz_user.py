"""mod_authz_user: rules about who the client is: Require user, valid-user."""

from __future__ import annotations

from ownhost.config import lexer
from ownhost.config.arguments import words
from ownhost.config.directive import Call
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import is_plain, parse_string
from ownhost.config.words import Word
from ownhost.modules.mod_authz_core import PROVIDERS, Provider, Verdict
from ownhost.request import expressions
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request

Names = tuple[str, ...] | StringExpression  # computed for each request, if there is a %{...} in them


def parse_names(call: Call) -> Names:
    """Names of users, or of groups."""
    found = words(1)(call)
    return found if is_plain(call.raw) else parse_string(call.raw)


def names_of(request: Request, said: Names) -> tuple[str, ...]:
    """The names in a rule, for a request."""
    return lexer.words(expressions.value(said, request)) if isinstance(said, StringExpression) else said


def known_user(request: Request) -> str | None:
    """The user of a request; None if that is not known yet. What is decided by it is for this client only."""
    request.pure = False
    return request.user


def seen_user(request: Request) -> str:
    """Who the client is, for people."""
    return f"the user is {request.user}" if request.user is not None else ""


def _check_user(request: Request, said: Names) -> Verdict:
    user = known_user(request)
    if user is None:
        return Verdict.NEEDS_USER
    if user in names_of(request, said):
        return Verdict.GRANTED
    reason = f"reason: user '{user}' does not meet 'require'ments for user to be allowed access"
    request.log(Level.DEBUG, "authz_user", f"AH01663: access to {request.uri} failed, {reason}")
    return Verdict.DENIED


def _check_valid(request: Request, _: object) -> Verdict:
    return Verdict.NEEDS_USER if known_user(request) is None else Verdict.GRANTED


PROVIDERS.add(
    Word("user", "name...", "Lets in the users with these names.", Provider(parse_names, _check_user, seen_user))
)
PROVIDERS.add(
    Word("valid-user", "", "Lets in every user with a password.", Provider(words(0, 0), _check_valid, seen_user))
)

register(Module(name="mod_authz_user", identifier="authz_user_module"))
