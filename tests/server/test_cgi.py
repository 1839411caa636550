"""CGI programs as clients see them: real scripts, run by the real server as their owner (RFC 3875)."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import ALICE, BOB, Process, Server, World, eventually

# Its name, and what it was told.
ECHO = """#!/usr/bin/python3
import json, os, sys
print("Content-Type: application/json\\n")
print(json.dumps({"uid": os.getuid(), "gids": os.getgroups(), "arguments": sys.argv[1:], "cwd": os.getcwd(),
                  "body": sys.stdin.buffer.read().decode() if "CONTENT_LENGTH" in os.environ else None,
                  "env": dict(os.environ)}))
"""
SHELL = '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\nshell %s\\n" "$(id -u)"\n'
PERL = '#!/usr/bin/perl\nprint "Content-Type: text/plain\\r\\n\\r\\nperl $<\\n";\n'


def said(*lines: str) -> str:
    """A shell script that says these lines."""
    return "#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n"


def serve(world: World, extra: str = "", **scripts: str) -> Server:
    """alice.test, whose cgi-bin has these scripts: `name_sh` is name.sh."""
    files: dict[str, str | bytes] = {"index.html": "alice\n", "cgi-bin/echo": ECHO}
    files.update((f"cgi-bin/{name.replace('_', '.')}", content) for name, content in scripts.items())
    alias = "ScriptAlias /cgi-bin/ @DIR@/alice/cgi-bin/\n"
    return world.server(world.virtual_host("alice", ALICE, alias + extra, files))


def told(response: http.client.HTTPResponse) -> dict[str, object]:
    """What ECHO says it was told."""
    assert response.status == 200, response.content  # type: ignore[attr-defined]
    found = json.loads(response.content)  # type: ignore[attr-defined]
    assert isinstance(found, dict)
    return found


def environment(response: http.client.HTTPResponse) -> dict[str, str]:
    """The environment that ECHO found."""
    found = told(response)["env"]
    assert isinstance(found, dict)
    return found


def content(response: http.client.HTTPResponse) -> bytes:
    found = response.content  # type: ignore[attr-defined]
    assert isinstance(found, bytes)
    return found


def children_of(server: Server) -> list[Process]:
    """Programs that the server's launchers run."""
    return [process for process in server.processes() if not process.role and process.pid != server.pid]


# Who, where, how


def test_scripts_run_as_their_owner(world: World) -> None:
    server = serve(world, sh=SHELL, pl=PERL)
    assert content(server.get("alice.test", "/cgi-bin/sh")) == f"shell {ALICE}\n".encode()
    assert content(server.get("alice.test", "/cgi-bin/pl")) == f"perl {ALICE}\n".encode()
    found = told(server.get("alice.test", "/cgi-bin/echo"))
    assert found["uid"] == ALICE
    assert found["gids"] in ([], [ALICE])
    assert found["cwd"] == str(world.folder / "alice" / "cgi-bin")


def test_each_owners_script_is_the_owners(world: World) -> None:
    script = "ScriptAlias /run @DIR@/{0}/run\n"
    hosts = [world.virtual_host(n, u, script.format(n), {"run": SHELL}) for n, u in (("alice", ALICE), ("bob", BOB))]
    server = world.server("".join(hosts))
    assert content(server.get("alice.test", "/run")) == f"shell {ALICE}\n".encode()
    assert content(server.get("bob.test", "/run")) == f"shell {BOB}\n".encode()


def test_the_meta_variables(world: World) -> None:
    server = serve(world, "ServerAdmin a@b.test\n")
    found = environment(server.get("alice.test", "/cgi-bin/echo/in%20fo/x?a=b&c", X_Test="1"))
    root = world.folder / "alice"
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "alice.test",
        "SERVER_PORT": "80",  # as the client's Host says
        "SERVER_ADMIN": "a@b.test",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/cgi-bin/echo/in%20fo/x?a=b&c",
        "QUERY_STRING": "a=b&c",
        "SCRIPT_NAME": "/cgi-bin/echo",
        "SCRIPT_FILENAME": f"{root}/cgi-bin/echo",
        "PATH_INFO": "/in fo/x",
        "PATH_TRANSLATED": f"{root}/in fo/x",
        "DOCUMENT_ROOT": str(root),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "alice.test",
        "HTTP_X_TEST": "1",
        "CONTEXT_PREFIX": "/cgi-bin/",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not {"CONTENT_LENGTH", "HTTP_CONNECTION_X", "LD_LIBRARY_PATH"} & set(found)


