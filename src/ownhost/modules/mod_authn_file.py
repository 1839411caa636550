"""mod_authn_file: users and the hashes of their passwords in a file, as htpasswd(1) writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownhost.config.arguments import path
from ownhost.config.directive import Directive, Override, Setting, declare
from ownhost.config.words import Word
from ownhost.modules.mod_auth_basic import PROVIDERS, Found
from ownhost.modules.mod_authn_core import IN_SECTIONS
from ownhost.modules.passwords.files import Files
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request

AUTH_USER_FILE = Setting("AuthUserFile", "")

declare(
    Directive(
        name="AuthUserFile",
        module="mod_authn_file",
        syntax="file",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        help="The file with users and the hashes of their passwords: `user:hash` lines. Its owner is who serves.",
        parse=path(),
        setting=AUTH_USER_FILE,
    )
)

_COLONS = re.compile(rb":+")


def parse_users(lines: Iterator[bytes]) -> dict[bytes, bytes]:
    """The hash of each user. A user's first line counts; what follows a second colon does not."""
    found: dict[bytes, bytes] = {}
    for line in lines:
        user, *rest = _COLONS.split(line, maxsplit=2)
        found.setdefault(user, rest[0] if rest else b"")
    return found


USERS = Files(parse_users)


def look_up(request: Request, user: bytes) -> bytes | Found:
    """The hash of a user's password."""
    name = request.settings[AUTH_USER_FILE]
    if not name:
        request.log(Level.ERROR, "authn_file", "AH01619: AuthUserFile not specified in the configuration")
        return Found.BROKEN
    try:
        known = USERS.content(name).get(user)
    except OSError as error:
        request.log(Level.ERROR, "authn_file", f"AH01620: Could not open password file: {name}: {error.strerror}")
        return Found.BROKEN
    return Found.NOBODY if known is None else known


PROVIDERS.add(Word("file", "", "The file that AuthUserFile names.", look_up))

register(Module(name="mod_authn_file", identifier="authn_file_module"))
