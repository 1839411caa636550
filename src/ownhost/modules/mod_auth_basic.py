"""mod_auth_basic: a name and a password with each request (RFC 7617).

Other modules add providers to `PROVIDERS`: each knows the hashes of some users' passwords.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from ownhost.config.arguments import choice, flag, known_word, words
from ownhost.config.directive import ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import parse_string
from ownhost.config.words import Word, Words
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.http.wire import from_bytes, to_bytes, wire
from ownhost.modules.mod_authn_core import AUTH_NAME, AUTH_TYPE, IN_SECTIONS, SCHEMES, Scheme, text
from ownhost.modules.passwords.checks import Check, checks
from ownhost.request import expressions
from ownhost.request.module import Module, register
from ownhost.request.redirects import answer
from ownhost.request.request import Request

_BASE64 = re.compile(r"[A-Za-z0-9+/]*")


class Found(Enum):
    """A provider's answer about a user whose hash it does not have."""

    NOBODY = auto()  # there is no such user
    BROKEN = auto()  # it cannot tell; it has logged why


Provider = Callable[[Request, bytes], "bytes | Found"]  # a user's name to the hash of the password

PROVIDERS: Words[Provider] = Words("Providers of AuthBasicProvider", "provider")


@dataclass(frozen=True, slots=True)
class Fake:
    """The user and the password that programs and servers behind are told, whoever the client is."""

    user: StringExpression
    password: StringExpression


def parse_providers(call: Call) -> tuple[str, ...]:
    """Names of providers, in the order in which they are asked."""
    return tuple(known_word(PROVIDERS, name).name for name in words(1)(call))


def parse_fake(call: Call) -> Fake | None:
    """off, or a user and a password."""
    user, *password = words(1, 2)(call)
    if user.lower() == "off" and not password:
        return None
    return Fake(parse_string(user), parse_string(password[0] if password else "password"))


def parse_algorithm(call: Call) -> None:
    """Off: hashes of HTTP Digest authentication cannot be used."""
    if not choice({"Off": True, "MD5": False})(call):
        raise ArgumentError("MD5 is not supported: expected Off, and hashes of passwords as htpasswd writes them")


BASIC_PROVIDERS: Setting[tuple[str, ...]] = Setting("AuthBasicProvider", ("file",))
AUTHORITATIVE = Setting("AuthBasicAuthoritative", True)
FAKE: Setting[Fake | None] = Setting("AuthBasicFake", None)
DIGEST_ALGORITHM: Setting[None] = Setting("AuthBasicUseDigestAlgorithm", None)

for _directive in (
    Directive(
        name="AuthBasicProvider",
        module="mod_auth_basic",
        syntax="provider...",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        default="file",
        help="Where the passwords of users are looked up.",
        parse=parse_providers,
        setting=BASIC_PROVIDERS,
        words=(PROVIDERS,),
    ),
    Directive(
        name="AuthBasicAuthoritative",
        module="mod_auth_basic",
        syntax="On|Off",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        default="On",
        help="Whether a user whom no provider knows is refused, or left to other modules: here, a 500.",
        parse=flag(),
        setting=AUTHORITATIVE,
    ),
    Directive(
        name="AuthBasicFake",
        module="mod_auth_basic",
        syntax="off|username [password]",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        default="off",
        help="The user and the password that programs and servers behind are told in place of the client's.",
        parse=parse_fake,
        setting=FAKE,
    ),
    Directive(
        name="AuthBasicUseDigestAlgorithm",
        module="mod_auth_basic",
        syntax="Off",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        default="Off",
        help="Whether hashes are those of HTTP Digest authentication.",
        differs="MD5 is an error.",
        parse=parse_algorithm,
        setting=DIGEST_ALGORITHM,
    ),
):
    declare(_directive)


# Deciding


