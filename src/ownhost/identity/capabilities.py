"""capabilities(7): reading and giving up. Nothing here ever gains one."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from ownhost.identity.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    libc,
    prctl,
)

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: 64 bits in two words


class Capability(IntEnum):
    """The capabilities that any process of Ownhost keeps, by the kernel's numbers."""

    DAC_OVERRIDE = 1
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_BIND_SERVICE = 10
    SYS_NICE = 23
    SYS_RESOURCE = 24


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """A process's capability sets, as bit masks."""

    effective: int
    permitted: int
    inheritable: int
    bounding: int
    ambient: int

    @property
    def empty(self) -> bool:
        """Whether all of them are empty."""
        return not (self.effective | self.permitted | self.inheritable | self.bounding | self.ambient)


def current() -> CapabilitySets:
    """This process's sets, as /proc shows them."""
    with open("/proc/thread-self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    names = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
    return CapabilitySets(*(int(lines[name], 16) for name in names))


def keep(capabilities: Iterable[Capability]) -> None:
    """Make these the effective and permitted sets, and the inheritable and ambient sets empty. Raises OSError."""
    mask = sum(1 << capability for capability in capabilities)
    with contextlib.suppress(OSError):  # kernels before 4.3 have no ambient set
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    data = (_Data * 2)()
    for word in (0, 1):
        data[word].effective = data[word].permitted = mask >> 32 * word & 0xFFFF_FFFF
    if libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def present(capabilities: Iterable[Capability]) -> list[Capability]:
    """The given ones that this process has: in a container, root may have fewer than elsewhere."""
    permitted = current().permitted
    return [capability for capability in capabilities if permitted >> capability & 1]


def bound(capabilities: Iterable[Capability]) -> None:
    """Drop everything but these from the bounding set: no execve gives more. Needs CAP_SETPCAP. Raises OSError."""
    kept = set(capabilities)
    for number in range(64):
        try:
            present = prctl(PR_CAPBSET_READ, number)
        except OSError:
            return  # the kernel knows no more
        if present and number not in kept:
            prctl(PR_CAPBSET_DROP, number)
