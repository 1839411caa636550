"""What owners' processes have of whoever started the server (S2, S14): nothing. What an owner starts ends (S11).

The list is `identity/shedding/walk.py`: each of its lines is looked at in the real processes of every role, and what a
program could take back it tries to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import PYTHON, Process, Server, World
from inside import CGI, inside
from ownhost.identity.call_numbers import number_of
from ownhost.identity.identity import Identity
from ownhost.identity.shedding.allowances import LIKELIER
from ownhost.identity.shedding.line import Before, Wanted
from ownhost.identity.shedding.seen import Seen, look
from ownhost.identity.shedding.walk import LINES
from ownhost.identity.system_calls import system_call
from waiting import eventually

ALICE, BOB, CAROL = 50041, 50042, 50043  # no other tests': limits and kill(-1) mean all processes of a uid
WSGI = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here"]
"""
FILES: dict[str, str | bytes] = {
    "index.html": "the owner's\n",
    "run.cgi": CGI,
    "run.wsgi": WSGI,
    "run.php": "<?php echo 'here';",
    "map": f"#!{PYTHON}\nimport sys\nfor line in sys.stdin: print(line, end='', flush=True)\n",
}
# Who starts the server has all that a child is to be rid of.
STARTER = f"""#!/bin/sh
umask 0
trap '' HUP USR2
ulimit -c unlimited
echo 300 >/proc/self/oom_score_adj
export ROOTS_SECRET=from-the-environment
exec nice -n -5 {sys.executable} "$@"
"""


def host(world: World, name: str, uid: int) -> str:
    root = world.folder / name
    extra = (
        "AddHandler cgi-script .cgi\nAddHandler application/x-httpd-php .php\n"
        f"WSGIScriptAlias /run.wsgi {root}/run.wsgi\n<Directory {root}>\nOptions +ExecCGI\n</Directory>\n"
        f"RewriteEngine On\nRewriteMap same prg:{root}/map\nRewriteRule ^/mapped$ ${{same:/index.html}}\n"
    )
    text = world.virtual_host(name, uid, extra, FILES)
    for script in ("run.cgi", "map"):
        (root / script).chmod(0o700)
    return text


@pytest.fixture
def started(world: World) -> Server:
    """alice's and bob's programs of every kind, run by a server whose starter has much to hand down."""
    starter = world.folder / "starter"
    starter.write_text(STARTER)
    starter.chmod(0o755)
    server = world.server(host(world, "alice", ALICE) + host(world, "bob", BOB), start=False)
    server.start(python=str(starter))
    for path in ("/", "/run.wsgi", "/run.php", "/mapped"):
        assert server.get("alice.test", path).status == 200, path
    return server


def owners(server: Server, uid: int) -> list[Process]:
    """An owner's processes below the server."""
    return [process for process in server.processes() if process.uid == uid and process.alive]


def wrong(process: Process, server: Server) -> list[str]:
    """What the list finds in a process that should not be there."""
    before = Before(look(server.pid), 0, root=True)
    neutral = process.role in ("gate", "logger")
    is_program = not process.role  # it was executed
    uid = process.uid
    wanted = Wanted(
        Identity(uid, uid, (), "somebody"),
        before,
        owners=not neutral,
        no_new_privs=process.role in ("gate", "logger", "worker"),
        processes=(0, 0) if neutral else (1_024, 1_024),
        session=not is_program,
        control=None if is_program else 3,
    )
    try:
        seen: Seen = replace(look(process.pid), descriptors=None)  # a role opens more
    except (FileNotFoundError, ProcessLookupError):
        return []  # a program that has ended meanwhile
    return [f"{line.name}: {found}" for line in LINES if line.name != "keyring" and (found := line.look(seen, wanted))]


def test_no_process_of_any_role_has_what_the_starter_had(started: Server) -> None:
    assert inside(started, "run.cgi", "import subprocess, sys; sys.stdout.write('here')") == "here"
    processes = [*started.processes("gate"), *started.processes("logger"), *owners(started, ALICE)]
    kinds = {process.role or Path(f"/proc/{process.pid}/comm").read_text().strip() for process in processes}
    assert {"gate", "logger", "worker", "launcher", "php-fpm8.2"} <= kinds, kinds
    assert len(kinds) >= 7, "and the map's program, and the application's"
    for process in processes:
        assert wrong(process, started) == [], (process.title, process.pid)


