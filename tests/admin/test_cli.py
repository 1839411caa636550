"""The command line, as people and programs use it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ownhost import __version__
from ownhost.admin import command_line
from ownhost.admin.cli import main

GOOD = """\
ServerRoot {root}
Listen 127.0.0.1:19420
ServerName localhost
User www-data
Group www-data
<VirtualHost 127.0.0.1:19420>
    ServerName alice.localhost
    ServerAlias www.alice.localhost *.alice.localhost
    AssignUserID "#50001" "#50011"
    <Directory {root}/shared>
        AssignUserID "#50003" "#50003"
    </Directory>
</VirtualHost>
<VirtualHost 127.0.0.1:19420>
    ServerName nobody.localhost
    AssignUserID no-such-user no-such-group
</VirtualHost>
"""
USERS = "User www-data\nGroup www-data\n"
BAD = """\
ServerRoot {root}
DocumentRot /srv
KeepAlive perhaps
"""

Write = Callable[..., str]  # a file of the text, and its name


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "ownhost.conf") -> str:
        file = tmp_path / name
        file.write_text(text.format(root=tmp_path))
        return str(file)

    return write


def ownhost(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_version() -> None:
    assert ownhost("--version").output == f"ownhost {__version__}\n"


def test_check_of_a_good_configuration(write: Write) -> None:
    result = ownhost("check", "-f", write(f"Listen 127.0.0.1:19420\nServerName localhost\n{USERS}"))
    assert (result.exit_code, result.stdout) == (0, "Syntax OK\n")


def test_check_says_every_error_where_it_is(write: Write) -> None:
    file = write(BAD)
    result = ownhost("check", "-f", file)
    first, second = result.stdout.splitlines()
    assert result.exit_code == 1
    assert first.startswith(f"{file}:2: ")
    assert "DocumentRoot" in first
    assert second.startswith(f"{file}:3: ")
    assert "KeepAlive" in second


def test_check_as_json(write: Write) -> None:
    file = write(BAD)
    result = ownhost("check", "--json", "-f", file)
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"]) == (1, False)
    assert [(p["file"], p["line"]) for p in answer["problems"]] == [(file, 2), (file, 3)]
    assert all(p["message"] for p in answer["problems"])


def test_check_notes_an_identity_that_there_is_not_but_passes(write: Write) -> None:
    file = write(GOOD)
    result = ownhost("check", "-f", file)
    assert (result.exit_code, result.stdout) == (0, "Syntax OK\n")
    assert f"{file}:16: note: no identity: " in result.stderr
    assert "no-such-user" in result.stderr
    notes = json.loads(ownhost("check", "--json", "-f", file).stdout)["notes"]
    assert (file, 16) in [(note["file"], note["line"]) for note in notes]


def test_directives_before_and_after_the_file(write: Write) -> None:
    file = write("<IfDefine LATE>\nNoSuchDirective\n</IfDefine>\nListen 127.0.0.1:${{PORT}}\n" + USERS)
    assert ownhost("check", "-f", file, "-C", "Define PORT 19421").exit_code == 0
    assert ownhost("check", "-f", file, "-C", "Define PORT 19421", "-D", "LATE").exit_code == 1
    after = ownhost("check", "-f", file, "-C", "Define PORT 19421", "-c", "NoSuchDirective on")
    assert after.exit_code == 1
    assert "NoSuchDirective" in after.stdout


def test_server_root_from_the_command_line(write: Write, tmp_path: Path) -> None:
    write(f"Listen 127.0.0.1:19422\n{USERS}", "ports.conf")
    file = write("Include ports.conf\n")
    assert ownhost("check", "-f", file, "-d", str(tmp_path)).exit_code == 0
    assert ownhost("check", "-f", file, "-d", "/nonexistent").exit_code == 1


@pytest.mark.parametrize("command", ["check", "vhosts", "run"])
def test_a_file_that_is_not_there_is_one_sentence(command: str, tmp_path: Path) -> None:
    result = ownhost(command, "-f", str(tmp_path / "missing.conf"))
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "missing.conf" in result.output
    assert "Traceback" not in result.output


def test_a_message_may_quote_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "binary.conf"
    file.write_bytes(b"Listen \xff\xfe\n")
    result = ownhost("check", "-f", str(file))
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{file}:1: ")


@pytest.mark.parametrize("command", ["check", "vhosts", "run"])
def test_no_file_named_and_no_default_is_one_sentence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "DEFAULT_FILE", str(tmp_path / "ownhost.conf"))
    result = ownhost(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"ownhost: there is no {tmp_path}/ownhost.conf; name a configuration file with -f FILE.\n"


def test_the_default_is_read_where_no_file_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "DEFAULT_FILE", write(BAD))
    result = ownhost("check")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{command_line.DEFAULT_FILE}:2: ")


def test_vhosts_shows_who_serves_what_and_where_it_was_said(write: Write) -> None:
    file = write(GOOD)
    result = ownhost("vhosts", "-f", file)
    assert result.exit_code == 0
    rows = {line.split()[1]: line for line in result.stdout.splitlines()}
    alice = rows["alice.localhost"]
    for part in (
        "127.0.0.1:19420",
        "www.alice.localhost *.alice.localhost",
        "50001",
        "50011",
        f"{file}:6",
        f"{file}:9",
    ):
        assert part in alice
    assert "refused" in rows["nobody.localhost"]
    assert "50003" in next(line for line in result.stdout.splitlines() if "<Directory" in line)
    assert f"{file}:16: no identity: " in result.stderr


def test_vhosts_as_json(write: Write, tmp_path: Path) -> None:
    file = write(GOOD)
    server, alice, nobody = json.loads(ownhost("vhosts", "--json", "-f", file).stdout)
    assert (server["main"], server["owner"]["user"]) == (True, "www-data")
    assert alice["addresses"] == ["127.0.0.1:19420"]
    assert alice["aliases"] == ["www.alice.localhost", "*.alice.localhost"]
    assert (alice["owner"]["uid"], alice["owner"]["gid"], alice["owner"]["refused"]) == (50001, 50011, "")
    assert alice["owner"]["declared"] == {"file": file, "line": 9}
    (section,) = alice["sections"]
    assert section["section"] == f'<Directory "{tmp_path}/shared/">'
    assert section["owner"]["uid"] == 50003
    assert nobody["owner"]["uid"] is None
    assert nobody["owner"]["refused"]


def test_directives_lists_what_is_declared() -> None:
    names = {entry["name"] for entry in json.loads(ownhost("directives", "--json").stdout)}
    assert {"AssignUserID", "DocumentRoot", "<VirtualHost>", "Listen"} <= names


def test_one_directive() -> None:
    result = ownhost("directives", "assignuserid")
    assert result.exit_code == 0
    assert "AssignUserID user group" in result.stdout
    assert "mpm_itk" in result.stdout
    assert json.loads(ownhost("directives", "--json", "assignuserid").stdout)["name"] == "AssignUserID"


def test_an_unknown_directive_gets_the_nearest_name() -> None:
    result = ownhost("directives", "DocumentRot")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "DocumentRoot" in result.stderr


def test_a_program_reads_what_a_person_does_not_see_drawn(write: Write) -> None:
    """Output that goes into a pipe is plain: no box, no colour; rich is not even loaded."""
    code = "import sys; from ownhost.admin.cli import main; main(standalone_mode=False); print('rich' in sys.modules)"
    command = [sys.executable, "-c", code, "vhosts", "-f", write(GOOD)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.isascii()
    assert output.splitlines()[-1] == "False"


def test_a_folder_is_one_sentence(tmp_path: Path) -> None:
    result = ownhost("check", "-f", str(tmp_path))
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)
    assert str(tmp_path) in result.output


@pytest.mark.parametrize("command", [("check",), ("vhosts",), ("explain", "http://alice.localhost:19420/")])
def test_the_configuration_may_be_named_as_an_argument(write: Write, command: list[str]) -> None:
    file = write(GOOD)
    assert ownhost(*command, file).stdout == ownhost(*command, "-f", file).stdout
    assert ownhost(*command, file).exit_code == 0


@pytest.mark.parametrize("command", [("check",), ("vhosts",), ("run",), ("explain", "http://x/")])
def test_two_configurations_are_one_too_many(write: Write, command: list[str]) -> None:
    result = ownhost(*command, "one.conf", "-f", "two.conf")
    assert result.exit_code == 2
    assert "two configuration files are named: one.conf, and two.conf with -f" in result.stderr
