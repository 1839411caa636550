"""CGI programs as clients see them: real scripts, run by the real server as their owner (RFC 3875)."""

from __future__ import annotations

import os

import pytest

from cgi_scripts import ECHO, PERL, SHELL, content, environment, said, serve, told
from harness import ALICE, BOB, World
from ownhost.http.dates import parse_date
from waiting import eventually

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


def test_options_is_the_programs_to_answer(world: World) -> None:
    server = serve(world)
    found = environment(server.get("alice.test", "/cgi-bin/echo/x", method="OPTIONS"))
    assert (found["REQUEST_METHOD"], found["PATH_INFO"]) == ("OPTIONS", "/x")


def test_a_client_may_say_that_its_body_is_empty(world: World) -> None:
    server = serve(world)
    said = environment(server.get("alice.test", "/cgi-bin/echo", method="POST", Content_Length="0"))
    assert said["CONTENT_LENGTH"] == "0"


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
    response.whole()
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


CHUNKED = "#!/bin/sh\nprintf 'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\\r\nhello\\r\n"


def test_a_script_that_speaks_for_itself_in_every_way(world: World) -> None:
    """What a browser gets of interim answers, folded lines and chunks is what the script meant."""
    files: dict[str, str | bytes] = {
        "nph-102": said("HTTP/1.1 102 Processing", "X-At: 1", "", "HTTP/1.1 200 OK", "X: a", "\tb", "", "body"),
        "nph-100": said("HTTP/1.1 100 Continue", "", "HTTP/1.1 404 No", "", "body"),
        "nph-chunks": f"{CHUNKED}6;x\\r\n world\\r\n0\\r\n\\r\n'\n",
        "nph-cut": f"{CHUNKED}6\\r\n wo'\n",
    }
    server = world.server(world.virtual_host("alice", ALICE, "ScriptAlias / @DIR@/alice/\n", files))

    def raw(path: str, version: str = "1.1") -> bytes:
        return server.raw(f"GET /{path} HTTP/{version}\r\nHost: alice.test\r\nConnection: close\r\n\r\n".encode())

    answer = raw("nph-102")
    assert answer.startswith(b"HTTP/1.1 102 Processing\r\nX-At: 1\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"\r\nX: a b\r\n" in answer
    assert raw("nph-102", "1.0").startswith(b"HTTP/1.1 200 OK\r\n")  # which knows no interim answers
    assert raw("nph-100").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n")
    response = server.get("alice.test", "/nph-chunks")
    assert (response.status, content(response)) == (200, b"hello world")
    assert not raw("nph-cut").endswith(b"0\r\n\r\n"), "it must not look complete"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("#!/bin/sh\n", "End of script output before headers: bad"),
        (said("Content-Type: text/plain"), "Bad header"),
        (said("Content-Type text/plain", "", "x"), "Bad header"),
        ("#!/nowhere/interpreter\n", "(2)No such file or directory: exec of '"),
        ("#!/bin/sh\nkill -9 $$\n", "End of script output before headers: bad"),
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
    eventually(lambda: ": two" in server.log("alice.log"))
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


def test_a_status_is_the_programs_word(world: World) -> None:
    script = "#!/bin/sh\nprintf 'Status: 200 OK\nETag: \"a\"\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\n\nmuch'\n"
    server = serve(world, page=script)
    for condition in (
        {"If-None-Match": '"a"'},
        {"If-Match": '"b"'},
        {"If-Unmodified-Since": "Tue, 31 Dec 2019 00:00:00 GMT"},
    ):
        response = server.get("alice.test", "/cgi-bin/page", **condition)
        assert (response.status, content(response)) == (200, b"much")


def test_a_condition_that_an_answer_does_not_meet(world: World) -> None:
    script = "#!/bin/sh\nprintf 'ETag: \"a\"\nSet-Cookie: c=1\nX-Kept: 1\n\nmuch'\n"
    server = serve(world, page=script)
    for condition in ({"If-Match": '"b"'}, {"If-Unmodified-Since": "Tue, 31 Dec 2019 00:00:00 GMT"}):
        response = server.get("alice.test", "/cgi-bin/page", **condition)
        assert (response.status, response.getheader("ETag")) == (412, None)
        assert (response.getheader("Set-Cookie"), response.getheader("X-Kept")) == ("c=1", "1")
    assert server.get("alice.test", "/cgi-bin/page", "POST", If_Match='"b"').status == 200


def test_no_answer_was_made_in_the_future(world: World) -> None:
    server = serve(world, page="#!/bin/sh\nprintf 'Last-Modified: Sat, 28 Nov 2099 10:00:00 GMT\n\nx'\n")
    response = server.get("alice.test", "/cgi-bin/page")
    said, sent = (parse_date(response.getheader(name) or "") for name in ("Last-Modified", "Date"))
    assert said is not None
    assert sent is not None
    assert said <= sent


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
    for uri, uid in (("/cgi-bin/bob/sh", BOB), ("/cgi-bin/sh", ALICE), ("/cgi-bin/bob/sh", BOB)):
        assert content(server.get("alice.test", uri)) == f"shell {uid}\n".encode()
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
