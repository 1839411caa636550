"""The users of neutral processes: an identity for each role, which no site can have.

If a gate or a logger had the uid of a site, that site's programs could stop, limit or slow it down:
kill(2), prlimit(2) and setpriority(2) require nothing but the same uid. So each role has its own
account (`ownhost-gate`) if it exists, else a number that is reserved for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ownhost.config.arguments import choice_of, number, words
from ownhost.config.directive import SERVER_ONLY, Call, Directive, Setting, declare
from ownhost.identity.accounts import ANY, Account, Database, Found, System
from ownhost.identity.identity import Assignment, Identity, Refusal

# No account of Debian's or systemd's has one of these. 65534 is nobody's.
RESERVED = {"gate": 65_530, "logger": 65_531, "front": 65_532, "resolver": 65_533}

# The identity of a complete assignment, from the databases, or the reason why there is none.
Judge = Callable[[Assignment, Found], Identity | Refusal]


def merge(before: Mapping[str, str] | None, after: Mapping[str, str]) -> Mapping[str, str]:
    """The values of several lines, for different roles."""
    return {**(before or {}), **after}


ROLE_USERS: Setting[Mapping[str, str]] = Setting("RoleUser", {}, merge=merge)


def parse_role(call: Call) -> Mapping[str, str]:
    """A role, and a user's name or a number, with or without #."""
    role, user = words(2, 2)(call)
    of_role = choice_of({name: name for name in RESERVED})(role)
    digits = user.removeprefix("#")
    if digits.isascii() and digits.isdigit():
        return {of_role: f"#{number(digits, 1, ANY[1])}"}
    return {of_role: user}


def identities_of(said: Mapping[str, str], database: Database | None = None) -> dict[str, Identity] | Refusal:
    """The identity of each role, or the reason why one of them has none. `said` is the value of RoleUser."""
    database = database or System()
    found: dict[str, Identity] = {}
    for role, reserved in RESERVED.items():
        account = _account(role, said.get(role), reserved, database)
        if isinstance(account, Refusal):
            return account
        if not account.uid or not account.gid:
            return Refusal(f"RoleUser {role}: no {role} ever runs as root, or with root's group")
        other = next((name for name, one in found.items() if one.uid == account.uid or one.gid == account.gid), None)
        if other is not None:
            return Refusal(f"RoleUser {role}: uid {account.uid} or gid {account.gid} is the {other}'s already")
        found[role] = Identity(account.uid, account.gid, (), account.name)
    return found


def _account(role: str, said: str | None, reserved: int, database: Database) -> Account | Refusal:
    """The account of a name; a number without an account; by default the role's account, else its reserved number."""
    own = f"ownhost-{role}"
    if said is None:
        account = database.user(own)
        if account is not None:
            return account
    elif not said.startswith("#"):
        return database.user(said) or Refusal(f"RoleUser {role}: there is no user named {said!r}")
    uid = reserved if said is None else int(said[1:])
    taken = database.user_of(uid)
    if taken is not None and taken.name != own:
        return Refusal(
            f"the {role} would run as uid {uid}, which is the account {taken.name}'s: "
            f"choose an unused one (RoleUser {role} NUMBER), or make an account {own}"
        )
    return taken or Account(f"#{uid}", uid, uid)


def reserved_for(roles: Mapping[str, Identity], judge: Judge) -> Judge:
    """A judge that refuses a site the identity of a role, or its group."""
    uids = {one.uid: role for role, one in roles.items()}
    gids = {one.gid: role for role, one in roles.items()}

    def stricter(assignment: Assignment, said: Found) -> Identity | Refusal:
        found = judge(assignment, said)
        if isinstance(found, Refusal):
            return found
        if found.uid in uids:
            return Refusal(f"uid {found.uid} is the {uids[found.uid]}'s own (RoleUser): no site may be served as it")
        if found.gid in gids:
            return Refusal(f"gid {found.gid} is the {gids[found.gid]}'s own (RoleUser): no site may be served with it")
        return replace(found, groups=tuple(gid for gid in found.groups if gid not in gids))

    return stricter


declare(
    Directive(
        name="RoleUser",
        module="ownhost",
        syntax="|".join(RESERVED) + " name|number",
        where=SERVER_ONLY,
        default="the account ownhost-ROLE, else " + ", ".join(f"{role} {uid}" for role, uid in RESERVED.items()),
        help=(
            "The user, with its group, that the gates, the logger, the fronts or the resolvers run "
            "as. No site may be served as one of them. Ownhost's own directive."
        ),
        parse=parse_role,
        setting=ROLE_USERS,
        fold=merge,
    )
)