def test_a_look_finds_what_a_child_has_kept(started: Server) -> None:
    """The same look at the supervisor, which sheds none of it, finds all: else it would look at nothing."""
    supervisor = started.processes("supervisor")[0]
    found = " ".join(wrong(supervisor, started))
    for name in ("signals", "umask", "limits", "OOM score", "capabilities", "session"):
        assert f"{name}: " in found, (name, found)


TRY = """
    import ctypes, os, resource
    libc = ctypes.CDLL(None, use_errno=True)

    def attempt(name, what):
        try:
            what()
        except (OSError, ValueError):
            return
        print(name, "worked")

    def write(path, text):
        with open(path, "w") as file:
            file.write(text)

    for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_CORE, resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        hard = resource.getrlimit(kind)[1]
        attempt("a limit", lambda: resource.setrlimit(kind, (hard, hard + 1)))
    attempt("a terminal", lambda: os.open("/dev/tty", os.O_RDWR))
    attempt("a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
    attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
    attempt("no OOM killer", lambda: write("/proc/self/oom_score_adj", "-900"))
    attempt("another's", lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), -1))
    attempt("root", lambda: os.setuid(0))
    for name in ("ROOTS_SECRET",):
        if name in os.environ:
            print(name)
    with open("made-here", "w"):
        print(oct(os.stat("made-here").st_mode & 0o777))
    print(resource.getrlimit(resource.RLIMIT_NPROC), os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_a_program_takes_nothing_back(started: Server) -> None:
    assert inside(started, "run.cgi", TRY).splitlines() == ["0o644", "(1024, 1024) 0"]


def test_owners_go_first_when_memory_is_short(started: Server) -> None:
    """The OOM killer ends an owner's process before one that everybody depends on."""
    neutral = {look(process.pid).oom_score for process in started.processes() if process.uid not in (ALICE, BOB)}
    assert neutral == {300}
    assert {look(process.pid).oom_score for process in owners(started, ALICE)} == {300 + LIKELIER}


# The session keyring


KEYS = """
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    L = ctypes.c_long
    def call(*words):
        result = libc.syscall(*[word if isinstance(word, bytes) else L(word) for word in words])
        return result if result >= 0 else os.strerror(ctypes.get_errno())
"""


@pytest.fixture
def secret() -> int:
    """A key in this process's session keyring, which whoever it starts inherits."""
    system_call("keyctl", 1, None)  # KEYCTL_JOIN_SESSION_KEYRING: not that of whoever runs the tests
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return system_call("add_key", b"user", b"roots-secret", b"for root alone", 14, -3)


def test_no_program_possesses_roots_keys_or_a_neighbours(secret: int, world: World) -> None:
    server = world.server(host(world, "alice", ALICE) + host(world, "bob", BOB))
    add_key, keyctl = (number_of(name) for name in ("add_key", "keyctl"))
    search = f"call({keyctl}, 10, -3, b'user', b'roots-secret', 0)"
    own = f"{KEYS}    print({search}, call({keyctl}, 11, {secret}, b' ' * 99, 99))"
    for _ in range(2):
        assert inside(server, "run.cgi", own) == "Required key not available Permission denied\n"
    put = f"{KEYS}    print(call({add_key}, b'user', b'password', b'of alice', 8, -3) > 0)"
    assert inside(server, "run.cgi", put) == "True\n"
    find = f"{KEYS}    print(call({keyctl}, 10, -3, b'user', b'password', 0))"
    assert inside(server, "run.cgi", find, "bob.test") == "Required key not available\n"
    assert int(inside(server, "run.cgi", find)) > 0, "her own programs share theirs"


# What an owner starts ends


