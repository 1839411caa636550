"""What an owner can do with folders of his own that the configuration names: to the server's start, run and stop, and
to root's files. Whatever it is costs his own virtual host at most (S5, S6); root reads no key of his (S13).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encrypted import Sites
from harness import ALICE, BOB, Process, Server, World
from waiting import eventually

RENAME_EXCHANGE = 2


def as_alice(work: Callable[[], None]) -> int:
    """Have something done by a child that is alice. Its pid: it is to be waited for, or ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(ALICE, ALICE, ALICE)
            os.setresuid(ALICE, ALICE, ALICE)
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def done_by_alice(work: Callable[[], None]) -> None:
    assert os.waitpid(as_alice(work), 0)[1] == 0


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Alice at work until the end."""
    pid = as_alice(work)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def held_by(process: Process, folder: Path) -> list[str]:
    return [name for name in process.descriptors().values() if name.startswith(f"{folder}/")]


def root_holds_nothing_of(server: Server, folder: Path) -> None:
    for process in server.processes():
        assert process.uid != 0 or not held_by(process, folder), process.title


# Logs


def a_link(log: Path) -> None:
    log.symlink_to("/dev/null")


def a_link_to_roots(log: Path) -> None:
    log.symlink_to(log.parent.parent.parent / "root-only/file")


def a_fifo(log: Path) -> None:
    os.mkfifo(log)


def a_folder(log: Path) -> None:
    log.mkdir()


def a_socket(log: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(log))


def no_folder(log: Path) -> None:
    (log.parent / "x").unlink()
    log.parent.rmdir()


def a_closed_folder(log: Path) -> None:
    log.parent.chmod(0)


SPOILERS = [a_link, a_link_to_roots, a_fifo, a_folder, a_socket, no_folder, a_closed_folder]


@pytest.mark.parametrize("directive", ["CustomLog {}/a.log %r\n", "ErrorLog {}/a.log\nLogLevel info\n"])
@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_log_that_its_owner_spoils_costs_lines_and_nothing_else(
    world: World, spoil: Callable[[Path], None], directive: str
) -> None:
    (world.folder / "root-only").mkdir(mode=0o700)
    (world.folder / "root-only/file").write_text("root's\n")
    logs = world.site("home", ALICE, {"logs/x": ""}) / "logs"
    done_by_alice(lambda: spoil(logs / "a.log"))
    server = world.server(world.virtual_host("alice", ALICE, directive.format(logs)) + world.virtual_host("bob", BOB))
    for host in ("bob.test", "alice.test", "bob.test"):
        assert server.get(host).status == 200
    assert server.get("alice.test", "/none").status == 404
    eventually(lambda: f"cannot open the log {logs}/a.log: " in server.log())
    assert server.log().count("cannot open the log") == 1
    root_holds_nothing_of(server, logs)
    assert (world.folder / "root-only/file").read_text() == "root's\n"
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_a_log_that_is_mended_is_written_without_a_restart(world: World) -> None:
    logs = world.site("logs", ALICE, {"x": ""})
    done_by_alice(lambda: a_fifo(logs / "a.log"))
    server = world.server(world.virtual_host("alice", ALICE, f'CustomLog {logs}/a.log "%>s"\n'))
    assert server.get("alice.test", "/").status == 200
    eventually(lambda: "cannot open the log" in server.log())
    (logs / "a.log").unlink()
    eventually(lambda: (logs / "a.log").exists() and (logs / "a.log").read_text() == "200\n", 20)
    assert "can be opened again" in server.log()
    assert (logs / "a.log").stat().st_uid == ALICE


def test_a_log_in_an_owners_folder_is_opened_by_his_worker_alone(world: World) -> None:
    logs = world.site("logs", ALICE, {"x": ""})
    alice = world.virtual_host("alice", ALICE, f'CustomLog {logs}/a.log "%>s"\n')
    server = world.server(alice + world.virtual_host("bob", BOB))
    for host in ("alice.test", "bob.test"):
        assert server.get(host).status == 200
    eventually(lambda: (logs / "a.log").exists() and (logs / "a.log").read_text() == "200\n")
    for process in server.processes():
        assert (process.uid == ALICE) == bool(held_by(process, logs)), process.title


def test_roots_own_names_that_an_owner_moved_lead_nowhere(world: World) -> None:
    """A folder and a link of root's, in a folder that alice may write to, are hers to rename."""
    home = world.site("home", ALICE, {"logs/x": ""})
    for name in ("root-only", "another"):
        (world.folder / name).mkdir(mode=0o700)
    (home / "backup").symlink_to(world.folder / "root-only")
    (home / "made-by-root").mkdir()

    def exchange() -> None:
        (home / "logs").rename(home / "old")
        (home / "backup").rename(home / "logs")

    done_by_alice(exchange)
    server = world.server(
        world.virtual_host(
            "alice", ALICE, f"CustomLog {home}/logs/a.log %r\nErrorLog {home}/made-by-root/e.log\nLogLevel info\n"
        )
    )
    assert server.get("alice.test").status == 200
    assert server.get("alice.test", "/none").status == 404
    eventually(lambda: server.log().count("cannot open the log") == 2)
    assert not list((world.folder / "root-only").iterdir())
    assert not list((home / "made-by-root").iterdir())


