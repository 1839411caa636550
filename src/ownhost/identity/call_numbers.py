"""The numbers of system calls by name, for the machines with filters.

By name: on x86-64 (asm/unistd_64.h), and on 64-bit ARM and RISC-V, which use the same numbers
(asm-generic/unistd.h). NONE if a call does not exist: those machines came later, and have only its
newer form. A name is here because a table in `filters` has it, or `system_calls` makes it; the
tests compare the numbers with the kernel's headers.
"""

from __future__ import annotations

import errno
import os
import platform
import sys

from ownhost.identity.bpf import Architecture

NONE = -1

NUMBERS: dict[str, tuple[int, int]] = {
    "accept": (43, 202), "accept4": (288, 242), "access": (21, NONE), "acct": (163, 89), "add_key": (248, 217),
    "adjtimex": (159, 171), "bind": (49, 200), "bpf": (321, 280), "brk": (12, 214), "capset": (126, 91),
    "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_getres": (229, 114), "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115), "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435),
    "close": (3, 57), "connect": (42, 203), "delete_module": (176, 106), "dup": (32, 23), "dup2": (33, NONE),
    "dup3": (292, 24), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "epoll_wait": (232, NONE), "eventfd2": (290, 19), "execve": (59, 221),
    "execveat": (322, 281), "exit": (60, 93), "exit_group": (231, 94), "faccessat": (269, 48), "fadvise64": (221, 223),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "fchmod": (91, 52), "fcntl": (72, 25),
    "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "fstat": (5, 80), "fstatfs": (138, 44), "ftruncate": (77, 46), "futex": (202, 98),
    "get_robust_list": (274, 100), "getcpu": (309, 168), "getcwd": (79, 17), "getdents64": (217, 61),
    "getegid": (108, 177), "geteuid": (107, 175), "getgid": (104, 176), "getgroups": (115, 158),
    "getpeername": (52, 205), "getpgid": (121, 155), "getpgrp": (111, NONE), "getpid": (39, 172),
    "getppid": (110, 173), "getrandom": (318, 278), "getresgid": (120, 150), "getresuid": (118, 148),
    "getrlimit": (97, 163), "getrusage": (98, 165), "getsid": (124, 156), "getsockname": (51, 204),
    "getsockopt": (55, 209), "gettid": (186, 178), "gettimeofday": (96, 169), "getuid": (102, 174),
    "getxattr": (191, 8), "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, NONE), "iopl": (172, NONE),
    "ioprio_get": (252, 31), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444), "landlock_restrict_self": (446, 446), "lgetxattr": (192, 9),
    "lookup_dcookie": (212, 18), "lseek": (8, 62), "lstat": (6, NONE), "madvise": (28, 233), "membarrier": (324, 283),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "migrate_pages": (256, 238), "mmap": (9, 222),
    "modify_ldt": (154, NONE), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "move_pages": (279, 239), "mprotect": (10, 226), "mremap": (25, 216), "munmap": (11, 215),
    "name_to_handle_at": (303, 264), "nanosleep": (35, 101), "newfstatat": (262, 79), "nfsservctl": (180, 42),
    "open": (2, NONE), "open_by_handle_at": (304, 265), "open_tree": (428, 428), "openat": (257, 56),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pipe2": (293, 59),
    "pivot_root": (155, 41), "poll": (7, NONE), "ppoll": (271, 73), "prctl": (157, 167), "pread64": (17, 67),
    "preadv": (295, 69), "prlimit64": (302, 261), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pselect6": (270, 72), "ptrace": (101, 117), "pwrite64": (18, 68),
    "pwritev": (296, 70), "quotactl": (179, 60), "quotactl_fd": (443, 443), "read": (0, 63), "readlink": (89, NONE),
    "readlinkat": (267, 78), "reboot": (169, 142), "recvfrom": (45, 207), "recvmmsg": (299, 243), "recvmsg": (47, 212),
    "remap_file_pages": (216, 234), "request_key": (249, 218), "restart_syscall": (219, 128), "rmdir": (84, NONE),
    "rseq": (334, 293), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123), "sched_yield": (24, 124), "seccomp": (317, 277), "select": (23, NONE),
    "sendfile": (40, 71), "sendmmsg": (307, 269), "sendmsg": (46, 211), "sendto": (44, 206),
    "set_robust_list": (273, 99), "setdomainname": (171, 162), "setfsgid": (123, 152), "setfsuid": (122, 151),
    "setgid": (106, 144), "setgroups": (116, 159), "sethostname": (170, 161), "setns": (308, 268),
    "setregid": (114, 143), "setresgid": (119, 149), "setresuid": (117, 147), "setreuid": (113, 145),
    "setsockopt": (54, 208), "settimeofday": (164, 170), "setuid": (105, 146), "shutdown": (48, 210),
    "sigaltstack": (131, 132), "socket": (41, 198), "socketpair": (53, 199), "stat": (4, NONE), "statfs": (137, 43),
    "statx": (332, 291), "swapoff": (168, 225), "swapon": (167, 224), "sysinfo": (99, 179), "syslog": (103, 116),
    "tgkill": (234, 131), "time": (201, NONE), "timerfd_create": (283, 85), "timerfd_settime": (286, 86),
    "times": (100, 153), "umount2": (166, 39), "uname": (63, 160), "unlink": (87, NONE), "unlinkat": (263, 35),
    "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58), "vmsplice": (278, 75), "write": (1, 64),
    "writev": (20, 66),
}  # fmt: skip

ARCHITECTURES = {  # by machine, as uname(2) names it; AUDIT_ARCH_* of linux/audit.h
    "x86_64": Architecture(0xC000_003E, {name: numbers[0] for name, numbers in NUMBERS.items()}, foreign=0x4000_0000),
    "aarch64": Architecture(0xC000_00B7, {name: numbers[1] for name, numbers in NUMBERS.items()}),
    "riscv64": Architecture(0xC000_00F3, {name: numbers[1] for name, numbers in NUMBERS.items()}),
}


def this_machine() -> Architecture | None:
    """The architecture of this process; None if there are no filters for it, as for one of 32 bits."""
    return ARCHITECTURES.get(platform.machine()) if sys.maxsize > 1 << 32 else None


def number_of(name: str) -> int:
    """The number of a system call on this machine. Raises OSError (ENOSYS) if none is known."""
    machine = this_machine()
    number = NONE if machine is None else machine.numbers.get(name, NONE)
    if number == NONE:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    return number
