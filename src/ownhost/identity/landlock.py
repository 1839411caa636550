"""landlock(7): rights that a process gives up on the file system, on TCP and on its neighbours, for
good and without root.

It is a second fence beside a process's uid and its filter of system calls: a filter sees no file
names. What is open already stays open, and Landlock does not cover Unix sockets by path. Kernels
know more of it from version to version (its ABI); each version gives up what it knows. If a kernel
has no Landlock, `missing` says so, for the log.

Sources: landlock(7), landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2),
linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from functools import cache

from ownhost.identity.system_calls import system_call

_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH, _NET_PORT = 1, 2  # LANDLOCK_RULE_*


class Files(IntFlag):
    """Rights on files (LANDLOCK_ACCESS_FS_*)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # version 2: into another folder
    TRUNCATE = 1 << 14  # version 3
    IOCTL_DEV = 1 << 15  # version 5: a device's own ioctls


class TCP(IntFlag):
    """Rights on ports (LANDLOCK_ACCESS_NET_*), from version 4 on."""

    BIND = 1 << 0
    CONNECT = 1 << 1


class Outside(IntFlag):
    """Things outside of the fence that are out of reach (LANDLOCK_SCOPE_*), from version 6 on."""

    ABSTRACT_SOCKETS = 1 << 0
    SIGNALS = 1 << 1


# The newest version that knows each kind, and what it adds. linux/landlock.h says the same in its comments.
_FILES = {1: 0x1FFF, 2: int(Files.REFER), 3: int(Files.TRUNCATE), 5: int(Files.IOCTL_DEV)}
_TCP = {4: int(TCP.BIND | TCP.CONNECT)}
_OUTSIDE = {6: int(Outside.ABSTRACT_SOCKETS | Outside.SIGNALS)}

# Numbers from here on: each worker applies its rules while a client waits, and sums of flags are
# slow to make.
_FOR_A_FILE = int(Files.EXECUTE | Files.WRITE_FILE | Files.READ_FILE | Files.TRUNCATE | Files.IOCTL_DEV)
_OF_A_DEVICE = int(Files.WRITE_FILE | Files.TRUNCATE | Files.IOCTL_DEV)

ALL_FILES = 0xFFFF
ALL_BUT_READING = ALL_FILES & ~int(Files.READ_FILE | Files.READ_DIR)
SPOOLING = int(Files.WRITE_FILE | Files.TRUNCATE | Files.MAKE_REG | Files.REMOVE_FILE)  # files that come and go
_REMOVING = int(Files.READ_DIR | Files.REMOVE_DIR | Files.REMOVE_FILE)
BIND = int(TCP.BIND)
ALL_TCP = int(TCP.BIND | TCP.CONNECT)
ALL_OUTSIDE = int(Outside.ABSTRACT_SOCKETS | Outside.SIGNALS)


class LandlockError(Exception):
    """The kernel did not apply rules that it knows. The process must end: nothing runs without them."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What is given up, and the exceptions: paths (what is beneath a folder, too), and TCP ports.

    Sums of `Files`, of `TCP`, of `Outside`.
    """

    files: int
    tcp: int
    outside: int
    beneath: tuple[tuple[str, int], ...] = ()
    ports: tuple[tuple[int, int], ...] = ()


# For processes that need no file and no other process: gates, the logger, examiners.
NOTHING = Fence(ALL_FILES, ALL_TCP, ALL_OUTSIDE)


def reading_only(writable: Iterable[str]) -> Fence:
    """For a worker: it reads what its uid may read, and changes nothing except in these folders.

    It may connect to any port. It may bind only to a port that the kernel chooses
    (ProxySourceAddress): port 0.
    """
    # A file opened under Landlock keeps its rights wherever it goes: a program may have /dev/null
    # from its worker.
    beneath = ((os.devnull, _OF_A_DEVICE), *((folder, SPOOLING) for folder in writable))
    return Fence(ALL_BUT_READING, BIND, ALL_OUTSIDE, beneath, ((0, BIND),))


def removing(folder: str) -> Fence:
    """For a sweeper: it looks into this folder, and removes its content."""
    return Fence(ALL_FILES, ALL_TCP, ALL_OUTSIDE, ((folder, _REMOVING),))


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr."""

    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("outside", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Port(ctypes.Structure):
    """struct landlock_net_port_attr."""

    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@cache
def version() -> int:
    """The kernel's version of Landlock; 0 if it has none, or it is switched off."""
    try:
        return system_call("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def missing() -> str:
    """Why there is no Landlock here, in one sentence; "" if there is."""
    if version():
        return ""
    return (
        "this kernel has no Landlock (Linux 5.13 has it, unless it is switched off): "
        "gates, workers and the logger run without it"
    )


def restrict(fence: Fence) -> None:
    """Apply these rules to this process, for good, as far as the kernel knows them. Needs no_new_privs or root.

    Paths that do not exist are skipped. Raises LandlockError.
    """
    if not version():
        return
    files = fence.files & _known(_FILES)
    tcp = fence.tcp & _known(_TCP)
    attributes = _Ruleset(files, tcp, fence.outside & _known(_OUTSIDE))
    try:
        ruleset = system_call("landlock_create_ruleset", bytes(attributes), ctypes.sizeof(attributes), 0)
        try:
            for path, allowed in fence.beneath:
                _allow_beneath(ruleset, path, allowed & files)
            for port, rights in fence.ports:
                if rights & tcp:
                    system_call("landlock_add_rule", ruleset, _NET_PORT, bytes(_Port(rights & tcp, port)), 0)
            system_call("landlock_restrict_self", ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise LandlockError(f"a process cannot be put behind its fence: {error}") from None


def _known(added: Mapping[int, int]) -> int:
    """The part of one kind that the kernel knows."""
    known = 0
    for since, more in added.items():
        if since <= version():
            known |= more
    return known


def _allow_beneath(ruleset: int, path: str, allowed: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            allowed &= _FOR_A_FILE
        if allowed:
            system_call("landlock_add_rule", ruleset, _PATH_BENEATH, bytes(_Beneath(allowed, parent)), 0)
    finally:
        os.close(parent)
