"""The demo, as `sudo ./scripts/demo` runs it once .venv is there."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "demo" / "demo.py"
PORT = 19430

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the sites' owners")


def demo(*arguments):
    command = [sys.executable, DEMO, "--port", str(PORT), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def folders():
    return set(Path(tempfile.gettempdir()).glob("ownhost-demo-*"))


@needs_root
def test_check_passes():
    before = folders()
    process = demo("--check")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    rows = [line.split() for line in out.splitlines() if ".localhost" in line]
    assert {(row[0], row[1], row[-2], row[-3]) for row in rows} == {
        ("alice.localhost", "/", "200", "50001"),
        ("alice.localhost", "/bobs-secret.txt", "403", "50001"),
        ("alice.localhost", "/own.txt", "200", "50001"),
        ("bob.localhost", "/", "200", "50002"),
        ("bob.localhost", "/alices-secret.txt", "403", "50002"),
        ("bob.localhost", "/own.txt", "200", "50002"),
    }
    assert folders() == before


@needs_root
def test_interrupted_it_leaves_nothing_behind():
    before = folders()
    process = demo()
    told = ""
    while "Ctrl-C" not in told:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told += line
    assert f"http://alice.localhost:{PORT}/" in told
    (folder,) = folders() - before
    assert str(folder / "ownhost.conf") in told
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/", headers={"Host": "bob.localhost"})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert b"runs as uid 50002" in response.read()
    children = processes_of(process.pid)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    process.communicate()
    assert not folder.exists()
    assert wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", PORT), 1):
        pass


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", PORT)):
        out, err = (process := demo()).communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == f"demo: port {PORT} is taken; choose another one with --port N.\n"


def processes_of(pid):
    """All descendants of a process."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in table.splitlines()]
    found = set()
    while more := {child for child, parent in parents if parent in {pid, *found}} - found:
        found |= more
    return found


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