def authenticate(request: Request) -> Response | bool:
    """Set a request's user, if the password is right. False: no provider knows the user, and others may."""
    request.pure = False
    if not request.settings[AUTH_NAME]:
        raise HTTPError(500, f"AH01615: need AuthName: {request.uri}", module="auth_basic")
    request.auth_type = text(request, request.settings[AUTH_TYPE])
    user, password = _credentials(request)
    known = _look_up(request, user)
    if isinstance(known, Found):
        if not request.settings[AUTHORITATIVE]:
            return False
        if known is Found.BROKEN:
            raise _failed(request, user, HTTPError(500))
        raise _failed(request, user, _wrong(request, f"AH01618: user {from_bytes(user)} not found: {request.uri}"))
    check = Check(password, known)
    right = checks().outcome(check)
    if right is None:
        if _may_wait(request):
            return _later(request, check)
        right = checks().decide(check)
    if not right:
        failed = f'AH01617: user {from_bytes(user)}: authentication failure for "{request.uri}": Password Mismatch'
        raise _failed(request, user, _wrong(request, failed))
    request.user = from_bytes(user)
    return True


def _credentials(request: Request) -> tuple[bytes, bytes]:
    """The name and the password that a client sent. Raises HTTPError 401 if there are none."""
    given = request.head.values.get("authorization")
    if given is None:
        raise HTTPError(401, headers=challenge(request))
    scheme, _, coded = given.partition(" ")
    if scheme.lower() != "basic":
        raise _wrong(request, f"AH01614: client used wrong authentication scheme: {request.uri}")
    user, _, password = _decoded(coded.lstrip(" ")).partition(b":")
    return user, password


def _decoded(coded: str) -> bytes:
    """Base64 up to the first other character, with or without its end. What is behind a NUL does not count."""
    found = _BASE64.match(coded)
    digits = found[0] if found is not None else ""
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return base64.b64decode(digits + "=" * (-len(digits) % 4)).partition(b"\0")[0]


def _look_up(request: Request, user: bytes) -> bytes | Found:
    """The hash of a user's password, by the first provider that knows the user."""
    for name in request.settings[BASIC_PROVIDERS]:
        known = PROVIDERS.known[name].means(request, user)
        if known is not Found.NOBODY:
            return known
    return Found.NOBODY


def _failed(request: Request, user: bytes, error: HTTPError) -> HTTPError:
    """An error that ends a request, whose log lines name the user as in Apache: no rule is asked about it any more."""
    request.user = from_bytes(user)
    return error


def _wrong(request: Request, reason: str) -> HTTPError:
    return HTTPError(401, reason, challenge(request), module="auth_basic")


def challenge(request: Request) -> tuple[tuple[str, str], ...]:
    """The field that asks for a password."""
    realm = wire(text(request, request.settings[AUTH_NAME])).replace("\\", "\\\\").replace('"', '\\"')
    return (("WWW-Authenticate", f'Basic realm="{realm}"'),)


# Waiting


def _may_wait(request: Request) -> bool:
    """Whether a check may take its time: for what a client asks, not for what the server looks up on the way.

    A process without an event loop, such as `ownhost explain`, has nothing else to do.
    """
    if request.previous is not None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _later(request: Request, check: Check) -> Response:
    """The response that follows when a password was checked. The request stands still at its access phase."""

    async def go_on(_body: RequestBody) -> Response:
        await checks().wait(check)
        return answer(request)

    return Response(200, deferred=go_on)


# AuthBasicFake


def fixup(request: Request) -> Response | None:
    """Replace the Authorization field, for those who answer."""
    fake = request.settings[FAKE]
    if fake is None:
        return None
    request.pure = False
    said = f"{expressions.value(fake.user, request)}:{expressions.value(fake.password, request)}"
    own = "Basic " + base64.b64encode(to_bytes(said)).decode()
    # Requests share heads that were read: a changed head is a new one.
    fields = [field for field in request.head.fields if field[0].lower() != "authorization"]
    values = {**request.head.values, "authorization": own}
    request.head = replace(request.head, fields=[*fields, ("Authorization", own)], values=values)
    return None


SCHEMES.add(Word("Basic", "", "A name and a password with each request.", Scheme(authenticate, challenge)))

# After all others: the client's own field is what they look at.
register(
    Module(
        name="mod_auth_basic",
        identifier="auth_basic_module",
        order=90,
        uses=lambda server: server.says(FAKE),
        fixup=fixup,
    )
)
