"""The demo, as `sudo ./scripts/demo` runs it once .venv is there."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "demo" / "demo.py"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the sites' owners")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def demo(port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(DEMO), "--port", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def folders(port: int) -> set[Path]:
    """The demo's own: others may be at it, too."""
    found = set()
    for folder in Path("/tmp").glob("ownhost-demo-*"):
        with contextlib.suppress(OSError):
            if f":{port}" in (folder / "ownhost.conf").read_text():
                found.add(folder)
    return found


@needs_root
def test_check_passes(port: int) -> None:
    with demo(port, "--check") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    rows = [line.split() for line in out.splitlines() if ".localhost" in line]
    assert {(row[0], row[1], row[-2], row[-3]) for row in rows} == {
        ("alice.localhost", "/", "200", "50001"),
        ("alice.localhost", "/whoami.cgi", "200", "50001"),
        ("alice.localhost", "/bobs-secret.txt", "403", "50001"),
        ("alice.localhost", "/own.txt", "200", "50001"),
        ("bob.localhost", "/", "200", "50002"),
        ("bob.localhost", "/whoami.cgi", "200", "50002"),
        ("bob.localhost", "/alices-secret.txt", "403", "50002"),
        ("bob.localhost", "/own.txt", "-", "ends"),  # on a connection that alice's process has
        ("bob.localhost", "/own.txt", "200", "50002"),
    }
    assert not folders(port)


@needs_root
def test_interrupted_it_leaves_nothing_behind(port: int) -> None:
    with demo(port) as process:
        told = ""
        while "Ctrl-C" not in told:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()
            told += line
        assert f"http://alice.localhost:{port}/" in told
        (folder,) = folders(port)
        assert str(folder / "ownhost.conf") in told
        request = urllib.request.Request(f"http://127.0.0.1:{port}/whoami.cgi", headers={"Host": "bob.localhost"})
        with urllib.request.urlopen(request, timeout=10) as response:
            said = json.load(response)
        assert said == {"uid": "50002", "gid": "50002", "groups": "50002", "mode": "0700"}
        children = processes_of(process.pid)
        assert children
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not folders(port)
    eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with demo(port) as process:
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == f"demo: port {port} is taken; choose another one with --port N.\n"


def processes_of(pid: int) -> set[int]:
    """All descendants of a process."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = [(int(child), int(parent)) for child, parent in map(str.split, table.splitlines())]
    found: set[int] = set()
    while more := {child for child, parent in parents if parent in {pid, *found}} - found:
        found |= more
    return found
