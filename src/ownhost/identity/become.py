"""Becoming an identity: set it, try to get root back, verify; die if it worked.

The order, and why:
1. the bounding set, while CAP_SETPCAP is there: no program executed later can bring a capability back (where programs
   may gain privileges, it stays: sudo without capabilities would be root in name only);
2. supplementary groups, then gid, then uid, all three ids of each: without CAP_SETUID none of the rest could be set;
3. the capability sets (the kernel empties them with the last uid that was 0; this says so whatever securebits say);
4. no_new_privs: no set-user-id program helps, and seccomp filters need no privilege;
5. the attempts to undo it, all of which must fail; then what the kernel says we are must be what was wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ownhost.identity import capabilities, prctl
from ownhost.identity.capabilities import Capability
from ownhost.identity.identity import Identity

SUPERVISOR = (Capability.DAC_OVERRIDE, Capability.NET_BIND_SERVICE)
FORKSERVER = (
    Capability.SETUID,
    Capability.SETGID,
    Capability.SETPCAP,
    Capability.KILL,
    Capability.SYS_NICE,
)


class BecomeError(Exception):
    """The process is not who it should be. It must end at once."""


def become(identity: Identity, *, no_new_privs: bool = True) -> None:
    """Become an identity for life. Raises BecomeError, OSError: upon either, the caller must end the process.

    Started without root's rights there is nothing to change, only to verify.
    """
    if os.geteuid() == 0:
        _drop(identity, bounded=no_new_privs)
    if no_new_privs:
        prctl.set_no_new_privs()
    _try_to_regain()
    _verify(identity)


def _drop(identity: Identity, *, bounded: bool) -> None:
    if not identity.uid or not identity.gid or 0 in identity.groups:
        raise BecomeError("nothing is ever served as uid 0 or with gid 0")
    if bounded:
        capabilities.bound(())
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    capabilities.keep(())


def _attempts() -> list[tuple[str, Callable[[], None]]]:
    return [
        ("setuid(0)", lambda: os.setuid(0)),
        ("seteuid(0)", lambda: os.seteuid(0)),
        ("setresuid(-1, 0, -1)", lambda: os.setresuid(-1, 0, -1)),
        ("setgid(0)", lambda: os.setgid(0)),
        ("setresgid(-1, -1, 0)", lambda: os.setresgid(-1, -1, 0)),
        ("setgroups", lambda: os.setgroups([0])),
        ("capset", lambda: capabilities.keep([Capability.SETUID])),
    ]


def _try_to_regain() -> None:
    for name, attempt in _attempts():
        try:
            attempt()
        except OSError:
            continue
        raise BecomeError(f"{name} worked after all privileges were dropped")


def _verify(identity: Identity) -> None:
    wanted = (identity.uid,) * 3, (identity.gid,) * 3, set(identity.groups)
    found = os.getresuid(), os.getresgid(), set(os.getgroups()) - {identity.gid}
    if found != (wanted[0], wanted[1], wanted[2] - {identity.gid}):
        raise BecomeError(f"this process is {found}, and should be {wanted}")
    sets = capabilities.current()
    if sets.effective or sets.permitted or sets.inheritable or sets.ambient:
        raise BecomeError(f"capabilities are left: {sets}")


def limit_supervisor(*, keep_capabilities: bool = False) -> None:
    """Give up what the supervisor does not use, for itself and for the log programs that it starts.

    `keep_capabilities` is EnableCapabilities Off: root as file systems know it that have never heard of capabilities.
    """
    if not keep_capabilities:
        capabilities.bound(SUPERVISOR)
        capabilities.keep(SUPERVISOR)
    prctl.set_no_new_privs()
    prctl.set_dumpable(False)


def limit_forkserver() -> None:
    """Give up what the forkserver does not use. Its bounding set stays: owners' programs need sudo, sendmail."""
    capabilities.keep(FORKSERVER)
