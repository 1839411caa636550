"""A resolver.

NAME        looks up the users and groups that one identity's requests name
TRUSTS      the supervisor; the user and group databases (nsswitch.conf(5)); no name
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls; it writes to no file
TALKS TO    the supervisor; what the databases use: nscd, sssd, LDAP
ENDS WHEN   its channel ends, which happens when the identity has no worker; it is ended if a database does
            not answer

The databases may be far away, and foreign code asks them. So no other process waits for them, and this
one has no rights.
"""

from __future__ import annotations

import time
from typing import NoReturn

from ownhost.identity import landlock, name_services, seccomp
from ownhost.identity.accounts import find
from ownhost.processes.heartbeat import OWN
from ownhost.processes.messages import Channel, Resolve, Resolved
from ownhost.processes.slices import receive_slice


def main(channel: Channel) -> NoReturn:
    """Answer one question after another: see the head of this file."""
    receive_slice(channel)  # there is nothing to be told
    landlock.restrict(landlock.reading_only(()))
    seccomp.install(seccomp.RESOLVER)
    while received := channel.receive():
        asked = received[0]
        assert isinstance(asked, Resolve)
        OWN.heartbeat.busy_since = time.monotonic()
        found = find(asked.user, asked.group)
        channel.send(Resolved(asked.serial, found.name, found.uid, found.gid, list(found.groups)))
        OWN.heartbeat.busy_since = 0.0
    raise SystemExit(0)


def rehearse() -> None:
    """Prepare the filter, and load the libraries of the databases: later nothing can be loaded."""
    seccomp.compiled(seccomp.RESOLVER)
    name_services.load()
    find("rehearsal", "rehearsal")
    find("#0", "#0")  # root's groups are looked up, too
