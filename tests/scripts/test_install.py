"""`sudo ./scripts/install`, on a machine of its own: a namespace with folders and a network that nobody else sees.

pip's part, which needs the network, is played: what it would install is there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apart import apart
from harness import BOB
from installing import install
from ownhost.identity.roles import RESERVED

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs/install.md"
PIP = """\
import shutil, sys, sysconfig
shutil.copytree(sys.argv[-1] + "/src/ownhost", sysconfig.get_path("purelib") + "/ownhost", dirs_exist_ok=True)
"""
COMMAND = "#!{}\nimport sys\nfrom ownhost.admin.cli import main\nsys.exit(main())\n"
SETUP = """\
set -e
ip link set lo up
mkdir {0}/changes
mount -t tmpfs tmpfs {0}/changes
for folder in /etc /usr/local/bin; do
    mkdir -p {0}/changes$folder {0}/changes/work$folder
    mount -t overlay -o "lowerdir=$folder,upperdir={0}/changes$folder,workdir={0}/changes/work$folder" overlay $folder
done
for folder in /srv /var/log /run/systemd; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=755 tmpfs $folder
done
echo ready
exec sleep infinity
"""
SYSTEMCTL = '#!/bin/sh\necho "$*" >>/srv/systemctl\n[ "$1$2" != --quietis-active ]\n'  # nothing is active

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")]


@dataclass
class Machine:
    """Where it is installed. Files of this machine are below `/proc/PID/root`."""

    folder: Path
    pid: int

    @property
    def prefix(self) -> Path:
        return self.folder / "ownhost"

    def path(self, name: str) -> Path:
        """How a file of the machine's is called here."""
        return Path(f"/proc/{self.pid}/root{name}")

    def command(self, *command: str | Path) -> list[str]:
        # Its root is named, as it may be that of a chroot.
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--root", "--wd"]
        return [*enter, "sh", "-c", f'cd {shlex.quote(str(ROOT))}; exec "$@"', "sh", *map(str, command)]

    def run(self, *command: str | Path, status: int = 0) -> str:
        """What a command says, on both outputs."""
        done = subprocess.run(
            self.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def install(self, *arguments: str | Path, status: int = 0) -> str:
        return self.run("./scripts/install", "--prefix", self.prefix, *arguments, status=status)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script has made, and pip installed in it."""
    folder = tmp_path_factory.mktemp("made") / "venv"
    install(folder)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "pip").mkdir()
    (packages / "pip/__main__.py").write_text(PIP)
    return folder


@pytest.fixture
def machine(environment: Path) -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="ownhost-test-"))
    folder.chmod(0o711)
    setup = [*apart("--net"), "sh", "-c", SETUP.format(folder)]
    with subprocess.Popen(setup, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = Machine(folder, process.pid)
        (found.prefix / "installed").mkdir(parents=True)
        shutil.copytree(environment, found.prefix / "venv", symlinks=True)
        command = found.prefix / "venv/bin/ownhost"
        command.write_text(COMMAND.format(command.parent / "python"))
        command.chmod(0o755)
        try:
            yield found
        finally:
            process.kill()
    shutil.rmtree(folder)


def answer(machine: Machine) -> str:
    return machine.run("curl", "-sS", "http://127.0.0.1/")


def test_it_serves_a_first_site_and_is_removed_without_a_trace(machine: Machine) -> None:
    said = machine.install()
    assert "is installed" in said
    assert "Start the server by hand: ownhost run" in said
    assert machine.run("ownhost", "check") == "Syntax OK\n"
    assert "ownhost-welcome" in machine.run("ownhost", "vhosts")
    as_bob = ["setpriv", f"--reuid={BOB}", f"--regid={BOB}", "--clear-groups"]
    assert machine.run(*as_bob, "ownhost", "--version").startswith("ownhost ")
    with subprocess.Popen(machine.command("ownhost", "run"), stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "listening on *:80" in server.stderr.readline()
        assert "Ownhost works" in answer(machine)
        owner = machine.run("id", "-u", "ownhost-welcome").strip()
        titles = machine.run("ps", "-o", "uid=,args=", "-u", owner)
        assert "ownhost: worker ownhost-welcome" in titles
        for role in ("gate", "logger"):
            assert f"ownhost: {role}\n" in machine.run("ps", "-o", "args=", "-u", f"ownhost-{role}")
        server.terminate()
    assert f"ExecStart={machine.prefix}/venv/bin/ownhost run\n" in machine.path(UNIT).read_text()
    assert '"GET / HTTP/1.1" 200' in machine.path("/var/log/ownhost/access.log").read_text()
    shutil.rmtree(machine.path("/var/log/ownhost"))
    assert machine.install("--remove") == "Ownhost is removed.\n"
    for name in (UNIT, "/etc/ownhost", "/srv/ownhost-welcome", "/usr/local/bin/ownhost", str(machine.prefix)):
        assert not os.path.lexists(machine.path(name)), name
    for name in ("welcome", *RESERVED):
        machine.run("id", f"ownhost-{name}", status=1)
        machine.run("getent", "group", f"ownhost-{name}", status=2)


UNIT = "/etc/systemd/system/ownhost.service"
CONFIGURATION = "/etc/ownhost/ownhost.conf"
SITE = "/etc/ownhost/sites/000-welcome.conf"


def test_a_site_of_its_own_as_the_manual_shows_it(machine: Machine) -> None:
    machine.install()
    (text,) = re.findall(r"^```apacheconf\n(.*?)^```", MANUAL.read_text(), re.MULTILINE | re.DOTALL)
    machine.run("useradd", "alice")
    machine.path("/etc/ownhost/sites/alice.conf").write_text(text.replace("/home/alice", "/srv/alice"))
    machine.path("/srv/alice/public_html").mkdir(parents=True)
    assert machine.run("ownhost", "check") == "Syntax OK\n"
    assert re.search(r"alice.example +.* alice +alice ", machine.run("ownhost", "vhosts"))


def test_what_has_been_changed_stays(machine: Machine) -> None:
    machine.install()
    changed = machine.path(CONFIGURATION).read_text() + "# mine\n"
    machine.path(CONFIGURATION).write_text(changed)
    machine.path(UNIT).write_text("# mine\n")
    machine.path(SITE).unlink()
    said = machine.install()
    assert f"{UNIT} has been changed: it stays as it is." in said
    assert machine.path(CONFIGURATION).read_text() == changed
    assert machine.path(UNIT).read_text() == "# mine\n"
    assert not machine.path(SITE).exists(), "deleted is deleted"
    said = machine.install("--remove")
    assert f"stay: {UNIT} {CONFIGURATION} /etc/ownhost" in said
    assert machine.path(CONFIGURATION).read_text() == changed


def test_accounts_are_made_once_and_those_of_others_stay(machine: Machine) -> None:
    machine.run("useradd", "--system", "ownhost-logger")
    theirs = machine.run("id", "ownhost-logger")
    machine.install()
    made = machine.path("/etc/passwd").read_text()
    lines = [line for line in made.splitlines() if line.startswith("ownhost-")]
    assert {line.split(":")[0] for line in lines} == {f"ownhost-{name}" for name in ("welcome", *RESERVED)}
    for line in lines:
        name, _, uid, gid, _, home, shell = line.split(":")
        if name != "ownhost-logger":
            assert int(uid) < 1_000 > int(gid), "a system user"
            assert (home == "/nonexistent", shell) == (name != "ownhost-welcome", "/usr/sbin/nologin")
    machine.install()
    assert machine.path("/etc/passwd").read_text() == made
    machine.run("userdel", "ownhost-front")
    assert machine.install("--remove") == "Ownhost is removed.\n"
    assert machine.run("id", "ownhost-logger") == theirs
    for name in ("gate", "resolver", "front"):
        machine.run("id", f"ownhost-{name}", status=1)


def test_an_upgrade_is_installed(machine: Machine) -> None:
    machine.install()
    (module,) = machine.prefix.glob("venv/lib/python3*/site-packages/ownhost/__init__.py")
    module.write_text("an older one")
    (machine.prefix / "installed/version").write_text("an older one")
    unit = machine.path(UNIT)
    for file in (unit, machine.prefix / f"installed{UNIT}"):
        file.write_text("as an older one wrote it")
    machine.install()
    assert module.read_text() == (ROOT / "src/ownhost/__init__.py").read_text()
    assert "ExecStart" in unit.read_text()


def test_a_configuration_that_is_there_is_not_touched(machine: Machine) -> None:
    machine.path("/etc/ownhost").mkdir()
    machine.path(CONFIGURATION).write_text("Listen 8080\n")
    machine.install()
    assert machine.path(CONFIGURATION).read_text() == "Listen 8080\n"
    assert not machine.path("/srv/ownhost-welcome").exists()
    machine.install("--remove")
    assert machine.path(CONFIGURATION).read_text() == "Listen 8080\n"


def test_a_folder_that_is_something_elses(machine: Machine) -> None:
    shutil.rmtree(machine.prefix)
    machine.prefix.mkdir()
    (machine.prefix / "theirs").touch()
    assert machine.install(status=1) == f"install: {machine.prefix} is there already, and is not Ownhost's.\n"
    assert machine.install("--remove", status=1).startswith(f"install: there is no Ownhost in {machine.prefix}")
    assert [path.name for path in machine.prefix.iterdir()] == ["theirs"]


def test_a_folder_that_owners_cannot_enter(machine: Machine) -> None:
    machine.folder.chmod(0o700)
    assert "nobody but root can read" in machine.install(status=1)
    assert not machine.prefix.exists()
    assert not machine.path(UNIT).exists()


def with_systemd(machine: Machine) -> None:
    """systemd, as far as the script sees it; what it is told is in a file."""
    machine.path("/run/systemd/system").mkdir(parents=True)
    systemctl = machine.path("/usr/local/bin/systemctl")
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)


def test_where_systemd_runs_it_starts(machine: Machine) -> None:
    with_systemd(machine)
    assert "It runs" in machine.install()
    orders = machine.path("/srv/systemctl")
    assert orders.read_text().splitlines() == [
        "daemon-reload",
        "--quiet is-active ownhost",
        "--quiet enable ownhost",
        "restart ownhost",
    ]
    orders.unlink()
    machine.install("--remove")
    assert orders.read_text().splitlines() == ["--quiet disable --now ownhost", "daemon-reload"]


def test_where_another_program_has_the_port_it_does_not(machine: Machine) -> None:
    with_systemd(machine)
    listen = "import socket, time\nsocket.create_server(('127.0.0.1', 80))\nprint(flush=True)\ntime.sleep(60)\n"
    listen = listen.replace("socket.create_server", "kept = socket.create_server")
    with subprocess.Popen(machine.command("python3", "-c", listen), stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = machine.install()
        other.kill()
    assert "Not started: another program listens on port 80." in said
    assert "enable" not in machine.path("/srv/systemctl").read_text()


def test_the_unit_is_one(machine: Machine) -> None:
    machine.install()
    if shutil.which("systemd-analyze"):
        assert machine.run("systemd-analyze", "verify", UNIT) == ""


def test_a_word_that_is_not_known(machine: Machine) -> None:
    assert machine.install("--purge", status=1) == "install: --purge is not known; see --help.\n"
    assert "Usage: sudo ./scripts/install" in machine.run("./scripts/install", "--help")
