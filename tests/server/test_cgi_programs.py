"""Programs of Debian's behind CGI, those in the stead of files, and what is written down when they fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cgi_scripts import ECHO, SHELL, content, environment, serve, told
from harness import ALICE, BOB, Server, World

# Real programs


def git(folder: Path, *arguments: str) -> str:
    """What git says, as bob: a stranger to alice's files."""
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    names = {
        f"GIT_{who}_{what}": f"{what.lower()}@b.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    command = ["git", "-c", "http.postBuffer=100000", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**home, **names}, user=BOB, group=BOB, extra_groups=[], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def repository(world: World) -> Server:
    """alice's repository, behind git's own CGI program and Debian's gitweb."""
    extra = (
        "SetEnv GIT_PROJECT_ROOT @DIR@/alice/git\nSetEnv GIT_HTTP_EXPORT_ALL\nSetEnv REMOTE_USER bob\n"
        "SetEnv GITWEB_CONFIG @DIR@/alice/gitweb.conf\n"
        "ScriptAlias /git/ /usr/lib/git-core/git-http-backend/\n"
        "ScriptAlias /gitweb /usr/share/gitweb/gitweb.cgi\n"
        "<Directory /usr/lib/git-core>\nRequire all granted\n</Directory>\n"
        "<Directory /usr/share/gitweb>\nRequire all granted\n</Directory>\n"
    )
    files: dict[str, str | bytes] = {"gitweb.conf": f"$projectroot = '{world.folder}/alice/git';\n"}
    host = world.virtual_host("alice", ALICE, extra, files)
    root = world.folder / "alice" / "git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(root / "one.git")], check=True)
    world.site("alice", ALICE, files)
    world.site("bob", BOB, {"readme": "x"})
    return world.server(host)


def test_a_git_clone_and_push_over_http(world: World, repository: Server) -> None:
    url = f"http://127.0.0.1:{repository.port}/git/one.git"
    bob = world.folder / "bob"
    git(bob, "clone", "-q", url, "first")
    (bob / "first" / "large").write_bytes(os.urandom(2_000_000))  # a chunked push, larger than is kept in memory
    os.chown(bob / "first" / "large", BOB, BOB)
    git(bob / "first", "add", "large")
    git(bob / "first", "commit", "-q", "-m", "a large file")
    git(bob / "first", "push", "-q", "origin", "HEAD:main")
    git(bob, "clone", "-q", url, "second")
    assert (bob / "second" / "large").read_bytes() == (bob / "first" / "large").read_bytes()
    stored = world.folder / "alice" / "git" / "one.git" / "refs" / "heads" / "main"
    assert stored.stat().st_uid == ALICE
    page = repository.get("alice.test", "/gitweb?p=one.git;a=log")
    assert page.status == 200
    assert b"a large file" in content(page)


# Programs in the stead of files, and what is written down when they fail


def test_an_action_gets_the_body_and_the_files_place(world: World) -> None:
    server = serve(world, "Action own /cgi-bin/echo\nAddHandler own .own\nScript PUT /cgi-bin/echo\n")
    world.site("alice", ALICE, {"page.own": "x", "cgi-bin/echo": ECHO})
    for method, path in (("POST", "/page.own"), ("PUT", "/new.txt")):
        client = server.client()
        client.request(method, f"{path}?q", b"the body", {"Host": "alice.test"})
        response = client.getresponse()
        response.whole()
        client.close()
        found, variables = told(response)["body"], environment(response)
        assert found == "the body"
        assert (variables["REQUEST_METHOD"], variables["PATH_INFO"]) == (method, path)
        assert variables["PATH_TRANSLATED"] == f"{world.folder}/alice{path}"
        assert (variables["REDIRECT_URL"], variables["QUERY_STRING"]) == (path, "q")
        assert variables["SCRIPT_NAME"] == "/cgi-bin/echo"
    assert server.get("alice.test", "/missing.own").status == 404


def test_the_script_log_tells_all_of_a_failure(world: World) -> None:
    extra = "ScriptLog @DIR@/alice/script.log\nScriptLogBuffer 9\nScriptLogLength 2000\n"
    server = serve(world, extra, bad="#!/bin/sh\necho oops >&2\necho 'no field'\necho\n", good=SHELL)
    log = world.folder / "alice" / "script.log"
    assert server.get("alice.test", "/cgi-bin/good").status == 200
    assert server.get("alice.test", "/cgi-bin/none").status == 404
    client = server.client()
    client.request("POST", "/cgi-bin/bad?a=b", b"the body of the request", {"Host": "alice.test"})
    assert client.getresponse().status == 500
    client.close()
    assert log.stat().st_uid == ALICE
    script = f"{world.folder}/alice/cgi-bin"
    lines = [line for line in log.read_text().splitlines() if not line.startswith(("Accept-Encoding", "Connection"))]
    assert lines[0].startswith("%% [")
    assert lines[0].endswith("] GET /cgi-bin/none HTTP/1.1")
    assert lines[1:4] == [f"%% 404 {script}/none", "%error", "script not found or unable to stat"]
    assert lines[4].endswith("] POST /cgi-bin/bad?a=b HTTP/1.1")
    expected = [f"%% 500 {script}/bad", "%request", "Content-Length: 23", "Host: alice.test", "", "the body "]
    assert lines[5:] == [*expected, "%response", "%stdout", "no field", "", "", "%stderr", "oops"]
    log.write_text("x" * 2001)
    assert server.get("alice.test", "/cgi-bin/bad").status == 500
    assert log.read_text() == "x" * 2001


def test_phps_own_cgi_program_behind_an_action(world: World) -> None:
    extra = (
        "ScriptAlias /php-bin /usr/lib/cgi-bin/php8.2\nAction own-php /php-bin\nAddHandler own-php .php\n"
        "<Directory /usr/lib/cgi-bin>\nRequire all granted\n</Directory>\n"
    )
    server = serve(world, extra)
    world.site("alice", ALICE, {"a.php": "<?php echo PHP_SAPI, posix_getuid(), $_SERVER['PHP_SELF'], $_GET['q'];"})
    assert content(server.get("alice.test", "/a.php?q=x")) == f"cgi-fcgi{ALICE}/a.phpx".encode()


def test_set_user_id_programs_work(world: World) -> None:
    server = serve(world, who="#!/bin/sh\nprintf '\n'; ./id -u; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status\n")
    helper = world.folder / "alice" / "cgi-bin" / "id"
    shutil.copy("/usr/bin/id", helper)
    helper.chmod(0o4755)
    assert content(server.get("alice.test", "/cgi-bin/who")).split() == [b"0", b"NoNewPrivs:", b"0", b"Seccomp:", b"0"]


def test_requests_sent_at_once_are_answered_in_their_order(world: World) -> None:
    script = "#!/bin/sh\nprintf '\n<%s>' \"$QUERY_STRING\"\n"
    server = serve(world, ask=script)
    ask = b"GET /cgi-bin/ask?%d HTTP/1.1\r\nHost: alice.test\r\n%b\r\n"
    answer = server.raw(b"".join(ask % (n, b"Connection: close\r\n" if n == 3 else b"") for n in (1, 2, 3)))
    assert re.findall(rb"<(\d)>", answer) == [b"1", b"2", b"3"]


def test_a_body_that_is_too_large_reaches_no_program(world: World) -> None:
    script = "#!/bin/sh\ntouch ran\nprintf '\n'\n"
    server = serve(world, "LimitRequestBody 1000\n", take=script)
    for body in (b"x" * 1001, iter((b"x" * 600, b"x" * 600))):
        client = server.client()
        client.request("POST", "/cgi-bin/take", body, {"Host": "alice.test"})
        assert client.getresponse().status == 413
        client.close()
    assert not (world.folder / "alice" / "cgi-bin" / "ran").exists()


def test_what_a_client_sends_becomes_no_variable_of_another_name(world: World) -> None:
    server = serve(world)
    fields = "X_Own: 1\r\nX-Own: 2\r\nX.Dot: 3\r\nProxy: evil\r\nX-Bytes: \xe4\xff\r\n"
    request = f"GET /cgi-bin/echo HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n{fields}\r\n"
    answer = server.raw(request.encode("latin-1"))
    found = json.loads(answer.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2].partition(b"\r\n")[0])["env"]
    assert {name: value for name, value in found.items() if name.startswith("HTTP_X")} == {
        "HTTP_X_OWN": "2",
        "HTTP_X_BYTES": "\udce4\udcff",
    }
    assert "HTTP_PROXY" not in found
