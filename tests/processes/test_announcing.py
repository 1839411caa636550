"""What a server says once it listens: to the log, to the terminal, to systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from ownhost import __version__
from ownhost.config.directive import Problem, Source
from ownhost.identity import landlock
from ownhost.processes.supervisor import announcing
from ownhost.request.request import Level


class Said:
    """A server of two virtual hosts, one of which is refused, and what it says."""

    def __init__(self, fault: str | None = None) -> None:
        self.log: list[str] = []
        servers = [
            SimpleNamespace(source=Source("site.conf", 3), fault=None),
            SimpleNamespace(source=Source("site.conf", 7), fault=fault),
        ]
        listeners = [SimpleNamespace(address=address) for address in ("127.0.0.1:80", "[::1]:80")]
        self.plan = SimpleNamespace(
            config=SimpleNamespace(listeners=listeners, virtual_hosts=servers, servers=servers),
            identities=["alice", "bob", "www"],
            refused_servers=lambda: [(1, "there is no user games")],
        )

    def error(self, level: Level, line: str) -> None:
        self.log.append(f"{level.name} {line}")

    def announce(self, costs: list[Problem] | None = None, remarks: list[Problem] | None = None) -> None:
        announcing.announce(self.plan, self, costs or [], remarks or [])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks nothing."""
    monkeypatch.setattr(landlock, "missing", lambda: "")
    monkeypatch.setattr(announcing, "too_few_for", lambda _: "")
    monkeypatch.setattr(announcing, "delegated", lambda: Path("/sys/fs/cgroup/ownhost"))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


LISTENING = "listening on 127.0.0.1:80, [::1]:80; 2 virtual hosts, 3 identities"


def test_it_listens_and_says_who_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said()
    said.announce()
    assert said.log[0] == f"NOTICE ownhost {__version__}: {LISTENING}"
    assert len(said.log) == 2
    assert said.log[1].startswith("ERROR site.conf:7: ")
    assert said.log[1].endswith("there is no user games")
    assert capsys.readouterr().err == f"ownhost: {LISTENING}\n"


def test_what_is_wrong_with_a_host_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """By the mistake itself, and not by what follows from it."""
    said = Said(fault="its own line is wrong")
    said.announce([Problem(Source("site.conf", 8), "its own line is wrong")])
    assert said.log[1:] == ["ERROR site.conf:8: its own line is wrong"]
    assert capsys.readouterr().err.splitlines()[0] == "site.conf:8: its own line is wrong"


def test_what_is_not_as_it_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "missing", lambda: "no Landlock here")
    monkeypatch.setattr(announcing, "too_few_for", lambda count: f"few descriptors for {count}")
    monkeypatch.setattr(announcing, "delegated", lambda: None)
    said = Said(fault="known")
    said.announce(remarks=[Problem(Source("site.conf", line), "a remark") for line in (4, 9)])
    assert said.log[1:4] == [
        "NOTICE no Landlock here",
        "WARN few descriptors for 3",
        f"INFO {announcing.NOT_DELEGATED}",
    ]
    (remark,) = said.log[4:]
    assert remark == "WARN site.conf:4: note: a remark (1 more in this file)"


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        Said().announce()
        assert sock.recv(1_000).decode() == f"READY=1\nMAINPID={os.getpid()}"
