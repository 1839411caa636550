"""Becoming an identity, and the rights that root's two processes keep: see `shedding.walk` for the list."""

from __future__ import annotations

from ownhost.identity import capabilities, prctl
from ownhost.identity.capabilities import Capability
from ownhost.identity.identity import Identity
from ownhost.identity.shedding.line import Before, Wanted
from ownhost.identity.shedding.walk import shed

SUPERVISOR = (Capability.DAC_OVERRIDE, Capability.NET_BIND_SERVICE)
FORKSERVER = (
    Capability.SETUID,
    Capability.SETGID,
    Capability.SETPCAP,
    Capability.KILL,
    Capability.SYS_NICE,
)
IF_PRESENT = (Capability.SYS_RESOURCE,)  # of the forkserver's: many containers have none


def become(identity: Identity, *, no_new_privs: bool = True) -> None:
    """Become an identity for life, as a part of a command. Raises BecomeError, OSError: then the process must end."""
    shed(Wanted(identity, Before.now(), no_new_privs=no_new_privs))


def limit_supervisor(*, keep_capabilities: bool = False) -> None:
    """Give up what the supervisor does not use, for itself and for the log programs that it starts.

    `keep_capabilities` is EnableCapabilities Off: then it keeps all of root's, for file systems
    that ignore capabilities.
    """
    if not keep_capabilities:
        capabilities.bound(SUPERVISOR)
        capabilities.keep(SUPERVISOR)
    prctl.set_no_new_privs()
    prctl.set_dumpable(False)


def limit_forkserver() -> None:
    """Give up what the forkserver does not use. Its bounding set stays: owners' programs need sudo, sendmail."""
    capabilities.keep((*FORKSERVER, *capabilities.present(IF_PRESENT)))


def limit_confined_forkserver() -> None:
    """Give up what the confined forkserver does not use: its children execute nothing, so they need nothing else."""
    kept = (*FORKSERVER, *capabilities.present(IF_PRESENT))
    capabilities.bound(kept)
    capabilities.keep(kept)