def test_the_words_of_a_query_are_arguments(world: World) -> None:
    server = serve(world)
    assert told(server.get("alice.test", "/cgi-bin/echo?one+t%2bwo+%20"))["arguments"] == ["one", "t+wo", " "]
    assert told(server.get("alice.test", "/cgi-bin/echo?one=two+three"))["arguments"] == []
    assert told(server.get("alice.test", "/cgi-bin/echo"))["arguments"] == []


def test_exec_cgi_and_a_handler(world: World) -> None:
    body = (
        "AddHandler cgi-script .cgi\n<Directory @DIR@/alice/on>\nOptions +ExecCGI\n</Directory>\n"
        "ScriptAliasMatch ^/run/(\\w+)$ @DIR@/alice/off/$1.cgi\n"
        "<Location /on/forced>\nSetHandler cgi-script\n</Location>\n"
        "<Directory @DIR@/alice/strict>\nOptions +ExecCGI\nAcceptPathInfo Off\n</Directory>\n"
    )
    files: dict[str, str | bytes] = dict.fromkeys(("on/a.cgi", "off/a.cgi", "on/forced", "strict/a.cgi"), SHELL)
    server = world.server(world.virtual_host("alice", ALICE, body, files))
    ran = f"shell {ALICE}\n".encode()
    for path in ("/on/a.cgi", "/on/forced", "/run/a", "/on/a.cgi/info"):
        assert content(server.get("alice.test", path)) == ran, path
    refused = server.get("alice.test", "/off/a.cgi")
    assert refused.status == 403
    assert b"printf" not in content(refused)
    eventually(lambda: "Options ExecCGI is off in this directory" in server.log())
    assert server.get("alice.test", "/on/none.cgi").status == 404
    assert server.get("alice.test", "/run/none").status == 404
    assert server.get("alice.test", "/strict/a.cgi").status == 200
    assert server.get("alice.test", "/strict/a.cgi/info").status == 404


