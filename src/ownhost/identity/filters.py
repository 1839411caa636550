"""Which system calls a process may make, role by role: tables to be read.

Two kinds:

- Gates, fronts, workers, resolvers, the logger, examiners and sweepers have a list of what they *may* do, by call and
  by argument. What is not on it fails: with EPERM, or, from Linux 5.1's calls on (`COMMON`), with ENOSYS, as on a
  kernel that does not have it; then C libraries do without. For all of them but workers, some calls (`HOSTILE`) are
  the end.
- The supervisor and the confined forkserver have a list of what they *may not*: below the one run log programs, which
  do what nobody can list, below the other all the roles above. A call newer than `NEWEST` is not there for them.

A call's rule is an action, or cases: it is allowed where all tests of one case hold, and fails with EPERM otherwise.
docs/decisions/filters.md says what was rejected. Sources: syscalls(2) and each call's manual page; linux/sched.h,
linux/prctl.h, asm-generic/ for the numbers of flags and options.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import socket
import termios
from collections.abc import Mapping

from ownhost.identity.bpf import ALLOW, KILL, OWN_PID, Policy, Rule, Test, refuse

COMMON = 424  # from this number on (pidfd_send_signal, Linux 5.1) calls have the same numbers on all architectures
NEWEST = 470  # listns, Linux 6.19: the newest call that was looked at when these tables were written

REFUSED = refuse(errno.EPERM)
MISSING = refuse(errno.ENOSYS)


def word(place: int, *values: int, mask: int = 0xFFFF_FFFF) -> Test:
    """An int among the arguments, with the bits of a mask, is one of these values."""
    return Test(place, values, mask)


def long(place: int, value: int, *, free: int = 0) -> Test:
    """A long among the arguments equals this value, apart from the bits of `free`."""
    return Test(place, (value,), ~free & 0xFFFF_FFFF_FFFF_FFFF, wide=True)


def without(place: int, bits: int) -> Test:
    """None of these bits is set."""
    return Test(place, (0,), bits)


def allowed(*names: str) -> dict[str, Rule]:
    """Calls that are allowed whatever their arguments are."""
    return dict.fromkeys(names, ALLOW)


def may(rules: Mapping[str, Rule]) -> Policy:
    """A list of what a process may do."""
    return Policy(rules, refusal=REFUSED, otherwise=REFUSED, newer=MISSING, new_from=COMMON)


def may_not(rules: Mapping[str, Rule]) -> Policy:
    """A list of what a process may not do."""
    return Policy(rules, refusal=REFUSED, otherwise=ALLOW, newer=MISSING, new_from=NEWEST + 1)


# Calls that only an attacker makes in a process that serves: to become another user, to run
# something, to look into other processes.
BECOMING = (
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
)  # fmt: skip
RUNNING = ("execve", "execveat")
LOOKING = ("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp")
IO_URING = ("io_uring_setup", "io_uring_enter", "io_uring_register")
HOSTILE: dict[str, Rule] = dict.fromkeys((*BECOMING, *RUNNING, *LOOKING, *IO_URING), KILL)

# clone's flags. A thread is what glibc asks for (plus optional flags, and musl's CLONE_DETACHED).
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD = 0x100, 0x200, 0x400, 0x800, 0x1_0000
CLONE_SYSVSEM, CLONE_SETTLS, CLONE_PARENT_SETTID = 0x4_0000, 0x8_0000, 0x10_0000
CLONE_CHILD_CLEARTID, CLONE_DETACHED, CLONE_CHILD_SETTID = 0x20_0000, 0x40_0000, 0x100_0000
THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
THREAD_MAY = CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_CHILD_SETTID
CLONE_NEW = 0x7E02_0000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET

PR_SET_NAME, PR_SET_VMA = 15, 0x5356_4D41  # a thread's name, and a mapping's: for people who look from outside

# Memory is never made executable: all code is loaded before. So nothing that was written is run.
LIVING: dict[str, Rule] = {
    **allowed(
        "futex", "close", "read", "write", "writev", "lseek", "fstat", "poll", "ppoll", "select", "pselect6",
        "brk", "munmap", "mremap", "madvise", "membarrier",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
        "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "uname", "sched_getaffinity",
        "getrandom", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
        "sched_yield", "rseq", "set_robust_list", "get_robust_list", "getrlimit", "getcpu",
    ),
    "mmap": ((without(2, mmap.PROT_EXEC),),),
    "mprotect": ((without(2, mmap.PROT_EXEC),),),
    "prlimit64": ((word(0, 0, OWN_PID), long(2, 0)),),  # to read its own
    "tgkill": ((word(0, OWN_PID),),),  # raise(3), abort(3)
    "prctl": ((word(0, PR_SET_NAME, PR_SET_VMA),),),
    "fcntl": (
        (
            word(
                1, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC,
            ),
        ),
    ),
    "ioctl": (
        (
            word(
                1, termios.FIONREAD, termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX, termios.TCGETS,
                termios.TIOCOUTQ,
            ),
        ),
    ),
}  # fmt: skip

EPOLL = allowed("epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "epoll_create1")

NETLINK_ROUTE = 0
TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK = 1, 3, 4, 5, 6, 12
IP_RECVERR, IPV6_RECVERR = 11, 25
SO_PASSRIGHTS = 83  # Linux 6.16
TALKING: dict[str, Rule] = {
    **allowed("recvfrom", "recvmsg", "sendto", "sendmsg", "getsockname", "getpeername", "shutdown"),
    "getsockopt": ((word(1, socket.SOL_SOCKET, socket.IPPROTO_TCP),),),
    "setsockopt": (
        (
            word(1, socket.SOL_SOCKET),
            word(
                2, socket.SO_KEEPALIVE, socket.SO_RCVBUF, socket.SO_SNDBUF, socket.SO_RCVLOWAT, SO_PASSRIGHTS,
            ),
        ),
        (
            word(1, socket.IPPROTO_TCP),
            word(2, TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK),
        ),
        (word(1, socket.IPPROTO_IP), word(2, IP_RECVERR)),  # glibc's resolver
        (word(1, socket.IPPROTO_IPV6), word(2, IPV6_RECVERR)),
    ),
}  # fmt: skip

SOCK_TYPE = 0xF  # the bits of socket(2)'s type that are not flags
STREAM, DATAGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
PAIR: tuple[Test, ...] = (word(0, socket.AF_UNIX), word(1, STREAM, DATAGRAM, SEQPACKET, mask=SOCK_TYPE))
# Not MPTCP, SCTP nor UDP-Lite, which share families and types with these.
INTERNET: tuple[Test, ...] = (
    word(0, socket.AF_INET, socket.AF_INET6),
    word(1, STREAM, DATAGRAM, mask=SOCK_TYPE),
    word(2, 0, socket.IPPROTO_TCP, socket.IPPROTO_UDP),
)
LOCAL: tuple[Test, ...] = (word(0, socket.AF_UNIX), word(1, STREAM, DATAGRAM, mask=SOCK_TYPE))

READING = allowed(
    "stat", "lstat", "newfstatat", "statx", "open", "openat", "pread64", "preadv", "getdents64", "access", "faccessat",
    "readlink", "readlinkat", "getcwd", "fadvise64", "statfs", "fstatfs", "getxattr", "lgetxattr",
)  # fmt: skip

# A gate accepts, looks, passes on. It opens no file and makes no socket.
GATE = may({**HOSTILE, **LIVING, **EPOLL, **TALKING, **allowed("accept4", "accept")})

# A front keeps the connections of listed proxies, which gates pass to it, and makes the pairs for
# relaying.
FRONT = may({**HOSTILE, **LIVING, **EPOLL, **TALKING, "socketpair": (PAIR,)})

# The logger reads lines and writes them to the logs that it was given.
LOGGER = may({**HOSTILE, **LIVING, **EPOLL, **TALKING})

# An examiner finds out whether keys and certificates can be used: it reads them, and reports.
# OpenSSL reads them from a memory file.
EXAMINER = may(
    {
        **HOSTILE,
        **LIVING,
        **READING,
        **allowed("memfd_create", "ftruncate", "sysinfo", "dup", "sendmsg", "sendto", "recvmsg", "recvfrom"),
    },
)

# A worker reads its owner's files, spools into files without a name, talks to its clients and to
# servers behind this one, resolves names in threads. It starts no process, does not listen, changes
# no file's name or owner. Refusals are errors, not deaths, so that a test, or an administrator with
# strace(1), sees them.
WORKER = may(
    {
        **LIVING,
        **EPOLL,
        **TALKING,
        **READING,
        **allowed(
            "sendfile", "sendmmsg", "recvmmsg", "connect", "bind", "pwrite64", "pwritev", "ftruncate", "unlink",
            "unlinkat", "memfd_create", "pipe2", "eventfd2", "dup", "dup2", "dup3", "sysinfo", "getrusage", "times",
            "getresuid", "getresgid", "getgroups", "getpgrp", "getpgid", "getsid",
        ),
        "socket": (INTERNET, LOCAL),
        "socketpair": (PAIR,),
        "clone": ((long(0, THREAD, free=THREAD_MAY),),),
        "fchmod": ((without(1, ~0o666 & 0xFFFF_FFFF),),),  # a log that it makes (LogFileMode): nothing that runs
    },
)  # fmt: skip

# A resolver asks the system's user databases: files, and over sockets nscd, sssd, winbind, systemd
# (userdb), LDAP.
RESOLVER = may(
    {
        **HOSTILE,
        **LIVING,
        **EPOLL,
        **TALKING,
        **READING,
        **allowed("connect", "bind", "dup", "pipe2", "eventfd2", "timerfd_create", "timerfd_settime", "getresuid"),
        "socket": (INTERNET, LOCAL),
    },
)

# A sweeper removes files and folders that have become its owner's own, and does nothing else.
SWEEPER = may({**HOSTILE, **LIVING, **READING, **allowed("unlink", "unlinkat", "rmdir", "sendmsg", "recvmsg", "dup")})

# Calls that change the system, or open parts of the kernel that no server needs.
SYSTEM = (
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree",
    "mount_setattr", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
    "open_by_handle_at", "name_to_handle_at", "quotactl", "quotactl_fd", "acct", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "syslog", "iopl", "ioperm",
    "lookup_dcookie", "nfsservctl", "vhangup", "migrate_pages", "move_pages", "vmsplice", "memfd_secret", "modify_ldt",
    "fanotify_init", "fanotify_mark", "remap_file_pages", "pidfd_getfd", "kcmp", "ptrace", "process_vm_readv",
    "process_vm_writev", "process_madvise",
)  # fmt: skip
KEYCTL_GET_KEYRING_ID, KEYCTL_JOIN_SESSION_KEYRING, KEY_SPEC_SESSION_KEYRING = 0, 1, 0xFFFF_FFFD

DENIED: dict[str, Rule] = {
    **dict.fromkeys(SYSTEM, REFUSED),
    **dict.fromkeys(IO_URING, MISSING),
    "keyctl": (
        (word(0, KEYCTL_GET_KEYRING_ID), word(1, KEY_SPEC_SESSION_KEYRING), word(2, 0)),
        (word(0, KEYCTL_JOIN_SESSION_KEYRING), long(1, 0)),  # without a name: a new one
    ),
    "personality": ((word(0, 0, 0xFFFF_FFFF),),),  # the usual one; which it is
    "clone": ((without(0, CLONE_NEW),),),
    "clone3": MISSING,  # its flags are in memory, where no filter looks: C libraries use clone
    # Local ones, TCP, UDP, and those that getifaddrs(3) needs: no raw ones, no other protocol of
    # the kernel's.
    "socket": (INTERNET, PAIR, (word(0, socket.AF_NETLINK), word(2, NETLINK_ROUTE))),
    "socketpair": (PAIR,),
}

# The confined forkserver and all its children: gates, workers, the logger. They execute nothing;
# each has its own filter in addition. Above it, the forkserver of owners' programs has none.
FORKSERVER = may_not({**DENIED, **dict.fromkeys(RUNNING, REFUSED)})

# The supervisor, and the programs of piped logs.
SUPERVISOR = may_not(DENIED)
