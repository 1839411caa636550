"""Becoming an identity and the kernel's fences around it, tried in real processes.

Each test runs a script in a child of its own, as root, and looks at what it prints: the fences are for good, so the
test process itself must not put them up.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import errno, os, signal, socket, sys
from ownhost.identity import become, capabilities, prctl, seccomp
from ownhost.identity.shedding.line import BecomeError
from ownhost.identity.identity import Identity
OWNER = Identity(50001, 50002, (50003, 50004), "owner")

def attempt(name, what):
    try:
        what()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "worked")

def status(*names):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    for name in names:
        print(name, " ".join(lines[name].split()))
"""


def run(code: str) -> tuple[int, list[str]]:
    """A child's exit status and its lines."""
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout.splitlines()


def test_become_is_for_life() -> None:
    code = """
        become.become(OWNER)
        status("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs")
        attempt("setuid", lambda: os.setuid(0))
        attempt("setresuid", lambda: os.setresuid(0, 0, 0))
        attempt("setgid", lambda: os.setgid(0))
        attempt("setgroups", lambda: os.setgroups([0]))
        attempt("capset", lambda: capabilities.keep([capabilities.Capability.SETUID]))
    """
    zero = "0" * 16
    assert run(code) == (
        0,
        [
            "Uid " + "50001 " * 3 + "50001",
            "Gid " + "50002 " * 3 + "50002",
            "Groups 50003 50004",
            f"CapEff {zero}",
            f"CapPrm {zero}",
            f"CapInh {zero}",
            f"CapBnd {zero}",
            f"CapAmb {zero}",
            "NoNewPrivs 1",
            "setuid EPERM",
            "setresuid EPERM",
            "setgid EPERM",
            "setgroups EPERM",
            "capset EPERM",
        ],
    )


@pytest.mark.parametrize("who", ["0, 5, ()", "5, 0, ()", "5, 5, (0,)"])
def test_nobody_becomes_root(who: str) -> None:
    code = f"""
        try:
            become.become(Identity({who}, "root"))
        except BecomeError as error:
            print(error)
    """
    assert run(code) == (0, ["nothing is ever served as uid 0 or with gid 0"])


def test_a_way_back_is_noticed() -> None:
    """Should dropping ever leave a way back, become must raise: here, setresuid does nothing at all."""
    code = """
        os.setresuid = lambda *ids: None
        capabilities.keep = lambda kept: None
        try:
            become.become(OWNER)
        except BecomeError as error:
            print(error)
    """
    status, (line,) = run(code)
    assert status == 0
    assert line.endswith(" worked after all privileges were dropped")


def test_without_root_only_the_callers_own_identity_is_verified() -> None:
    code = """
        os.setgroups([]); os.setgid(50002); os.setuid(50001)
        become.become(Identity(50001, 50002, (), "me"))
        print("verified")
        try:
            become.become(Identity(50009, 50002, (), "somebody"))
        except BecomeError:
            print("refused")
    """
    assert run(code) == (0, ["verified", "refused"])


def test_the_supervisor_keeps_two_capabilities_for_good() -> None:
    code = """
        become.limit_supervisor()
        sets = capabilities.current()
        print(sets.effective == sets.permitted == sets.bounding == (1 << 1 | 1 << 10))
        attempt("setuid", lambda: os.setuid(5))
        # uid 0 would get everything back by an execve, were it not for the bounding set
        sys.stdout.flush()
        os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
    """
    assert run(code) == (0, ["True", "setuid EPERM", "CapEff:\t0000000000000402"])


def test_the_forkserver_can_fork_owners_and_no_more() -> None:
    code = """
        become.limit_forkserver()
        kept = capabilities.current().effective
        print(sorted(bit for bit in range(64) if kept >> bit & 1))
        attempt("chroot", lambda: os.chroot("/"))
        sys.stdout.flush()  # what is not yet written the child would write, too
        if os.fork() == 0:
            become.become(OWNER)
            status("Uid", "CapEff", "CapBnd")
            sys.stdout.flush()
            os._exit(0)
        os.wait()
    """
    assert run(code) == (
        0,
        ["[5, 6, 7, 8, 23]", "chroot EPERM", "Uid 50001 50001 50001 50001", "CapEff " + "0" * 16, "CapBnd " + "0" * 16],
    )


def test_a_launcher_has_nothing_and_its_programs_can_have_sudo() -> None:
    code = """
        become.limit_forkserver()
        become.become(OWNER, no_new_privs=False)
        status("Uid", "CapEff", "CapPrm", "NoNewPrivs")
        print(capabilities.current().bounding >> capabilities.Capability.SETUID & 1)
        attempt("setuid", lambda: os.setuid(0))
    """
    zero = "0" * 16
    wanted = ["Uid 50001 50001 50001 50001", f"CapEff {zero}", f"CapPrm {zero}", "NoNewPrivs 0", "1", "setuid EPERM"]
    assert run(code) == (0, wanted)


