"""The fence around files, ports and neighbours, tried in real processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ownhost.identity import landlock

PRELUDE = """
import errno, os, signal, socket, sys, tempfile
from ownhost.identity import landlock, prctl
folder = sys.argv[1]
prctl.set_no_new_privs()

def attempt(name, what):
    try:
        what()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "worked")
"""

needs = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


def run(code: str, folder: Path) -> list[str]:
    """A child's lines."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@needs
def test_a_worker_writes_where_it_was_told_alone(tmp_path: Path) -> None:
    spool, tree = tmp_path / "spool", tmp_path / "tree"
    spool.mkdir()
    tree.mkdir()
    (tree / "page.html").write_text("page")
    code = """
        os.chdir(folder)
        log = os.open("tree/own.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # open before
        landlock.restrict(landlock.reading_only([folder + "/spool", folder + "/missing"]))
        attempt("read", lambda: open("tree/page.html").read())
        attempt("list", lambda: os.listdir("tree"))
        attempt("append to what is open", lambda: os.write(log, b"line"))
        attempt("write", lambda: open("tree/page.html", "r+"))
        attempt("append", lambda: open("tree/page.html", "a"))
        attempt("truncate", lambda: os.truncate("tree/page.html", 0))
        attempt("make", lambda: open("tree/new", "x"))
        attempt("remove", lambda: os.unlink("tree/page.html"))
        attempt("rename", lambda: os.rename("tree/page.html", "tree/other.html"))
        attempt("link", lambda: os.link("tree/page.html", "spool/page.html"))
        attempt("symlink", lambda: os.symlink("x", "tree/link"))
        attempt("fifo", lambda: os.mkfifo("spool/fifo"))
        attempt("folder", lambda: os.mkdir("spool/folder"))
        attempt("exec", lambda: os.execv("/bin/true", ["true"]))
        attempt("device", lambda: open("/dev/zero", "wb"))
        attempt("nothing", lambda: open("/dev/null", "wb").write(b"x"))
        attempt("own memory", lambda: open("/proc/self/mem", "r+b"))
        def spooled():
            with tempfile.TemporaryFile(dir=folder + "/spool") as file:
                file.write(b"x" * 99999); file.flush(); file.truncate(0)
            with tempfile.NamedTemporaryFile(dir=folder + "/spool") as file:
                file.write(b"x")
        attempt("spool", spooled)
        memory = os.memfd_create("pem")
        attempt("memory file", lambda: open(f"/proc/self/fd/{memory}", "r+b").write(b"x"))
        attempt("out of the spool", lambda: (open("spool/a", "x"), os.rename("spool/a", "tree/a")))
    """
    refused = [
        "write", "append", "truncate", "make", "remove", "rename", "symlink", "fifo", "folder", "exec", "device",
        "own memory",
    ]  # fmt: skip
    worked = ["read", "list", "append to what is open", "spool", "memory file", "nothing"]
    said = dict(line.rsplit(" ", 1) for line in run(code, tmp_path))
    assert {name for name, word in said.items() if word == "worked"} == set(worked)
    moved = [said.pop(name) for name in ("link", "out of the spool")]  # from one folder into another
    assert set(moved) <= {"EACCES", "EXDEV"}
    assert {name for name, word in said.items() if word == "EACCES"} == set(refused)


@needs
def test_a_gate_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("")
    code = """
        listener = socket.create_server(("127.0.0.1", 0))
        name = listener.getsockname()
        opened = os.open(folder + "/page", os.O_RDWR)
        landlock.restrict(landlock.NOTHING)
        attempt("read", lambda: open(folder + "/page"))
        attempt("list", lambda: os.listdir(folder))
        attempt("null", lambda: open("/dev/null", "wb"))
        attempt("what is open", lambda: os.write(opened, b"x"))
        ours, theirs = socket.socketpair()
        attempt("pair", lambda: ours.send(b"x"))
        if landlock.version() >= 4:
            attempt("connect", lambda: socket.create_connection(name))
            attempt("bind", lambda: socket.create_server(("127.0.0.1", 0)))
    """
    said = dict(line.rsplit(" ", 1) for line in run(code, tmp_path))
    assert [name for name, word in said.items() if word == "worked"] == ["what is open", "pair"]
    assert {word for word in said.values() if word != "worked"} == {"EACCES"}


@needs
@pytest.mark.skipif(landlock.version() < 6, reason="this kernel's Landlock knows neither sockets nor signals")
def test_neighbours_are_out_of_reach(tmp_path: Path) -> None:
    code = """
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\\0ownhost-test-" + str(os.getpid()))
        listener.listen()
        tcp = socket.create_server(("127.0.0.1", 0))
        reading, writing = os.pipe()
        if (neighbour := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        landlock.restrict(landlock.reading_only([]))
        attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect(listener.getsockname()))
        attempt("signal", lambda: os.kill(neighbour, signal.SIGTERM))
        attempt("a port of one's own", lambda: socket.socket().bind(("127.0.0.1", 0)))
        attempt("a port", lambda: socket.socket().bind(("127.0.0.1", 54_321)))
        attempt("connect", lambda: socket.create_connection(tcp.getsockname()))
        os.close(writing)
        os.waitpid(neighbour, 0)
    """
    said = dict(line.rsplit(" ", 1) for line in run(code, tmp_path))
    assert said == {
        "abstract socket": "EPERM",
        "signal": "EPERM",
        "a port of one's own": "worked",
        "a port": "EACCES",
        "connect": "worked",
    }


def test_a_kernel_without_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert "no Landlock" in landlock.missing()
    landlock.restrict(landlock.NOTHING)
    assert tmp_path.exists()
    monkeypatch.setattr(landlock, "version", lambda: 1)
    assert landlock.missing() == ""
    code = """
        landlock.version = lambda: 1  # an old one: what it does not know is not given up
        landlock.restrict(landlock.NOTHING)
        attempt("read", lambda: open(folder + "/page"))
        attempt("bind", lambda: socket.create_server(("127.0.0.1", 0)))
    """
    if landlock.version():
        assert run(code, tmp_path)[1:] == ["bind worked"]
