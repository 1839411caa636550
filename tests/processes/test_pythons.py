"""Which Python owners' applications are to run on: what `ownhost check` and a server that starts say of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import ALICE, World
from ownhost.admin.cli import main
from ownhost.processes.supervisor import pythons

Check = Callable[[str], list[str]]
CONFIGURATION = """\
Listen 127.0.0.1:19420
ServerName localhost
User "#50080"
Group "#50080"
<VirtualHost 127.0.0.1:19420>
    ServerName alice.test
    AssignUserID "#50001" "#50001"
    {}
</VirtualHost>
"""


@pytest.fixture
def check(world: World) -> Check:
    """The notes of `ownhost check` on a virtual host of Alice's that says so."""

    def check(said: str) -> list[str]:
        file = world.folder / "ownhost.conf"
        file.write_text(CONFIGURATION.format(said.replace("; ", "\n    ")))
        result = CliRunner().invoke(main, ["check", "-f", str(file)])
        assert result.exit_code == 0, result.output
        return [line.removeprefix(f"{file}:") for line in result.stderr.splitlines()]

    return check


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_default_that_everybody_may_run(check: Check) -> None:
    assert check("WSGIScriptAlias / /srv/app.wsgi; ASGIScriptAlias /chat /srv/asgi.py") == []


@pytest.mark.parametrize("alias", ["WSGIScriptAlias / /srv/app.wsgi", "ASGIScriptAlias / /srv/asgi.py"])
def test_a_default_that_owners_cannot_run(
    check: Check, alias: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = executable(world.folder / "closed/bin/python")
    closed.parents[1].chmod(0o700)
    monkeypatch.setattr(pythons, "PYTHONS", (str(closed), f"{world.folder}/none"))
    assert check(alias) == [
        f"8: note: #50001 (uid 50001) cannot run {closed} or {world.folder}/none, for Python applications: "
        f"{world.folder}/closed is 0700 root:root, and they may not enter it"
    ]
    assert check("DocumentRoot /srv") == []
    monkeypatch.setattr(pythons, "PYTHONS", (str(closed), "/usr/bin/python3"))
    assert check(alias) == []


@pytest.mark.parametrize(
    "said",
    [
        "WSGIDaemonProcess site python-home={}; WSGIScriptAlias / /srv/app.wsgi process-group=site",
        "WSGIDaemonProcess site python-home={}; WSGIScriptAlias / /srv/app.wsgi; WSGIProcessGroup site",
        "WSGIDaemonProcess site python-home={}; WSGIScriptAlias / /srv/app.wsgi; "
        "<Location />; WSGIProcessGroup site; </Location>",
        "ASGIDaemonProcess site python-home={}; ASGIScriptAlias / /srv/asgi.py process-group=site",
    ],
)
def test_an_environment_that_its_owner_cannot_run(check: Check, said: str, world: World) -> None:
    home = world.folder / "venv"
    assert check(said.format(home)) == [
        f"8: note: there is no {home}/bin/python, for Python applications; python-home= names a virtual environment"
    ]
    real = executable(world.folder / "closed/bin/python")
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").symlink_to(real)
    assert check(said.format(home)) == []
    real.parent.chmod(0o700)  # a virtual environment that root made, on a Python of root's own
    assert check(said.format(home)) == [
        f"8: note: #50001 (uid 50001) cannot run {home}/bin/python, for Python applications: "
        f"{real.parent} is 0700 root:root, and they may not enter it"
    ]
    os.chown(real.parent, ALICE, ALICE)
    assert check(said.format(home)) == []


def test_a_group_that_no_application_is_in(check: Check, world: World) -> None:
    assert check(f"WSGIDaemonProcess site python-home={world.folder}/none; WSGIScriptAlias / /srv/app.wsgi") == []


def test_a_server_that_starts_says_so(world: World) -> None:
    home = world.folder / "none"
    said = f"WSGIDaemonProcess site python-home={home}\nWSGIScriptAlias / {world.folder}/a.wsgi process-group=site\n"
    server = world.server(world.virtual_host("alice", ALICE, said))
    assert f"there is no {home}/bin/python, for Python applications" in server.log()
