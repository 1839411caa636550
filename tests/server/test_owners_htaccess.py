"""Owners' .htaccess files, on the real server: who reads them, when a change counts, and what stays out of reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

OLD = 1_600_000_000  # long settled
SAYS = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s\\n' \"$FROM_FILE\"\n"


@pytest.fixture(scope="module")
def root(shared_world: World) -> Path:
    """alice's site. A folder in it is bob's, whom the configuration gives it."""
    root = shared_world.site(
        "alice", ALICE, {"a.txt": "a\n", "d/x.txt": "x\n", "e/x.txt": "x\n", "f/x.txt": "x\n", "p/says.cgi": SAYS}
    )
    (root / "p/says.cgi").chmod(0o700)
    theirs = root / "bob"
    theirs.mkdir()
    (theirs / "x.txt").write_text("bob's\n")
    (theirs / ".htaccess").write_text("Header set X-Said bob\n")
    for path in (theirs / "x.txt", theirs / ".htaccess", theirs):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, BOB, BOB)
    root.chmod(0o711)
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))
    return root


@pytest.fixture(scope="module")
def one(shared_world: World, root: Path) -> Server:
    return shared_world.server(
        f"TypesConfig /dev/null\nAddType text/plain txt\n<VirtualHost 127.0.0.1:@PORT@>\n"
        f'ServerName alice.test\nDocumentRoot {root}\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        f"<Directory {root}>\nRequire all granted\nAllowOverride All\n</Directory>\n"
        f"<Directory {root}/p>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
        f'<Directory {root}/bob>\nAssignUserID "#{BOB}" "#{BOB}"\n</Directory>\n</VirtualHost>\n'
    )


def put(path: Path, text: str, uid: int = ALICE, mode: int = 0o600) -> None:
    """A file that only its owner can read."""
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, uid, uid)


def said(server: Server, path: str) -> tuple[int, str | None]:
    response = server.get("alice.test", path)
    return response.status, response.getheader("X-Said")


def test_the_owner_reads_what_only_the_owner_can_read_and_each_change_counts(one: Server, root: Path) -> None:
    file = root / "d/.htaccess"
    assert said(one, "/d/x.txt") == said(one, "/d/x.txt") == (200, None)
    put(file, "Header set X-Said one\n")
    assert said(one, "/d/x.txt") == (200, "one")
    put(file, "Header set X-Said two\n")
    assert said(one, "/d/x.txt") == said(one, "/d/x.txt") == (200, "two")
    file.unlink()
    assert said(one, "/d/x.txt") == (200, None)


def test_a_file_counts_for_programs_whose_route_is_remembered(one: Server, root: Path) -> None:
    file = root / "p/.htaccess"
    bodies = []
    for text in ("", "SetEnv FROM_FILE one\n", "SetEnv FROM_FILE two\n", "Require all denied\n"):
        put(file, text)
        bodies += [one.get("alice.test", "/p/says.cgi") for _ in range(2)]
    assert [answer.status for answer in bodies] == [200] * 6 + [403] * 2
    assert [answer.content for answer in bodies[:6]] == [b"\n", b"\n", b"one\n", b"one\n", b"two\n", b"two\n"]


def test_a_broken_file_is_in_the_log_with_its_line_and_not_in_the_page(one: Server, root: Path) -> None:
    file = root / "e/.htaccess"
    put(file, "# fine\nNonsense\n")
    answer = one.get("alice.test", "/e/x.txt")
    assert answer.status == 500
    assert b"Nonsense" not in answer.content
    eventually(lambda: f"{file}:2: unknown directive Nonsense" in one.log())
    assert "[core:alert] " in one.log()
    assert said(one, "/a.txt") == (200, None)
    file.unlink()
    assert said(one, "/e/x.txt") == (200, None)


def test_a_folder_of_another_identity_has_its_files_read_as_that_one(one: Server) -> None:
    assert said(one, "/bob/x.txt") == (200, "bob")
    assert said(one, "/bob/x.txt") == (200, "bob")


@pytest.mark.parametrize("kind", ["another's file", "root's file", "a FIFO", "a device", "an unreadable file"])
def test_what_the_owner_cannot_read_is_refused_and_nothing_waits_for_it(
    one: Server, root: Path, shared_world: World, kind: str
) -> None:
    file = root / "f/.htaccess"
    file.unlink(missing_ok=True)
    if kind == "another's file":
        secret = shared_world.folder / "secret"
        put(secret, "Header set X-Said secret\n", BOB)
        file.symlink_to(secret)
    elif kind == "root's file":
        file.symlink_to("/etc/shadow")
    elif kind == "a FIFO":
        os.mkfifo(file)
        os.chown(file, ALICE, ALICE)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    else:
        put(file, "Header set X-Said own\n", mode=0)
    assert said(one, "/f/x.txt") == (403, None)
    eventually(lambda: "AH00529" in one.log())
    assert said(one, "/a.txt") == (200, None)
    file.unlink()
    assert said(one, "/f/x.txt") == (200, None)
