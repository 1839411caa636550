"""What a process that was taken over asks of the kernel: refused, role by role, by call and by argument (S12).

The real processes' filters are read back from the kernel and compared with the tables; then a child under each table
tries what an attacker would.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import ALICE, Process, Server, World
from ownhost.identity import landlock, prctl, seccomp
from ownhost.processes.sweeper import sweep
from waiting import eventually

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers here are x86-64's")

CGI = "#!/bin/sh\necho Content-Type: text/plain; echo; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status\n"
PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT, PTRACE_SECCOMP_GET_FILTER = 0x4206, 17, 0x4207, 0x420C


@pytest.fixture
def server(world: World) -> Server:
    """alice.test, with a CGI script; it has been asked for that once."""
    extra = "<Location />\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Location>\n"
    started = world.server(world.virtual_host("alice", ALICE, extra, {"index.html": "alice\n", "a.cgi": CGI}))
    started.get("alice.test")
    return started


def filters_of(process: Process) -> list[bytes]:
    """The filters that a process is under, the oldest first, as the kernel has them (ptrace(2), as root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    number = ctypes.c_long

    def ptrace(request: int, third: int, data: object) -> int:
        return int(libc.ptrace(number(request), number(process.pid), number(third), data))

    assert ptrace(PTRACE_SEIZE, 0, None) == 0
    try:
        ptrace(PTRACE_INTERRUPT, 0, None)
        os.waitpid(process.pid, 0x4000_0000)  # __WALL
        found: list[bytes] = []
        while (length := ptrace(PTRACE_SECCOMP_GET_FILTER, len(found), None)) > 0:
            program = ctypes.create_string_buffer(8 * length)
            assert ptrace(PTRACE_SECCOMP_GET_FILTER, len(found), program) == length
            found.append(program.raw)
        if not found and ctypes.get_errno() in (5, 22):  # EIO, EINVAL: a kernel without CONFIG_CHECKPOINT_RESTORE
            pytest.skip("this kernel does not show filters")
        return found
    finally:
        ptrace(PTRACE_DETACH, 0, None)


@pytest.mark.parametrize("role", ["supervisor", "gate", "worker", "logger"])
def test_each_process_is_under_its_roles_filter(server: Server, role: str) -> None:
    policy = getattr(seccomp, role.upper())
    for process in server.processes(role):
        assert (process.status["Seccomp"], process.status["NoNewPrivs"]) == ("2", "1")
        assert filters_of(process)[-1] == seccomp.compiled(policy).encode(process.pid), role


def test_what_is_near_the_network_is_under_its_parents_filter_too(server: Server) -> None:
    eventually(lambda: len(server.processes("forkserver")) == 2)  # a spare process is called so until it has a name
    above, confined = server.processes("forkserver")
    assert above.status["Seccomp"] == above.status["NoNewPrivs"] == "0", "programs inherit what it has"
    assert confined.status["NoNewPrivs"] == "1"
    assert confined.status["CapBnd"] == confined.status["CapPrm"] == above.status["CapPrm"]
    filter_ = seccomp.compiled(seccomp.FORKSERVER).encode(confined.pid)
    assert filters_of(confined) == [filter_]
    for role in ("gate", "worker", "logger"):
        assert {filters_of(process)[0] for process in server.processes(role)} == {filter_}


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_a_worker_writes_nowhere_else(world: World) -> None:
    """Not even where its owner may write, and has it write: the log has become a link since the worker started."""
    logs = world.site("logs", ALICE, {"empty": ""})
    page = world.site("other", ALICE, {"page.html": ""}) / "page.html"
    failing = "#!/bin/sh\necho no head\n"
    extra = f"ScriptLog {logs}/script.log\n<Location />\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Location>\n"
    server = world.server(world.virtual_host("alice", ALICE, extra, {"a.cgi": failing}))
    assert server.get("alice.test", "/a.cgi").status == 500
    assert "no head" in (logs / "script.log").read_text()
    (logs / "script.log").unlink()
    (logs / "script.log").symlink_to(page)
    assert server.get("alice.test", "/a.cgi").status == 500
    assert page.read_text() == ""
    eventually(lambda: f"cannot write to the ScriptLog {logs}/script.log: Permission denied" in server.log())


def test_programs_of_owners_are_under_no_filter(server: Server) -> None:
    """sudo, sendmail, a browser's own sandbox must go on working from them."""
    assert server.get("alice.test", "/a.cgi").content == b"NoNewPrivs:\t0\nSeccomp:\t0\n"
    (launcher,) = server.processes("launcher")
    assert launcher.status["Seccomp"] == "0"


# What is tried: the call's number on x86-64, its arguments. Those in words are known in the child.
PARENT, SELF = "parent", "self"
NEVER: dict[str, tuple[object, ...]] = {
    "clone into a user namespace": (56, 0x1000_0000 | signal.SIGCHLD),
    "clone into all namespaces": (56, 0x7E02_0000 | signal.SIGCHLD),
    "a thread in a user namespace": (56, 0x3D_0F00 | 0x1000_0000),
    "clone with a bit of the upper half": (56, 1 << 33 | 0x3D_0F00),
    "clone3": (435, 0, 0),
    "unshare": (272, 0x1000_0000),
    "setns": (308, -1, 0),
    "fork": (57,),
    "vfork": (58,),
    "fork by clone": (56, signal.SIGCHLD),
    "execve": (59, 0, 0, 0),
    "execveat": (322, -1, 0, 0, 0, 0x1000),
    "setuid": (105, 0),
    "setresgid": (119, 0, 0, 0),
    "capset": (126, 0, 0),
    "ptrace": (101, 16, PARENT, 0, 0),
    "process_vm_readv": (310, PARENT, 0, 0, 0, 0, 0),
    "pidfd_open": (434, PARENT, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "pidfd_send_signal": (424, -1, 0, 0, 0),
    "kill of all": (62, -1, 0),
    "kill of one's own": (62, SELF, 0),
    "tkill": (200, PARENT, 0),
    "tgkill of another": (234, PARENT, PARENT, 0),
    "rt_sigqueueinfo": (129, PARENT, 0, 0),
    "rt_tgsigqueueinfo": (297, PARENT, PARENT, 0, 0),
    "an owner of signals of a file": (72, 0, 8, PARENT),  # F_SETOWN
    "the same for a thread": (72, 0, 15, 0),  # F_SETOWN_EX
    "a lease on a file": (72, 0, 1024, 0),  # F_SETLEASE
    "a notice of changes": (72, 0, 1026, 0),  # F_NOTIFY
    "limits of another": (302, PARENT, 7, 0, 0),
    "limits of one's own": (302, 0, 7, "page", 0),
    "setrlimit": (160, 7, 0),
    "setpriority": (141, 0, 0, 0),
    "sched_setaffinity": (203, 0, 0, 0),
    "sched_setscheduler": (144, 0, 0, 0),
    "ioprio_set": (251, 1, 0, 0),
    "a character typed into a terminal": (16, 0, 0x5412, 0),  # TIOCSTI
    "a session's terminal": (16, 0, 0x540E, 0),  # TIOCSCTTY
    "signals of a socket": (16, 0, 0x8902, 0),  # SIOCSPGRP
    "a network device": (16, 0, 0x8914, 0),  # SIOCSIFFLAGS
    "ioctl with a bit of the upper half": (16, 0, 1 << 32 | 0x5412, 0),
    "memory to write and run": (9, 0, 4096, 7, 0x22, -1, 0),
    "memory to run": (9, 0, 4096, 5, 0x22, -1, 0),
    "memory made to run": (10, "page", 4096, 5),
    "pkey_mprotect": (329, "page", 4096, 7, -1),
    "shmat": (30, 0, 0, 0o100000),
    "personality": (135, 0x40_0000),
    "prctl: dumpable": (157, 4, 1, 0, 0, 0),
    "prctl: keep capabilities": (157, 8, 1, 0, 0, 0),
    "prctl: who may trace": (157, 0x5961_6D61, -1, 0, 0, 0),
    "prctl: timestamps": (157, 26, 2, 0, 0, 0),
    "prctl: memory map": (157, 35, 1, 0, 0, 0),
    "arch_prctl": (158, 0x1001, 0),
    "seccomp": (317, 0, 0, 0),
    "netlink of filters": (41, 16, 3, 12),
    "netlink of routes": (41, 16, 3, 0),
    "packets": (41, 17, 3, 0),
    "raw sockets": (41, 2, 3, 1),
    "ping sockets": (41, 2, 2, 1),
    "SCTP": (41, 2, 1, 132),
    "MPTCP": (41, 2, 1, 262),
    "SMC by family": (41, 43, 1, 0),
    "SMC by protocol": (41, 2, 1, 256),
    "AF_ALG": (41, 38, 5, 0),
    "AF_VSOCK": (41, 40, 1, 0),
    "AF_XDP": (41, 44, 3, 0),
    "AF_BLUETOOTH": (41, 31, 3, 0),
    "AF_KEY": (41, 15, 3, 2),
    "AF_UNIX as another family's pair": (53, 30, 1, 0, 0),  # AF_TIPC
    "listen": (50, 0, 5),
    "a filter on a socket": (54, 0, 1, 26, 0, 0),  # SO_ATTACH_FILTER
    "a socket's priority": (54, 0, 1, 12, 0, 0),
    "a socket whose close waits": (54, 0, 1, 13, 0, 0),  # SO_LINGER
    "a protocol on top of TCP": (54, 0, 6, 31, 0, 0),  # TCP_ULP
    "a firewall's table": (54, 0, 0, 64, 0, 0),  # IPT_SO_SET_REPLACE
    "a firewall's table read": (55, 0, 0, 64, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 1),
    "keyctl": (250, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "fsopen": (430, 0, 0),
    "open_tree": (428, -1, 0, 0),
    "chroot": (161, 0),
    "init_module": (175, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "name_to_handle_at": (303, -1, 0, 0, 0, 0),
    "mq_open": (240, 0, 0, 0, 0),
    "semget": (64, 0, 1, 0o1600),
    "shmget": (29, 0, 4096, 0o1600),
    "inotify_init1": (294, 0),
    "fanotify_init": (300, 0, 0),
    "timer_create": (222, 0, 0, 0),
    "setitimer": (38, 1, 0, 0),
    "vmsplice": (278, 0, 0, 0, 0),
    "splice": (275, -1, 0, -1, 0, 0, 0),
    "remap_file_pages": (216, 0, 0, 0, 0, 0),
    "mbind": (237, 0, 0, 0, 0, 0, 0),
    "get_mempolicy": (239, 0, 0, 0, 0, 0),
    "chmod": (90, 0, 0),
    "fchmod to what runs": (91, 0, 0o755),
    "fchmod to what runs as its owner": (91, 0, 0o4644),
    "chown": (92, 0, 0, 0),
    "rename": (82, 0, 0),
    "link": (86, 0, 0),
    "symlink": (88, 0, 0),
    "mknod": (133, 0, 0, 0),
    "mkdir": (83, 0, 0),
    "setxattr": (188, 0, 0, 0, 0, 0),
    "utimensat": (280, -1, 0, 0, 0),
    "landlock_restrict_self": (446, -1, 0),
    **{f"call {number}": (number, -1, -1, -1, -1, -1, -1) for number in range(447, 600)},
    "a call far beyond all": (100_000, 0),
}


CHILD = """
import ctypes, errno, json, os, signal, sys
from ownhost.identity import prctl, seccomp
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, 4096, 3, 0x22, -1, 0)
policy, uid = getattr(seccomp, sys.argv[1]), int(sys.argv[2])
seccomp.compiled(policy)
if uid:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
for name, (number, *arguments) in json.load(sys.stdin).items():
    pid = os.fork()
    if pid == 0:
        words = {"page": page, "parent": os.getppid(), "self": os.getpid()}
        given = [words.get(argument, argument) for argument in arguments] + [0] * (6 - len(arguments))
        prctl.set_no_new_privs()
        seccomp.install(policy)
        result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, given))
        os._exit(0 if result >= 0 else ctypes.get_errno())
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        word = signal.Signals(os.WTERMSIG(status)).name
    else:
        word = errno.errorcode.get(os.WEXITSTATUS(status), "worked")
    print(name, word, sep="=", flush=True)
"""


def tried(policy: str, uid: int, calls: dict[str, tuple[object, ...]]) -> dict[str, str]:
    """What becomes of each call in a child of its own under a policy: "worked", an errno's name, or a signal's."""
    command = [sys.executable, "-c", CHILD, policy, str(uid)]
    result = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return dict(line.split("=") for line in result.stdout.splitlines())


@pytest.mark.parametrize("role", ["GATE", "FRONT", "LOGGER", "EXAMINER", "WORKER", "RESOLVER", "SWEEPER"])
def test_what_only_an_attacker_asks_for_is_refused(role: str) -> None:
    said = tried(role, ALICE, NEVER)
    assert len(said) == len(NEVER)
    assert {name: word for name, word in said.items() if word not in ("EPERM", "ENOSYS", "SIGSYS")} == {}


def test_newer_calls_are_not_there() -> None:
    """C libraries do without, as on an older kernel: EPERM would be an answer."""
    said = tried("WORKER", ALICE, {name: call for name, call in NEVER.items() if int(str(call[0])) >= 424})
    assert set(said.values()) == {"ENOSYS"}


def test_a_gate_and_a_logger_make_no_socket_and_open_no_file() -> None:
    calls: dict[str, tuple[object, ...]] = {
        "a TCP socket": (41, 2, 1, 0),
        "a local socket": (41, 1, 1, 0),
        "a pair": (53, 1, 1, 0, 0),
        "openat": (257, -100, 0, 0, 0),
        "open": (2, 0, 0, 0),
        "stat": (4, 0, 0),
        "connect": (42, 0, 0, 0),
        "bind": (49, 0, 0, 0),
        "a thread": (56, 0x3D_0F00),
        "memfd_create": (319, 0, 0),
        "unlink": (87, 0),
        "dup2": (33, 0, 1),
    }
    for role in ("GATE", "LOGGER"):
        assert set(tried(role, ALICE, calls).values()) == {"EPERM"}
    from_examiners = ("a TCP socket", "a local socket", "a pair", "connect", "bind", "a thread", "unlink")
    said = tried("EXAMINER", ALICE, {name: calls[name] for name in from_examiners})
    assert set(said.values()) == {"EPERM"}
    assert tried("FRONT", ALICE, calls) == {**dict.fromkeys(calls, "EPERM"), "a pair": "EFAULT"}


def test_a_sweeper_makes_no_socket_and_no_file_and_a_resolver_no_thread() -> None:
    sockets: dict[str, tuple[object, ...]] = {
        "a TCP socket": (41, 2, 1, 0),
        "a local socket": (41, 1, 1, 0),
        "a pair": (53, 1, 1, 0, 0),
        "connect": (42, 0, 0, 0),
        "bind": (49, 0, 0, 0),
        "sendto": (44, 0, 0, 0, 0, 0, 0),
    }
    others: dict[str, tuple[object, ...]] = {
        "a thread": (56, 0x3D_0F00),
        "memfd_create": (319, 0, 0),
        "ftruncate": (77, -1, 0),
        "pwrite64": (18, -1, 0, 0, 0),
        "sendfile": (40, -1, -1, 0, 0),
    }
    assert set(tried("SWEEPER", ALICE, sockets | others).values()) == {"EPERM"}
    assert set(tried("RESOLVER", ALICE, others | {"unlink": (87, 0), "rmdir": (84, 0)}).values()) == {"EPERM"}


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_a_sweeper_removes_in_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    """It does its work under filter and fence; a link in it leads nowhere, and nothing else is read or removed."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "file").write_text("here")
    (inside / "link").symlink_to(outside)
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            prctl.set_no_new_privs()
            landlock.restrict(landlock.removing(str(inside)))
            seccomp.install(seccomp.SWEEPER)
            sweep(str(inside))
            status = 0
            attempts: tuple[Callable[[], object], ...] = (
                (outside / "deep" / "file").unlink,
                lambda: os.rmdir(outside / "deep" / "er"),
                lambda: os.listdir(outside),
                lambda: os.close(os.open(outside / "deep" / "file", os.O_RDONLY)),
            )
            for number, try_it in enumerate(attempts):
                with contextlib.suppress(PermissionError):
                    try_it()
                    status = number + 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(inside.iterdir()) == []
    assert (outside / "deep" / "file").read_text() == "here"


def test_a_workers_own_work_goes_on() -> None:
    calls: dict[str, tuple[object, ...]] = {
        "a TCP socket": (41, 2, 1 | 0o2004000, 0),
        "the same over IPv6": (41, 10, 1, 6),
        "a resolver's": (41, 2, 2 | 0o2000000, 0),
        "a local socket": (41, 1, 1, 0),
        "limits of one's own": (302, 0, 7, 0, "page"),
        "memory": (9, 0, 4096, 3, 0x22, -1, 0),
        "memory that is read": (10, "page", 4096, 1),
        "a thread's name": (157, 15, "page", 0, 0, 0),
        "the flags of a file": (72, 0, 3, 0),
    }
    assert set(tried("WORKER", ALICE, calls).values()) == {"worked"}


SYSTEM = (
    "clone into a user namespace", "clone into all namespaces", "unshare", "setns", "clone3", "ptrace",
    "process_vm_readv", "pidfd_getfd", "personality", "netlink of filters", "packets", "raw sockets", "ping sockets",
    "SCTP", "MPTCP", "SMC by family", "SMC by protocol", "AF_ALG", "AF_VSOCK", "AF_XDP", "AF_BLUETOOTH", "AF_KEY",
    "io_uring_setup", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "mount", "fsopen", "open_tree",
    "chroot", "init_module", "kexec_load", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "vmsplice",
    "remap_file_pages", "call 471", "call 599", "a call far beyond all",
)  # fmt: skip


def test_a_supervisor_changes_no_system() -> None:
    said = tried("SUPERVISOR", 0, {name: NEVER[name] for name in SYSTEM})
    assert {name: word for name, word in said.items() if word not in ("EPERM", "ENOSYS")} == {}


def test_a_log_program_below_the_supervisor_works(world: World) -> None:
    """It inherits the supervisor's filter: a shell, a pipe and a program of it are no business of that."""
    copy = world.folder / "copy.log"
    extra = f'CustomLog "|$ grep --line-buffered GET | tee {copy}" common\n'
    server = world.server('LogFormat "%r" common\n' + world.virtual_host("alice", ALICE, extra))
    server.get("alice.test")
    eventually(lambda: Path(copy).exists() and "GET / HTTP/1.1" in copy.read_text())


def test_a_confined_forkserver_executes_nothing() -> None:
    said = tried("FORKSERVER", 0, {name: NEVER[name] for name in (*SYSTEM, "execve", "execveat")})
    assert {name: word for name, word in said.items() if word not in ("EPERM", "ENOSYS")} == {}


@pytest.mark.parametrize("role", ["GATE", "FRONT", "WORKER", "LOGGER", "EXAMINER", "SUPERVISOR", "FORKSERVER"])
def test_no_other_table_of_calls(role: str) -> None:
    """x32 has numbers of its own, i386 an entry of its own."""
    assert set(tried(role, ALICE, {"x32 getpid": (0x4000_0000 + 39,)}).values()) == {"SIGSYS"}
    code = f"""
        import ctypes, mmap, os
        from ownhost.identity import prctl, seccomp
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        prctl.set_no_new_privs()
        seccomp.install(seccomp.{role})
        call()
        os._exit(0)
    """
    status = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60).returncode
    assert status in (-signal.SIGSYS, -signal.SIGSEGV)  # the latter where the kernel has no such entry