def test_the_main_error_log_is_in_root_folders_or_the_server_says_so_and_ends(world: World) -> None:
    logs = world.site("logs", ALICE, {"x": ""})
    server = world.server(f"ErrorLog {logs}/error.log\n" + world.virtual_host("bob", BOB), start=False)
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(60) == 1
    why = f"others than root may write to {logs}, so root opens nothing there"
    assert f"ownhost: cannot open the log {logs}/error.log: {why}\n" == server.stderr


def test_a_pid_file_in_an_owners_folder_is_not_written(world: World) -> None:
    pids = world.site("pids", ALICE, {"x": ""})
    secret = world.folder / "secret"
    secret.write_text("root's\n")
    done_by_alice(lambda: os.symlink(secret, pids / "pid"))
    server = world.server(f"PidFile {pids}/pid\n" + world.virtual_host("bob", BOB))
    assert server.get("bob.test").status == 200
    eventually(lambda: f"the PidFile {pids}/pid is not written: others than root may write to {pids}" in server.log())
    assert server.stop() == 0
    assert secret.read_text() == "root's\n"
    assert (pids / "pid").is_symlink()


def test_a_link_that_is_exchanged_while_it_is_looked_at(world: World) -> None:
    """Root's link and alice's, in alice's folder, under one name in turns: neither is followed."""
    home = world.site("home", ALICE, {"x": ""})
    for name, text in (("secret", "root's alone\n"), ("harmless", "harmless\n")):
        (world.folder / name).mkdir(mode=0o700)
        (world.folder / name / "key.pem").write_text(text)
    (home / "ssl").symlink_to(world.folder / "harmless")
    libc = ctypes.CDLL(None)

    def exchange() -> None:
        os.symlink(world.folder / "secret", home / "mine")
        while True:
            libc.renameat2(-100, os.fsencode(home / "ssl"), -100, os.fsencode(home / "mine"), RENAME_EXCHANGE)

    look = """import sys
from pathlib import Path
from ownhost.processes.supervisor import trusted
for _ in range(20_000):
    try:
        trusted.open_file(Path(sys.argv[1]))
    except OSError:
        continue
    sys.exit(1)
"""
    with meanwhile(exchange):
        subprocess.run([sys.executable, "-c", look, str(home / "ssl/key.pem")], check=True, timeout=60)


# Keys, certificates, authorities


@pytest.fixture
def hers(world: World, sites: Sites) -> Path:
    """A folder of alice's with a certificate and its key."""
    made = sites.authority.issue("alice.test")
    folder = world.site("hers", ALICE, {"x": ""})
    made.files(folder, "alice")
    for name in ("alice.crt", "alice.key"):
        os.chown(folder / name, ALICE, ALICE)
    return folder


def own_keys(folder: Path) -> str:
    return f"SSLCertificateFile {folder}/alice.crt\nSSLCertificateKeyFile {folder}/alice.key\n"


def test_keys_in_an_owners_folder_are_read_by_his_processes_alone(world: World, sites: Sites, hers: Path) -> None:
    alice = sites.virtual_host("alice", ALICE, "Protocols h2 http/1.1\n", certificate=own_keys(hers))
    server = world.server(alice + sites.virtual_host("bob", BOB))
    root_holds_nothing_of(server, hers)
    for host in ("alice.test", "bob.test"):
        assert sites.get(server, host).status == 200
    root_holds_nothing_of(server, hers)
    context = sites.context()
    context.set_alpn_protocols(["h2"])
    with sites.connect(server, "alice.test", context) as sock:
        assert sock.selected_alpn_protocol() == "h2", "what was seen of the certificate did not arrive"