def test_a_gates_work_is_allowed() -> None:
    code = """
        import select
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        epoll = select.epoll()
        become.become(OWNER)
        seccomp.install(seccomp.GATE)
        epoll.register(listener, select.EPOLLIN)
        assert epoll.poll(5)
        accepted, address = listener.accept()
        client.sendall(b"hello")
        assert accepted.recv(9, socket.MSG_PEEK) == b"hello"
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 5)
        accepted.getsockopt(socket.SOL_SOCKET, 57, 8)
        socket.send_fds(left, [b"x"], [accepted.fileno()])
        data, descriptors, _, _ = socket.recv_fds(right, 9, 1)
        assert os.read(descriptors[0], 9) == b"hello"
        big = bytearray(50_000_000)  # memory may grow and shrink
        del big
        os.write(1, b"all of it\\n")
        attempt("open", lambda: os.open("/etc/passwd", os.O_RDONLY))
        attempt("socket", lambda: socket.socket())
        attempt("fork", lambda: os.fork())
        attempt("unlink", lambda: os.unlink("/nonexistent"))
        sys.stdout.flush()
        os._exit(0)
    """
    assert run(code) == (0, ["all of it", "open EPERM", "socket EPERM", "fork EPERM", "unlink EPERM"])


@pytest.mark.parametrize("policy", ["GATE", "LOGGER"])
@pytest.mark.parametrize("hostile", ["os.execv('/bin/true', ['true'])", "os.setuid(0)", "os.setgroups([])", "ptrace()"])
def test_hostile_calls_end_a_gate_and_a_logger(policy: str, hostile: str) -> None:
    code = f"""
        import ctypes
        libc = ctypes.CDLL(None)
        def ptrace(): libc.ptrace(0, 0, 0, 0)
        become.become(OWNER)
        seccomp.install(seccomp.{policy})
        {hostile}
        os.write(1, b"it lives")
    """
    assert run(code) == (-31, []), "expected SIGSYS"


def test_a_workers_work_is_allowed_and_the_rest_refused() -> None:
    code = """
        import asyncio, ctypes, tempfile, threading
        import uvloop
        become.become(Identity(50001, 50001, (), "owner"))
        seccomp.install(seccomp.WORKER)
        libc = ctypes.CDLL(None, use_errno=True)
        def call(number, *arguments):
            if libc.syscall(number, *arguments) < 0:
                raise OSError(ctypes.get_errno(), "")

        async def work():
            loop = asyncio.get_running_loop()
            with tempfile.TemporaryFile() as file:
                file.write(b"content")
                file.flush()
                left, right = socket.socketpair()
                assert os.sendfile(left.fileno(), file.fileno(), 0, 7) == 7
                right.setblocking(False)
                assert await loop.sock_recv(right, 9) == b"content"
            assert await loop.getaddrinfo("localhost", 80)
            await asyncio.to_thread(lambda: None)
        loop = uvloop.new_event_loop()
        loop.run_until_complete(work())
        print("worked")
        attempt("setuid", lambda: os.setuid(50001))
        attempt("setgroups", lambda: os.setgroups([]))
        attempt("execve", lambda: os.execv("/bin/true", ["true"]))
        attempt("ptrace", lambda: call(101, 0, 0, 0, 0))
        attempt("unshare", lambda: call(272, 0x10000000))
        attempt("mount", lambda: call(165, 0, 0, 0, 0, 0))
        attempt("bpf", lambda: call(321, 0, 0, 0))
        attempt("process_vm_readv", lambda: call(310, 1, 0, 0, 0, 0, 0))
        attempt("fork", lambda: os.fork())
        attempt("pidfd_getfd", lambda: call(438, 0, 0, 0))
        attempt("io_uring_setup", lambda: call(425, 1, 0))
        status("Seccomp", "NoNewPrivs")
    """
    refused = ["setuid", "setgroups", "execve", "ptrace", "unshare", "mount", "bpf", "process_vm_readv", "fork"]
    missing = ["pidfd_getfd ENOSYS", "io_uring_setup ENOSYS"]
    expected = ["worked", *(f"{name} EPERM" for name in refused), *missing, "Seccomp 2", "NoNewPrivs 1"]
    assert run(code) == (0, expected)


def test_a_foreign_architectures_table_is_no_way_around() -> None:
    code = """
        import ctypes
        become.become(OWNER)
        seccomp.install(seccomp.WORKER)
        ctypes.CDLL(None).syscall(0x40000000 + 105, 0)  # x32's setuid
        os.write(1, b"it lives")
    """
    status, lines = run(code)
    assert (status, lines) == (-31, [])


def test_undumpable_means_that_not_even_the_same_uid_looks_in() -> None:
    code = """
        ready, done = os.pipe()
        if (pid := os.fork()) == 0:
            become.become(OWNER)
            prctl.set_dumpable(False)
            os.write(done, b".")
            signal.pause()
        os.read(ready, 1)
        if os.fork() == 0:
            become.become(OWNER)
            attempt("mem", lambda: open(f"/proc/{pid}/mem"))
            attempt("environ", lambda: open(f"/proc/{pid}/environ").read())
            attempt("fd", lambda: os.listdir(f"/proc/{pid}/fd"))
            sys.stdout.flush()
            os._exit(0)
        while os.wait()[0] == pid: pass
        os.kill(pid, 9)
    """
    assert run(code) == (0, ["mem EACCES", "environ EACCES", "fd EACCES"])
