"""What a child gives up of its parent's identity: the bounding set, groups, uids, capabilities, keyring."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ownhost.identity import capabilities, keyrings, prctl
from ownhost.identity.capabilities import Capability
from ownhost.identity.shedding.line import Attempt, BecomeError, Line, Wanted, differs, in_full
from ownhost.identity.shedding.seen import Seen

# Users, groups, capabilities: credentials(7), capabilities(7). The bounding set is dropped while
# CAP_SETPCAP is there. Groups and gids go before uids: without CAP_SETUID none of the rest could be
# set. The kernel empties the capability sets with the last uid that was 0. They are set explicitly,
# too, so that this holds whatever securebits say.


def _shed_bounding_set(_wanted: Wanted) -> None:
    capabilities.bound(())


def _wrong_bounding_set(seen: Seen, _wanted: Wanted) -> str:
    return differs("the bounding set", hex(seen.bounding), "0x0")


# If programs may gain privileges, it stays: sudo without capabilities would be root in name only.
BOUNDING_SET = Line(
    "bounding set",
    _shed_bounding_set,
    wrong=_wrong_bounding_set,
    when=lambda wanted: wanted.before.root and wanted.no_new_privs,
)


def _shed_groups(wanted: Wanted) -> None:
    identity = wanted.identity
    if wanted.before.root:
        if not identity.uid or not identity.gid or 0 in identity.groups:
            raise BecomeError("nothing is ever served as uid 0 or with gid 0")
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)


def _attempt_groups(_wanted: Wanted) -> Iterator[Attempt]:
    yield "setgid(0)", lambda: os.setgid(0)
    yield "setresgid(-1, -1, 0)", lambda: os.setresgid(-1, -1, 0)
    yield "setgroups", lambda: os.setgroups([0])


def _wrong_groups(seen: Seen, wanted: Wanted) -> str:
    identity = wanted.identity
    found = seen.gids, seen.groups - {identity.gid}
    return differs("the set of groups", found, ((identity.gid,) * 4, frozenset(identity.groups) - {identity.gid}))


GROUPS = Line("groups", _shed_groups, _attempt_groups, _wrong_groups)


def _shed_uids(wanted: Wanted) -> None:
    if wanted.before.root:
        os.setresuid(wanted.identity.uid, wanted.identity.uid, wanted.identity.uid)


def _attempt_uids(_wanted: Wanted) -> Iterator[Attempt]:
    yield "setuid(0)", lambda: os.setuid(0)
    yield "seteuid(0)", lambda: os.seteuid(0)
    yield "setresuid(-1, 0, -1)", lambda: os.setresuid(-1, 0, -1)


def _wrong_uids(seen: Seen, wanted: Wanted) -> str:
    return differs("the set of uids", seen.uids, (wanted.identity.uid,) * 4)


UIDS = Line("uids", _shed_uids, _attempt_uids, _wrong_uids)


def _shed_capabilities(wanted: Wanted) -> None:
    if wanted.before.root:
        capabilities.keep(())


def _attempt_capabilities(_wanted: Wanted) -> Iterator[Attempt]:
    yield "capset", lambda: capabilities.keep([Capability.SETUID])
    yield "securebits", lambda: prctl.prctl(prctl.PR_SET_SECUREBITS, 1)


def _wrong_capabilities(seen: Seen, _wanted: Wanted) -> str:
    left = seen.effective | seen.permitted | seen.inheritable | seen.ambient
    return differs("the set of capabilities", hex(left), "0x0")


CAPABILITIES = Line("capabilities", _shed_capabilities, _attempt_capabilities, _wrong_capabilities)


# The session keyring: session-keyring(7). Joined as the owner, so it counts for the owner's quota.


def _shed_keyring(_wanted: Wanted) -> None:
    keyrings.join_new_session_keyring()


def _attempt_keyring(wanted: Wanted) -> Iterator[Attempt]:
    if wanted.before.root and wanted.before.keyring:
        yield "the parent's keyring", lambda: keyrings.read_keyring(wanted.before.keyring)


def _wrong_keyring(_seen: Seen, wanted: Wanted) -> str:
    return (
        "the session keyring is still the parent's" if wanted.before.keyring == keyrings.session_keyring() != 0 else ""
    )


KEYRING = Line("keyring", _shed_keyring, _attempt_keyring, _wrong_keyring)


# no_new_privs: no set-user-id program helps, and seccomp filters need no privilege (PR_SET_NO_NEW_PRIVS(2const)).


def _shed_new_privs(_wanted: Wanted) -> None:
    prctl.set_no_new_privs()


def _wrong_new_privs(seen: Seen, _wanted: Wanted) -> str:
    return differs("no_new_privs", seen.no_new_privs, True)


NEW_PRIVILEGES = Line(
    "new privileges", _shed_new_privs, wrong=_wrong_new_privs, when=lambda wanted: wanted.no_new_privs
)


# Dumpable: whether another process of the same uid may look in (PR_SET_DUMPABLE(2const)). A change
# of credentials and execve reset it.


def _shed_dumpable(_wanted: Wanted) -> None:
    prctl.set_dumpable(False)


def _wrong_dumpable(seen: Seen, _wanted: Wanted) -> str:
    return differs("dumpable", seen.dumpable, False)


DUMPABLE = Line("dumpable", _shed_dumpable, wrong=_wrong_dumpable, when=in_full)
