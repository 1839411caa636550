"""mod_authn_core: how clients prove who they are (AuthType), and for what (AuthName).

Other modules add schemes to `SCHEMES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.arguments import known_word, single
from ownhost.config.directive import ArgumentError, Call, Directive, Override, Setting, Where, declare
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import is_plain, parse_string
from ownhost.config.words import Word, Words
from ownhost.http.message import HTTPError, Response
from ownhost.request import expressions
from ownhost.request.module import Module, register
from ownhost.request.request import Request

IN_SECTIONS = Where.DIRECTORY | Where.HTACCESS
NONE = "None"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way for clients to prove who they are.

    `authenticate` sets the request's user, or returns False: the scheme leaves it to others. It
    returns a Response if the proof takes time: when that was waited for, it is asked again. It
    raises HTTPError for a client that did not prove it. `challenge` gives the fields of a 401.
    """

    authenticate: Callable[[Request], Response | bool]
    challenge: Callable[[Request], tuple[tuple[str, str], ...]]


SCHEMES: Words[Scheme | None] = Words("Types of AuthType", "type", any_case=True)
SCHEMES.add(Word(NONE, "", "Clients are not asked.", None))
# Types that are modules of their own in Apache.
_NOT_YET = frozenset(("digest", "form"))

Text = str | StringExpression  # computed for each request, if it contains %{...}


def parse_type(call: Call) -> Text:
    """A type's name. Unknown ones are refused."""
    word = single(call)
    if not is_plain(word):
        return parse_string(word)
    if word.lower() in _NOT_YET:
        raise ArgumentError(f"{word} is not supported yet; expected Basic or None")
    return known_word(SCHEMES, word).name


def parse_text(call: Call) -> Text:
    """One word, or a text with %{...} in it."""
    word = single(call)
    return word if is_plain(word) else parse_string(word)


AUTH_TYPE: Setting[Text] = Setting("AuthType", NONE)
AUTH_NAME: Setting[Text] = Setting("AuthName", "")

declare(
    Directive(
        name="AuthType",
        module="mod_authn_core",
        syntax="None|Basic",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        default=NONE,
        help="How clients prove who they are, where Require asks for a user.",
        parse=parse_type,
        setting=AUTH_TYPE,
        words=(SCHEMES,),
    )
)
declare(
    Directive(
        name="AuthName",
        module="mod_authn_core",
        syntax="realm",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        help="The realm: what browsers show when they ask for a password, and remember it for.",
        parse=parse_text,
        setting=AUTH_NAME,
    )
)


def text(request: Request, said: Text) -> str:
    """The value of a text for a request."""
    return said if isinstance(said, str) else expressions.value(said, request)


def scheme_of(request: Request) -> tuple[str, Scheme | None]:
    """The type for a request, and its scheme. The type is "" where clients are not asked."""
    name = text(request, request.settings[AUTH_TYPE])
    word = SCHEMES.get(name)
    return ("" if name.lower() == NONE.lower() else name), (word.means if word is not None else None)


def authenticate(request: Request) -> Response | None:
    """Find out who the client is. Returns a Response that is waited for. Raises HTTPError.

    Where no type is configured, the request has no user afterwards.
    """
    name, scheme = scheme_of(request)
    if not name:
        return None
    done = scheme.authenticate(request) if scheme is not None else False
    if done is False:
        raise HTTPError(500, f"AH01796: AuthType {name} configured without corresponding module", module="authn_core")
    return None if done is True else done


register(Module(name="mod_authn_core", identifier="authn_core_module"))
