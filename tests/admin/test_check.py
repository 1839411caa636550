"""`ownhost check` says what `ownhost run` does: each case asks both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ALICE, BOB, World, free_port
from installing import install
from waiting import eventually

GOOD = "Listen 127.0.0.1:@PORT@\nServerName main.test\nErrorLog @DIR@/error.log\nUser www-data\nGroup www-data\n"
HOST = (
    '<VirtualHost 127.0.0.1:@PORT@>\nServerName alice.test\nAssignUserID "#50001" "#50001"\n{extra}</VirtualHost>\n'
    '<VirtualHost 127.0.0.1:@PORT@>\nServerName bob.test\nAssignUserID "#50002" "#50002"\n</VirtualHost>\n'
)


@dataclass(frozen=True)
class Case:
    """A configuration; whether `run` starts; the line that is said and what is said of it."""

    text: str
    starts: bool
    says: str
    alice: int = 404  # her answer, where it starts; bob's is 404, as there is nothing


def host(extra: str) -> str:
    return GOOD + HOST.format(extra=f"{extra}\n")


def without(line: str) -> str:
    text = GOOD + HOST.format(extra="")
    assert line in text
    return text.replace(line, "")


ERRORS = {
    "no User": Case(without("User www-data\n"), False, "there is no User line"),
    "no Group": Case(without("Group www-data\n"), False, "there is no Group line"),
    "neither": Case(without("User www-data\nGroup www-data\n"), False, "there is no User and no Group line"),
    "an unknown User": Case(GOOD.replace("User www-data", "User nosuch"), False, "no user named 'nosuch'"),
    "an unknown Group": Case(GOOD.replace("Group www-data", "Group nosuch"), False, "no group named 'nosuch'"),
    "root as User": Case(GOOD.replace("User www-data", "User root"), False, "which nobody is served as"),
    "no Listen": Case(without("Listen 127.0.0.1:@PORT@\n"), False, "there is no Listen line"),
    "an address within another": Case(GOOD + "Listen @PORT@\n", False, "is part of *:"),
    "an address of another machine": Case(GOOD + "Listen 192.0.2.1:@PORT@\n", False, "has no address 192.0.2.1"),
    "a log folder": Case(GOOD.replace("error.log", "none/error.log"), False, "there is no folder"),
    "everybody's access log": Case(GOOD + "CustomLog @DIR@/none/log common\n", False, "there is no folder"),
    "an undefined variable": Case(GOOD.replace("@DIR@/error", "${LOG_DIR}/error"), False, "there is no folder"),
    "a log program": Case(GOOD.replace("@DIR@/error.log", '"|/no/such"'), False, "cannot start the log program"),
    "the PidFile's folder": Case(GOOD + "PidFile @DIR@/none/pid\n", False, "cannot write the PidFile"),
    "the PidFile is a folder": Case(GOOD + "PidFile @DIR@\n", False, "cannot write the PidFile"),
    "a server-level section": Case(GOOD + "<Directory /home/alice>\nOptions x\n</Directory>\n", False, "Options"),
    "an owner's argument": Case(host("KeepAlive perhaps"), True, "expected On or Off", 500),
    "an owner's log folder": Case(host("ErrorLog @DIR@/none/log"), True, "there is no folder", 500),
    "an owner's access log": Case(host("CustomLog @DIR@/none/log common"), True, "there is no folder", 500),
    "an owner's log program": Case(host('ErrorLog "|/no/such"'), True, "cannot start the log program", 500),
    "an owner's include": Case(host("Include none.conf"), True, "cannot read", 500),
    "an owner's two mistakes": Case(host("KeepAlive x\nErrorLog @DIR@/none/log"), True, "there is no folder", 500),
}
FINE = {
    "all of IPv4 beside all of IPv6": GOOD + "Listen [::]:1@PORT@\nListen 0.0.0.0:1@PORT@\n",
    "and in the other order": GOOD + "Listen 0.0.0.0:1@PORT@\nListen 1@PORT@\n",
}
NOTES = {
    "an undefined variable": Case(host("ServerAdmin ${NOBODY}"), True, "${NOBODY} is not defined"),
    "a port without Listen": Case(
        host("</VirtualHost>\n<VirtualHost *:1>\nServerName one.test"), True, "there is no Listen line for *:1"
    ),
    "a URL for 401": Case(host("ErrorDocument 401 http://x/"), True, "cannot use a full URL in a 401 ErrorDocument"),
    "User out of range": Case(
        GOOD + "LimitUIDRange 40000 60000\n" + HOST.format(extra=""), True, "outside LimitUIDRange 40000 60000"
    ),
}
STRICT = {
    "an unknown owner": Case(host("AssignUserID nosuch nosuch"), True, "no user named 'nosuch'", 500),
    "an unknown owner of a folder": Case(
        host("<Directory /x>\nAssignUserID nosuch nosuch\n</Directory>"), True, "no user named 'nosuch'"
    ),
}


def check(
    config: Path, *arguments: str, uid: int = 0, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "ownhost", "check", "-f", str(config), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=uid, group=uid, extra_groups=[], cwd="/"
    )


def assert_runs(world: World, case: Case, *arguments: str) -> None:
    server = world.server(case.text, preamble=False, start=False, arguments=list(arguments))
    try:
        server.start(wait=case.starts)
        if case.starts:
            answers = [server.get(f"{name}.test").status for name in ("alice", "bob")]
            assert answers == [case.alice, 404]
        else:
            assert server.process is not None
            assert server.process.wait(30) == 1
            assert case.says in server.stderr
    finally:
        server.stop()


@pytest.mark.parametrize("name", ERRORS)
def test_errors(world: World, name: str) -> None:
    case = ERRORS[name]
    server = world.server(case.text, preamble=False, start=False)
    done = check(server.config)
    answer = json.loads(check(server.config, "--json").stdout)
    assert (done.returncode, answer["ok"], answer["starts"]) == (1, False, case.starts), done
    assert all(line.startswith(f"{server.config}:") for line in done.stdout.splitlines())
    assert case.says in done.stdout
    assert [case.says in problem["message"] for problem in answer["problems"]].count(True) >= 1
    assert done.stdout.count("is answered with 500") == (len(answer["problems"]) if case.alice == 500 else 0)
    assert "Traceback" not in done.stderr
    assert_runs(world, case)


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine(world: World, name: str) -> None:
    text = FINE[name].replace("1@PORT@", str(free_port())) + HOST.format(extra="")
    server = world.server(text, preamble=False, start=False)
    done = check(server.config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Syntax OK\n", "")
    assert_runs(world, Case(text, True, ""))


@pytest.mark.parametrize("name", NOTES)
def test_notes(world: World, name: str) -> None:
    case = NOTES[name]
    server = world.server(case.text, preamble=False, start=False)
    done = check(server.config)
    assert (done.returncode, done.stdout) == (0, "Syntax OK\n")
    assert case.says in done.stderr
    assert case.says in "".join(note["message"] for note in json.loads(check(server.config, "--json").stdout)["notes"])
    assert_runs(world, case)


@pytest.mark.parametrize("name", [*STRICT, "an owner's argument", "an owner's log folder"])
def test_strict(world: World, name: str) -> None:
    case = STRICT.get(name) or ERRORS[name]
    server = world.server(case.text, preamble=False, start=False)
    if name in STRICT:
        done = check(server.config)
        assert (done.returncode, done.stdout) == (0, "Syntax OK\n")
        assert case.says in done.stderr
        assert_runs(world, case)
    done = check(server.config, "--strict")
    assert done.returncode == 1
    assert case.says in done.stdout
    assert done.stdout.count(case.says) == 1
    assert_runs(world, Case(case.text, False, case.says), "--strict")


def test_check_leaves_nothing_behind(world: World) -> None:
    """No log, no PidFile, no address that is taken; a server that runs is not disturbed."""
    body = "PidFile @DIR@/pid\nCustomLog @DIR@/access.log common\n" + world.virtual_host("alice", ALICE)
    server = world.server(body, start=False)
    before = sorted(os.listdir(world.folder))
    assert check(server.config).returncode == 0
    assert sorted(os.listdir(world.folder)) == before
    server.start()
    assert check(server.config).returncode == 0
    assert server.get("alice.test").content == b"alice\n"
    assert (world.folder / "pid").read_text() == f"{server.pid}\n"


def test_what_only_root_can_see_is_noted_and_no_error(world: World) -> None:
    """As an ordinary user, over files and folders that are root's."""
    hidden = world.folder / "hidden"
    hidden.mkdir(mode=0o700)
    python = install(world.folder / "installed")
    for name in ("more.conf", "a.key", "map"):
        (hidden / name).write_text("KeepAlive On\n")
    lines = {
        "Include @DIR@/hidden/more.conf": "its content was not checked",
        "IncludeOptional @DIR@/hidden/*.conf": "its content was not checked",
        "<IfFile @DIR@/hidden/x>\n</IfFile>": "this was not checked",
        "TypesConfig @DIR@/hidden/map": "this was not checked",
        "RewriteMap m txt:@DIR@/hidden/map": "this was not checked",
        "PidFile @DIR@/hidden/pid": "only root could check that",
        "CustomLog @DIR@/hidden/log common": "only root could check that",
        'CustomLog "|@DIR@/hidden/program" common': "only root could check that",
        "SSLEngine on\nSSLCertificateFile @DIR@/hidden/a.crt\nSSLCertificateKeyFile @DIR@/hidden/a.key": (
            "only root could check that"
        ),
        "Listen 127.0.0.1:81": "only root may listen on 127.0.0.1:81",
    }
    for line, note in lines.items():
        server = world.server(f"{line}\n{world.virtual_host('alice', ALICE)}", start=False)
        server.config.chmod(0o644)
        done = check(server.config, uid=BOB, python=python)
        assert (done.returncode, done.stdout) == (0, "Syntax OK\n"), (line, done)
        assert note in done.stderr, line
        assert "AssignUserID" in done.stderr  # only root could start it
        assert "Traceback" not in done.stderr