def test_passed_and_set_variables_and_passwords(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNHOST_TEST", "passed")
    monkeypatch.setenv("OWNHOST_SECRET", "not passed")
    extra = (
        "PassEnv OWNHOST_TEST\nSetEnv A-B set\nSetEnvIf X-Test (.*) GOT=$1\n"
        "<Location /cgi-bin/echo/auth>\nCGIPassAuth On\n</Location>\n"
        "<Location /cgi-bin/echo/now>\nCGIVar REQUEST_URI current-uri\n</Location>\n"
        "DirectoryIndex /cgi-bin/echo/now /cgi-bin/echo\n"
    )
    server = serve(world, extra)
    found = environment(server.get("alice.test", "/cgi-bin/echo", Authorization="Basic YTpi", X_Test="1", Proxy="x"))
    assert (found["OWNHOST_TEST"], found["A_B"], found["GOT"]) == ("passed", "set", "1")
    assert not {"OWNHOST_SECRET", "HTTP_AUTHORIZATION", "HTTP_PROXY"} & set(found)
    found = environment(server.get("alice.test", "/cgi-bin/echo/auth", Authorization="Basic YTpi"))
    assert found["HTTP_AUTHORIZATION"] == "Basic YTpi"
    assert environment(server.get("alice.test", "/"))["REQUEST_URI"] == "/cgi-bin/echo/now"


# What they answer


def test_status_location_and_fields(world: World) -> None:
    server = serve(
        world,
        status=said("Status: 404 Not here", "Content-Type: text/plain", "X-Own: 1", "Set-Cookie: a=1",
                    "Set-Cookie: b=2", "", "gone"),
        absolute=said("Location: http://other.test/x?y", "", ""),
        local=said("Location: /index.html", "", "never seen"),
        other=said("Location: /cgi-bin/echo/info?q=1", "", ""),
        loop=said("Location: /cgi-bin/loop", "", ""),
    )  # fmt: skip
    response = server.get("alice.test", "/cgi-bin/status")
    assert (response.status, content(response), response.getheader("X-Own")) == (404, b"gone\n", "1")
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    response = server.get("alice.test", "/cgi-bin/absolute")
    assert (response.status, response.getheader("Location")) == (302, "http://other.test/x?y")
    response = server.get("alice.test", "/cgi-bin/local")
    assert (response.status, content(response), response.getheader("Location")) == (200, b"alice\n", None)
    assert server.get("alice.test", "/cgi-bin/loop").status == 500
    client = server.client()
    client.request("POST", "/cgi-bin/other", b"the body", {"Host": "alice.test", "Content-Type": "text/x"})
    response = client.getresponse()
    response.content = response.read()  # type: ignore[attr-defined]
    client.close()
    found = told(response)
    assert found["body"] is None
    variables = found["env"]
    assert isinstance(variables, dict)
    assert (variables["REQUEST_METHOD"], variables["QUERY_STRING"], variables["PATH_INFO"]) == ("GET", "q=1", "/info")
    assert (variables["REDIRECT_URL"], variables["REDIRECT_STATUS"]) == ("/cgi-bin/other", "200")


def test_a_script_that_speaks_for_itself(world: World) -> None:
    files: dict[str, str | bytes] = {
        "nph-own": said("HTTP/1.1 203 As I say", "X-Own: 1", "Content-Type: text/x", "", "own")
    }
    server = world.server(world.virtual_host("alice", ALICE, "ScriptAlias / @DIR@/alice/\n", files))
    response = server.get("alice.test", "/nph-own")
    assert (response.status, response.getheader("X-Own"), content(response)) == (203, "1", b"own\n")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("#!/bin/sh\n", "Premature end of script headers"),
        (said("Content-Type: text/plain"), "Bad header"),
        (said("Content-Type text/plain", "", "x"), "Bad header"),
        ("#!/nowhere/interpreter\n", "cannot be run: No such file or directory"),
        ("#!/bin/sh\nkill -9 $$\n", "Premature end of script headers"),
        ("#!/bin/sh\necho why it failed >&2\nexit 3\n", "why it failed"),
    ],
)
def test_what_is_no_answer_is_a_500_that_the_log_explains(world: World, script: str, complaint: str) -> None:
    if "Bad header" in complaint:
        script = script.replace("Content-Type: text/plain\n", "no field\n\n")
    server = serve(world, "ErrorLog @DIR@/alice.log\n", bad=script)
    response = server.get("alice.test", "/cgi-bin/bad")
    assert response.status == 500
    eventually(lambda: complaint in server.log("alice.log"), message=f"not in the log: {complaint}")
    assert "bug in Ownhost" not in server.log("alice.log")


def test_what_a_script_complains_of_is_in_its_owners_log(world: World) -> None:
    server = serve(
        world, "ErrorLog @DIR@/alice.log\n", talk="#!/bin/sh\necho one >&2; printf 'Status: 200\n\nhi'; echo two >&2\n"
    )
    assert content(server.get("alice.test", "/cgi-bin/talk")) == b"hi"
    eventually(lambda: "two: " in server.log("alice.log"))
    lines = [line for line in server.log("alice.log").splitlines() if "/cgi-bin/talk" in line]
    assert ["[cgi:error]" in line and "127.0.0.1" in line for line in lines] == [True, True]


def test_head_and_an_unmodified_page(world: World) -> None:
    server = serve(world, page="#!/bin/sh\necho $REQUEST_METHOD >>log\nprintf 'Content-Length: 5\n\n12345'\n")
    response = server.get("alice.test", "/cgi-bin/page", "HEAD")
    assert (response.status, content(response), response.getheader("Content-Length")) == (200, b"", "5")
    assert (world.folder / "alice/cgi-bin/log").read_text() == "HEAD\n"
    assert content(server.get("alice.test", "/cgi-bin/page")) == b"12345"