HOP = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}
int main(int argc, char **argv) {
    int number = atoi(argv[1]), beat = open(argv[2], O_WRONLY | O_NONBLOCK);
    long long end = now() + 30000;                               /* whatever goes wrong */
    volatile long long *seen = mmap(0, 4096 * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGCHLD, SIG_IGN);
    for (int slot = 0; slot < number; slot++) {
        seen[slot] = now();
        if (fork() != 0) continue;
        setsid();
        for (unsigned other = slot;;) {
            if (now() > end) _exit(0);
            seen[slot] = now();
            other = (other * 1103515245u + 12345u) % number;
            if (now() - seen[other] > 20 && fork() == 0) slot = other;     /* one was ended: here is another */
            if (fork() > 0) _exit(0);                                     /* the parent leaves */
            kill(-1, argv[3][0] == 'c' ? SIGCONT : 0);                    /* whoever was stopped goes on */
            write(beat, "x", 1);
            usleep(1000);
        }
    }
    return 0;
}
"""


class Hoppers:
    """Processes of alice's that fork and leave, over and over, and that replace each other."""

    def __init__(self, world: World) -> None:
        self.program, self.beat = world.folder / "hop", world.folder / "beat"
        subprocess.run(["gcc", "-O2", "-w", "-x", "c", "-o", self.program, "-"], input=HOP.encode(), check=True)
        self.program.chmod(0o755)
        os.mkfifo(self.beat)
        self.beat.chmod(0o666)
        self.reading = os.open(self.beat, os.O_RDONLY | os.O_NONBLOCK)

    def start(self, server: Server, kind: str = "-") -> None:
        # With their output elsewhere: else the answer would last as long as they do, and none be left to be ended.
        command = f"['{self.program}', '30', '{self.beat}', '{kind}'], stdout=-3, stderr=-3"
        inside(server, "run.cgi", f"import subprocess; subprocess.run({command})")
        self.hopped()
        eventually(self.hopped)

    def hopped(self) -> bool:
        """Whether any did, since the last look. False where none is left, too."""
        try:
            return bool(os.read(self.reading, 1 << 20))
        except BlockingIOError:
            return False

    def are_gone(self) -> bool:
        """Whether nobody holds the other end any more. What they have written is read first."""
        try:
            while os.read(self.reading, 1 << 20):
                pass
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def hoppers(world: World) -> Iterator[Hoppers]:
    made = Hoppers(world)
    yield made
    eventually(made.are_gone, 40, "they outlived the server")
    os.close(made.reading)


@pytest.fixture
def three(world: World) -> Server:
    hosts = host(world, "alice", ALICE) + host(world, "bob", BOB) + world.virtual_host("carol", CAROL)
    return world.server(f"MaxOwnerProcesses 120\n{hosts}")


@pytest.mark.parametrize("kind", ["-", "continues"])
def test_who_forks_and_leaves_does_not_outlive_the_server(three: Server, hoppers: Hoppers, kind: str) -> None:
    hoppers.start(three, kind)
    assert three.get("bob.test").status == 200
    assert three.stop() == 0
    assert hoppers.are_gone()


def test_who_forks_and_leaves_does_not_outlive_the_launcher(three: Server, hoppers: Hoppers) -> None:
    """Its owner ends the launcher himself: the rest is ended by a process of his, and nobody waits for that."""
    hoppers.start(three)
    (launcher,) = [process for process in three.processes("launcher") if process.uid == ALICE]
    os.kill(launcher.pid, signal.SIGKILL)
    assert three.get("carol.test").status == 200, "a worker is started meanwhile"
    eventually(hoppers.are_gone, 20)
    assert inside(three, "run.cgi", "print('again')") == "again\n"


def test_who_forks_and_leaves_does_not_outlive_the_forkserver(three: Server, hoppers: Hoppers) -> None:
    """The launcher ends its programs when the forkserver was killed, and the server with it."""
    hoppers.start(three)
    launchers = three.processes("launcher")
    os.kill(three.processes("forkserver")[0].pid, signal.SIGKILL)
    assert three.process is not None
    assert three.process.wait(15) == 1
    eventually(hoppers.are_gone, 20)
    eventually(lambda: not any(launcher.alive for launcher in launchers))


def test_an_owner_has_a_bounded_number_of_processes(world: World) -> None:
    server = world.server("MaxOwnerProcesses 40\n" + host(world, "alice", ALICE) + host(world, "bob", BOB))
    code = """
        import os, signal
        made = []
        try:
            while len(made) < 100:
                made.append(os.fork())
                if made[-1] == 0:
                    signal.pause()
        except BlockingIOError as error:
            print(error.strerror)
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(len(made) < 40)
    """
    assert inside(server, "run.cgi", code) == "Resource temporarily unavailable\nTrue\n"
    assert server.get("bob.test").status == 200