def test_an_ordinary_user_who_serves_his_own_files_needs_no_user(world: World) -> None:
    """As `run` does without root."""
    world.folder.chmod(0o777)
    python = install(world.folder / "installed")
    server = world.server("Listen 127.0.0.1:@PORT@\nErrorLog @DIR@/error.log\n", preamble=False, start=False)
    server.config.chmod(0o644)
    done = check(server.config, uid=BOB, python=python)
    assert (done.returncode, done.stdout) == (0, "Syntax OK\n"), done
    command = [python, "-m", "ownhost", "run", "-f", str(server.config)]
    who = {"user": BOB, "group": BOB, "extra_groups": []}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/", **who) as process:  # type: ignore[call-overload]
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)


def test_the_other_commands_know_of_faults(world: World) -> None:
    carol = HOST.format(extra="Oops\n").replace("alice", "carol")
    nobodys = HOST.format(extra="").replace("alice", "nobody").replace('AssignUserID "#50001"', "AsignUserID")
    text = host("ErrorLog @DIR@/none/log") + carol + nobodys
    server = world.server(text, preamble=False, start=False)

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ownhost", *arguments, "-f", str(server.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    listed = ask("vhosts")
    assert listed.returncode == 0
    assert listed.stderr.count("is answered with 500") == 3
    entries = {one["name"]: one["faults"] for one in json.loads(ask("vhosts", "--json").stdout)}
    assert [len(entries[name]) for name in ("alice.test", "bob.test", "carol.test")] == [1, 0, 1]
    whys = {"alice": "there is no folder", "carol": "unknown directive Oops", "nobody": "unknown directive AsignUserID"}
    for name, why in whys.items():
        found = json.loads(ask("explain", "--json", f"http://{name}.test:{server.port}/").stdout)
        assert found["status"] == 500
        assert why in found["verdict"]
        assert any(cause["declared"].startswith(f"{server.config}:") for cause in found["causes"])


def test_the_note_of_a_running_server_is_in_its_log(world: World) -> None:
    server = world.server(NOTES["an undefined variable"].text, preamble=False)
    eventually(lambda: "${NOBODY} is not defined" in server.log())