def test_an_answer_that_the_client_has_already(world: World) -> None:
    script = (
        "#!/bin/sh\nprintf 'Content-Type: text/x\nETag: \"a\"\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\n\nmuch'\n"
    )
    server = serve(world, page=script)
    for condition in ({"If-None-Match": '"a"'}, {"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}):
        response = server.get("alice.test", "/cgi-bin/page", **condition)
        assert (response.status, content(response), response.getheader("ETag")) == (304, b"", '"a"')
    for condition in ({}, {"If-None-Match": '"b"'}, {"If-Modified-Since": "Tue, 31 Dec 2019 00:00:00 GMT"}):
        response = server.get("alice.test", "/cgi-bin/page", **condition)
        assert (response.status, content(response)) == (200, b"much")


def test_error_document_and_index_that_are_scripts(world: World) -> None:
    extra = "ErrorDocument 404 /cgi-bin/echo?error\nDirectoryIndex index.cgi\nAddHandler cgi-script .cgi\n"
    extra += "<Directory @DIR@/alice>\nOptions +ExecCGI\n</Directory>\n"
    server = serve(world, extra)
    world.site("alice", ALICE, {"sub/index.cgi": SHELL, "cgi-bin/echo": ECHO})
    assert content(server.get("alice.test", "/sub/")) == f"shell {ALICE}\n".encode()
    response = server.get("alice.test", "/missing?x=1")
    assert response.status == 404
    response.status = 200
    found = environment(response)
    assert (found["REDIRECT_STATUS"], found["REDIRECT_URL"], found["QUERY_STRING"]) == ("404", "/missing", "error")
    assert (found["REDIRECT_QUERY_STRING"], found["REDIRECT_REQUEST_METHOD"]) == ("x=1", "GET")


def test_an_error_document_answers_for_a_program_that_fails(world: World) -> None:
    extra = (
        "ErrorDocument 500 /cgi-bin/sorry\n<Location /cgi-bin/worse>\nErrorDocument 500 /cgi-bin/worse\n</Location>\n"
    )
    server = serve(
        world, extra, bad="#!/bin/sh\n", worse="#!/bin/sh\n", sorry=said("Content-Type: text/x", "", "sorry")
    )
    response = server.get("alice.test", "/cgi-bin/bad")
    assert (response.status, content(response)) == (500, b"sorry\n")
    response = server.get("alice.test", "/cgi-bin/worse")
    assert response.status == 500
    assert b"The server could not answer" in content(response), "the page of the server itself, and no loop"
    client = server.client()
    client.request("POST", "/cgi-bin/bad", b"x" * 500_000, {"Host": "alice.test"})
    response = client.getresponse()
    assert (response.status, response.read()) == (500, b"sorry\n")
    client.close()


def test_a_folder_of_another_owner(world: World) -> None:
    extra = f'<Directory @DIR@/alice/cgi-bin/bob>\nAssignUserID "#{BOB}" "#{BOB}"\n</Directory>\n'
    server = serve(world, extra, sh=SHELL)
    world.site(
        "alice",
        ALICE,
        {"cgi-bin/bob/sh": SHELL, "cgi-bin/sh": SHELL, "cgi-bin/go": said("Location: /cgi-bin/bob/sh", "", "")},
    )
    root = world.folder / "alice"
    for path in (root, root / "cgi-bin"):
        path.chmod(0o711)
    for path in (root / "cgi-bin" / "bob", root / "cgi-bin" / "bob" / "sh"):
        os.chown(path, BOB, BOB)
    for path, uid in (("/cgi-bin/bob/sh", BOB), ("/cgi-bin/sh", ALICE), ("/cgi-bin/bob/sh", BOB)):
        assert content(server.get("alice.test", path)) == f"shell {uid}\n".encode()
    response = server.get("alice.test", "/cgi-bin/go")
    assert content(response) != f"shell {ALICE}\n".encode(), "bob's program is not run as alice"


# Bodies


def test_a_body_by_length_and_chunked(world: World) -> None:
    server = serve(world, size="#!/usr/bin/python3\nimport sys, os\nn = len(sys.stdin.buffer.read())\n"
                   "print(f'X-Length: {os.environ[\"CONTENT_LENGTH\"]}\\n\\n{n}', end='')\n")  # fmt: skip
    large = b"x" * 3_000_000  # more than is kept in memory
    for body in (b"small", large, iter((b"a" * 70_000, large, b"b"))):
        client = server.client()
        client.request("POST", "/cgi-bin/size", body, {"Host": "alice.test"})
        response = client.getresponse()
        size = response.read()
        client.close()
        expected = len(body) if isinstance(body, bytes) else 3_070_001
        assert (response.status, size.decode()) == (200, str(expected))
        assert response.getheader("X-Length") == str(expected)


def test_output_comes_as_it_is_made_and_a_lot_of_it(world: World) -> None:
    server = serve(
        world,
        slow="#!/bin/sh\nprintf '\nfirst'\nwhile [ ! -e go ]; do sleep 0.05; done\nprintf last\n",
        much="#!/bin/sh\nprintf '\n'\nhead -c 20000000 /dev/zero\n",
    )
    client = server.client()
    client.request("GET", "/cgi-bin/slow", headers={"Host": "alice.test"})
    response = client.getresponse()
    assert response.read(5) == b"first"
    (world.folder / "alice/cgi-bin/go").touch()
    assert response.read() == b"last"
    client.request("GET", "/cgi-bin/much", headers={"Host": "alice.test"})
    assert len(client.getresponse().read()) == 20_000_000
    client.close()


# Ends

LINGERS = """#!/bin/sh
sleep 1000 &
echo $! >child
%s
echo $$ >pid
wait
"""


def pids(world: World) -> list[int]:
    folder = world.folder / "alice" / "cgi-bin"
    eventually((folder / "pid").exists)
    return [int(eventually((folder / name).read_text)) for name in ("child", "pid")]  # type: ignore[call-overload]


def are_gone(found: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in found)


@pytest.mark.parametrize("before", ["", r"printf 'Content-Type: text/plain\n\nsome'"])
def test_a_program_ends_with_its_children_when_the_client_leaves(world: World, before: str) -> None:
    server = serve(world, linger=LINGERS % before)
    sock = server.connect()
    sock.sendall(b"GET /cgi-bin/linger HTTP/1.1\r\nHost: alice.test\r\n\r\n")
    found = pids(world)
    if before:
        received = b""
        while b"some" not in received:
            received += sock.recv(1000)
    sock.close()
    eventually(lambda: are_gone(found), message="the program goes on for nobody")


@pytest.mark.parametrize("before", ["", r"printf 'Content-Type: text/plain\n\nsome'"])
def test_a_program_that_is_silent_for_too_long(world: World, before: str) -> None:
    server = serve(world, "Timeout 1\n", linger=LINGERS % before)
    answer = server.raw(b"GET /cgi-bin/linger HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
    if before:
        assert answer.endswith(b"some\r\n"), "cut off, and not as if it were whole"
    else:
        assert answer.startswith(b"HTTP/1.1 504 ")
    eventually(lambda: are_gone(pids(world)), message="the program goes on for nobody")


LEAVES = """#!/bin/sh
sleep 1000 2>/dev/null &
echo $! >child
sleep 1000 >/dev/null 2>&1 &
echo $! >other
echo $$ >pid
printf 'Content-Type: text/plain\\n\\nsome'
"""


def test_what_holds_the_output_of_an_ended_program_ends_when_the_client_leaves(world: World) -> None:
    server = serve(world, leaves=LEAVES)
    with server.connect() as sock:
        sock.sendall(b"GET /cgi-bin/leaves HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        child, program = pids(world)
        eventually(lambda: Process(program).title == "", message="the program itself has ended")
        received = b""
        while b"some" not in received:
            received += sock.recv(1000)
        assert Process(child).alive
    eventually(lambda: are_gone([child, program]), message="the output is held for nobody")


def test_what_holds_the_output_of_an_ended_program_ends_after_timeout(world: World) -> None:
    server = serve(world, "Timeout 1\n", leaves=LEAVES)
    answer = server.raw(b"GET /cgi-bin/leaves HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"some\r\n"), "cut off, and not as if it were whole"
    eventually(lambda: are_gone(pids(world)), message="the output is held for nobody")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_holds_no_output_goes_on(world: World, method: str) -> None:
    script = LEAVES.replace("sleep 1000 2>/dev/null &", "sleep 0 &")
    server = serve(world, leaves=script)
    assert server.get("alice.test", "/cgi-bin/leaves", method).status == 200
    eventually(lambda: are_gone(pids(world)), message="the program is not collected")
    other = int((world.folder / "alice/cgi-bin/other").read_text())
    eventually(lambda: "(0 programs)" in server.processes("launcher")[0].title)
    assert Process(other).alive
    server.stop()
    assert are_gone([other])


def test_nothing_is_left_of_programs(world: World) -> None:
    server = serve(
        world, sh=SHELL, bad="#!/bin/sh\nexit 1\n", much="#!/bin/sh\nprintf '\n'\nhead -c 9000000 /dev/zero\n"
    )
    assert server.get("alice.test", "/cgi-bin/sh").status == 200
    launcher, worker = server.processes("launcher")[0], server.worker(ALICE)
    eventually(lambda: not children_of(server), message="a program is left")
    before = [len(process.descriptors()) for process in (launcher, worker)]
    for _ in range(5):
        assert server.get("alice.test", "/cgi-bin/sh").status == 200
        assert server.get("alice.test", "/cgi-bin/bad").status == 500
        assert server.get("alice.test", "/cgi-bin/much", "HEAD").status == 200
        with server.connect() as sock:
            sock.sendall(b"GET /cgi-bin/much HTTP/1.1\r\nHost: alice.test\r\n\r\n")
            sock.recv(1000)
    eventually(lambda: not children_of(server), message="a program is left")
    eventually(
        lambda: [len(process.descriptors()) for process in (launcher, worker)] == before,
        message="a descriptor is left",
    )


def test_limits(world: World) -> None:
    limits = "#!/bin/bash\nprintf '\n'; ulimit -Ht; ulimit -Hv; ulimit -Su; ulimit -Hu\n"
    extra = "RLimitCPU 7 9\nRLimitMEM 300000000\nRLimitNPROC 50 60\n"
    server = serve(world, extra, limits=limits, loop="#!/bin/sh\nwhile :; do :; done\n")
    assert content(server.get("alice.test", "/cgi-bin/limits")).split() == [b"9", b"292968", b"50", b"60"]


def test_a_program_gets_no_more_memory_than_it_may_have(world: World) -> None:
    takes = "#!/usr/bin/perl\nprint qq(\n); print length('x' x 200_000_000);"
    server = serve(world, "RLimitMEM 100000000\n", takes=takes, little=takes.replace("200_000_000", "20_000_000"))
    assert content(server.get("alice.test", "/cgi-bin/little")) == b"20000000"
    assert b"200000000" not in server.get("alice.test", "/cgi-bin/takes").read()
    eventually(lambda: "Out of memory" in server.log("error.log"))


def test_a_program_that_uses_up_its_time_is_ended(world: World) -> None:
    server = serve(world, "RLimitCPU 1\n", loop="#!/bin/sh\nwhile :; do :; done\n")
    assert server.get("alice.test", "/cgi-bin/loop").status == 500


def test_a_program_has_only_its_three_descriptors(world: World) -> None:
    server = serve(world, fds="#!/bin/sh\nprintf '\n'; ls /proc/$$/fd\n")
    assert set(content(server.get("alice.test", "/cgi-bin/fds")).split()) <= {b"0", b"1", b"2", b"10", b"255"}


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
        response.content = response.read()  # type: ignore[attr-defined]
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
    assert lines[1:4] == [f"%% 404 {script}/none", "%error", f"script not found or unable to stat: {script}/none"]
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
