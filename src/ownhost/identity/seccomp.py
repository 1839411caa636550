"""seccomp(2) filters, through libseccomp: which system calls a process near the network may make.

Names, not numbers: libseccomp knows them for each architecture, and skips those that one lacks. Every filter also
ends a process that calls through a foreign architecture's table (x32 and i386 on x86-64).
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from ownhost.identity import prctl

ALLOW = 0x7FFF_0000  # SCMP_ACT_ALLOW
KILL = 0x8000_0000  # SCMP_ACT_KILL_PROCESS


def refuse(number: int) -> int:
    """The action that makes a system call fail with this errno (SCMP_ACT_ERRNO)."""
    return 0x0005_0000 | number


class SeccompError(Exception):
    """The filter could not be installed. The process must end: nothing runs unfenced."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A filter: what happens to system calls that no rule names, and the rules (action to names)."""

    default: int
    rules: tuple[tuple[int, tuple[str, ...]], ...]


# What only an attacker asks for in a process that serves: to become somebody, to run something, to look into others.
BECOMING = (
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
    "capset",
    "setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32",
    "setgroups32",
)  # fmt: skip
RUNNING = ("execve", "execveat")
LOOKING = ("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp")
SYSTEM = (
    "mount", "umount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
    "open_tree", "mount_setattr", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key",
    "request_key", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
    "swapoff", "open_by_handle_at", "name_to_handle_at", "personality", "quotactl", "quotactl_fd", "acct",
    "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "syslog", "iopl", "ioperm",
    "lookup_dcookie", "nfsservctl", "vhangup", "migrate_pages", "move_pages", "set_mempolicy", "mbind", "vmsplice",
    "memfd_secret", "landlock_create_ruleset", "modify_ldt", "seccomp", "setpriority", "sched_setscheduler",
    "sched_setattr", "sched_setparam", "ioprio_set",
)  # fmt: skip
IO_URING = ("io_uring_setup", "io_uring_enter", "io_uring_register")

# What Python itself needs to go on living, whatever it does.
LIVING = (
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "futex_waitv", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigaltstack", "exit", "exit_group", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid",
    "getegid", "getrandom", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "restart_syscall", "sched_yield", "rseq", "set_robust_list", "get_robust_list", "membarrier", "close", "read",
    "write", "writev", "fcntl", "fcntl64", "fstat", "fstat64", "lseek", "_llseek", "poll", "ppoll", "select",
    "pselect6",
    "tgkill", "uname", "prlimit64", "getrlimit", "ugetrlimit", "sched_getaffinity",
)  # fmt: skip
EPOLL = ("epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2")
TALKING = (
    "recv", "recvfrom", "recvmsg", "send", "sendto", "sendmsg", "getsockname", "getpeername", "getsockopt",
    "setsockopt",
    "shutdown", "ioctl",
)  # fmt: skip

# A gate accepts, looks, passes on. It opens no file and makes no socket.
GATE = Policy(
    refuse(errno.EPERM),
    (
        (ALLOW, (*LIVING, *EPOLL, *TALKING, "accept", "accept4", "setitimer")),
        (KILL, (*BECOMING, *RUNNING, *LOOKING, *IO_URING)),
    ),
)

# A front takes connections from gates, and makes socket pairs.
FRONT = Policy(
    refuse(errno.EPERM),
    (
        (ALLOW, (*LIVING, *EPOLL, *TALKING, "socketpair")),
        (KILL, (*BECOMING, *RUNNING, *LOOKING, *IO_URING)),
    ),
)

# The logger takes lines in and writes them to what it was given.
LOGGER = Policy(
    refuse(errno.EPERM),
    ((ALLOW, (*LIVING, *EPOLL, *TALKING)), (KILL, (*BECOMING, *RUNNING, *LOOKING, *IO_URING))),
)

# A worker opens its owner's files and, later, connects to backends: only the rest is refused. Refusals are errors,
# not deaths, so that a test, or an administrator with strace, sees them.
WORKER = Policy(
    ALLOW,
    (
        (refuse(errno.EPERM), (*BECOMING, *RUNNING, *LOOKING, *SYSTEM)),
        (refuse(errno.ENOSYS), IO_URING),
    ),
)


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SeccompError("libseccomp.so.2 is missing: install your distribution's package libseccomp2") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    return library


def check_available() -> None:
    """Raise SeccompError where libseccomp is missing, so that a start fails before anything runs."""
    _library()


class _Program(ctypes.Structure):
    """struct sock_fprog: a filter as the kernel takes it."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_INSTRUCTION = 8  # bytes, sizeof(struct sock_filter)


def install(policy: Policy) -> None:
    """Put this process under a filter, for good. Needs no_new_privs or root. Raises SeccompError."""
    program = compiled(policy)
    fprog = _Program(len(program) // _INSTRUCTION, program)
    prctl.set_seccomp_filter(ctypes.addressof(fprog))


@cache
def compiled(policy: Policy) -> bytes:
    """A filter as BPF. Compiled once in the forkserver, every child of it only has to load it. Raises SeccompError."""
    library = _library()
    context = library.seccomp_init(policy.default)
    if not context:
        raise SeccompError("libseccomp could not begin a filter")
    try:
        for action, names in policy.rules:
            for name in names:
                _add(library, context, action, name)
        with open(os.memfd_create("seccomp"), "rb") as file:
            _check(library.seccomp_export_bpf(context, file.fileno()), "export")
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)


def _add(library: Any, context: int, action: int, name: str) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == -1:  # __NR_SCMP_ERROR: this libseccomp has never heard of it
        if action == ALLOW:
            return
        raise_unless_new(name)
        return
    result = library.seccomp_rule_add_array(context, action, number, 0, None)
    # EACCES: the action is the default already; EDOM: the architecture has no such call.
    if result not in (0, -errno.EACCES, -errno.EDOM):
        _check(result, name)


_NEWER_THAN_DEBIAN_12 = {"memfd_secret", "quotactl_fd", "futex_waitv", "process_madvise", "mount_setattr"}


def raise_unless_new(name: str) -> None:
    """A name that libseccomp does not know cannot be refused: only those newer than a library we run with may pass."""
    if name not in _NEWER_THAN_DEBIAN_12:
        raise SeccompError(f"libseccomp does not know the system call {name}, which must be refused")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise SeccompError(f"seccomp filter, {what}: {errno.errorcode.get(-result, result)}")
