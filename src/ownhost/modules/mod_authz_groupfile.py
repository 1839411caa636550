"""mod_authz_groupfile: rules about groups of users, which are in a file: Require group, file-group."""

from __future__ import annotations

from collections.abc import Iterator

from ownhost.config import lexer
from ownhost.config.arguments import path, words
from ownhost.config.directive import Directive, Override, Setting, declare
from ownhost.config.words import Word
from ownhost.http.wire import from_bytes
from ownhost.modules.mod_authz_core import IN_SECTIONS, PROVIDERS, Provider, Verdict
from ownhost.modules.mod_authz_user import Names, known_user, names_of, parse_names, seen_user
from ownhost.modules.passwords.files import Files
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request
from ownhost.request.variables import group

AUTH_GROUP_FILE = Setting("AuthGroupFile", "")

declare(
    Directive(
        name="AuthGroupFile",
        module="mod_authz_groupfile",
        syntax="file",
        where=IN_SECTIONS,
        override=Override.AUTH_CONFIG,
        help="The file with groups of users: `group: user user` lines.",
        parse=path(),
        setting=AUTH_GROUP_FILE,
    )
)


def parse_groups(lines: Iterator[bytes]) -> dict[str, frozenset[str]]:
    """The groups of each user, in lower case. A group may have several lines."""
    found: dict[str, set[str]] = {}
    for line in lines:
        name, _, users = from_bytes(line).partition(":")
        for user in lexer.words(users):
            found.setdefault(user, set()).add(name.strip().lower())
    return {user: frozenset(groups) for user, groups in found.items()}


GROUPS = Files(parse_groups)


def _check_group(request: Request, said: Names) -> Verdict:
    user = known_user(request)
    if user is None:
        return Verdict.NEEDS_USER
    groups = groups_of(request, user, ("AH01664", "AH01665", "AH01666"))
    if groups is None:
        return Verdict.DENIED
    if not groups.isdisjoint(name.lower() for name in names_of(request, said)):
        return Verdict.GRANTED
    _refuse(request, "AH01667", "user is not part of the 'require'ed group(s).", Level.DEBUG)
    return Verdict.DENIED


def _check_file_group(request: Request, _: object) -> Verdict:
    user = known_user(request)
    if user is None:
        return Verdict.NEEDS_USER
    groups = groups_of(request, user, ("AH01668", "AH01669", "AH01670"))
    if groups is None:
        return Verdict.DENIED
    if group(request).lower() in groups:
        return Verdict.GRANTED
    _refuse(request, "AH01671", "user is not part of the 'require'ed file group.", Level.DEBUG)
    return Verdict.DENIED


def groups_of(request: Request, user: str, numbers: tuple[str, str, str]) -> frozenset[str] | None:
    """The groups of a user, in lower case; None if there are none, which is logged with one of the numbers."""
    unset, unreadable, empty = numbers
    name = request.settings[AUTH_GROUP_FILE]
    if not name:
        request.log(Level.ERROR, "authz_groupfile", f"{unset}: No group file was specified in the configuration")
        return None
    try:
        groups = GROUPS.content(name).get(user)
    except OSError as error:
        said = f"{unreadable}: Could not open group file: {name}: {error.strerror}"
        request.log(Level.ERROR, "authz_groupfile", said)
        return None
    if groups is None:
        _refuse(request, empty, f"user doesn't appear in group file ({name}).", Level.INFO)
    return groups


def _refuse(request: Request, number: str, reason: str, level: Level) -> None:
    said = f"Authorization of user {request.user} to access {request.uri} failed, reason: {reason}"
    request.log(level, "authz_groupfile", f"{number}: {said}")


PROVIDERS.add(
    Word("group", "name...", "Lets in the users in these groups.", Provider(parse_names, _check_group, seen_user))
)
PROVIDERS.add(
    Word(
        "file-group",
        "",
        "Lets in the users in the group with the name of the file's group.",
        Provider(words(0, 0), _check_file_group, seen_user),
    )
)

register(Module(name="mod_authz_groupfile", identifier="authz_groupfile_module"))