def replaced(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def to_roots_key(path: Path) -> None:
    path.symlink_to(path.parent.parent / "keys/bob.key")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def nothing(path: Path) -> None:
    """Nothing is made."""


KEYS = [
    replaced("alice.key", a_fifo),
    replaced("alice.crt", a_fifo),
    replaced("alice.key", a_folder),
    replaced("alice.key", to_roots_key),
    replaced("alice.crt", huge),
    replaced("alice.key", nothing),
    lambda folder: folder.chmod(0),
]


@pytest.mark.parametrize("spoil", KEYS, ids=range(len(KEYS)))
def test_keys_that_their_owner_spoils_cost_him_his_tls(
    world: World, sites: Sites, hers: Path, spoil: Callable[[Path], None]
) -> None:
    alice = sites.virtual_host("alice", ALICE, certificate=own_keys(hers))
    text = alice + sites.virtual_host("bob", BOB)
    done_by_alice(lambda: spoil(hers))
    server = world.server(text)
    assert sites.get(server, "bob.test").status == 200
    with pytest.raises(OSError, match=r"."):
        sites.get(server, "alice.test")
    assert sites.get(server, "bob.test").status == 200
    eventually(lambda: "its connections end before they are encrypted" in server.log())
    root_holds_nothing_of(server, hers)
    assert server.stop() == 0


def test_keys_that_are_mended_are_used_without_a_restart(world: World, sites: Sites, hers: Path) -> None:
    alice = sites.virtual_host("alice", ALICE, certificate=own_keys(hers))
    done_by_alice(lambda: os.rename(hers / "alice.key", hers / "away"))
    server = world.server(alice)
    with pytest.raises(OSError, match=r"."):
        sites.get(server, "alice.test")
    done_by_alice(lambda: os.rename(hers / "away", hers / "alice.key"))

    def served() -> bool:
        with contextlib.suppress(OSError):
            return sites.get(server, "alice.test").status == 200
        return False

    eventually(served, 30)


@pytest.mark.parametrize("files", [20, 3_000])
def test_a_folder_of_authorities_that_its_owner_fills(world: World, sites: Sites, files: int) -> None:
    """More files than are read, or fewer, and behind them a FIFO."""
    folder = world.site("authorities", ALICE, {"0.pem": sites.authority.pem})
    for number in range(files):
        (folder / f"f{number}").touch()
    os.mkfifo(folder / "z")
    extra = f"SSLVerifyClient optional\nSSLCACertificatePath {folder}\n"
    server = world.server(sites.virtual_host("alice", ALICE, extra) + sites.virtual_host("bob", BOB))
    assert sites.get(server, "bob.test").status == 200
    assert len(Process(server.pid).descriptors()) < 100
    why = "it is not a regular file" if files == 20 else "it has more than 1024 files"
    eventually(lambda: f"SSLCACertificatePath {folder} cannot be read: {why}" in server.log())
    root_holds_nothing_of(server, folder)


def test_an_owner_who_holds_up_the_look_at_his_keys_holds_up_nobody_for_long(
    world: World, sites: Sites, hers: Path
) -> None:
    """He stops each process of his as soon as there is one."""
    server = world.server(
        sites.virtual_host("alice", ALICE, certificate=own_keys(hers)) + sites.virtual_host("bob", BOB), start=False
    )

    server.start(wait=False)

    def stop_hers() -> None:
        while True:
            for process in server.processes():
                with contextlib.suppress(OSError):  # not hers
                    os.kill(process.pid, signal.SIGSTOP)

    with meanwhile(stop_hers):
        eventually(lambda: "listening on" in server.stderr, 25)
        assert sites.get(server, "bob.test").status == 200
    assert not [process for process in server.processes() if process.role == "examiner" and process.alive]


def test_no_process_that_is_roots_reads_a_key(world: World, sites: Sites, hers: Path) -> None:
    """As strace(1) sees the start: what is read of a key or certificate is read by its owner."""
    strace = "/usr/bin/strace"
    if not os.access(strace, os.X_OK):
        pytest.skip("there is no strace")
    alice = sites.virtual_host("alice", ALICE, certificate=own_keys(hers))
    server = world.server(alice + sites.virtual_host("bob", BOB), start=False)
    trace = world.folder / "trace"
    wrapper = world.folder / "traced-python"
    calls = "openat,open,read,pread64,setresuid,newfstatat,stat,lstat,readlink,readlinkat"
    wrapper.write_text(f'#!/bin/sh\nexec {strace} -D -f -yy -e trace={calls} -o {trace} {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    server.start(python=str(wrapper))
    became: dict[str, bool] = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        if "setresuid(500" in call:
            became[pid] = True
        if pid in became:
            continue
        assert not call.strip().startswith(("read(", "pread64(")) or "/keys/" not in call, line
        assert f'"{hers}/' not in call, line
    assert became
