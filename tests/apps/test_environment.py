"""The variables of a request, as Apache makes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps.environment import encoded, environment, for_execution, script_name
from ownhost.http.message import HTTPError, Response
from ownhost.request.redirects import redirected
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance
from serving import ask, make_request, make_site

LONG = re.compile(r"[A-Za-z0-9_]+")


def variables(
    folder: Path, line: str, *fields: str, conf: str = "", body_length: int | None = None, uri: str = ""
) -> dict[str, str]:
    """Of a request for a tree with x.php and a folder d in it; `uri` is where it is redirected to."""
    root = folder / "root"
    (root / "d").mkdir(parents=True)
    for name in ("x.php", "d/index.html"):
        (root / name).write_text("")
    request = make_request(make_site(folder, conf), line, *fields, client="192.0.2.7").request
    assert advance(request, Phase.ACCESS) is None
    if uri:
        request = redirected(request, uri)
        assert advance(request, Phase.ACCESS) is None
    advance(request, Phase.FIXUPS)
    return environment(request, body_length=body_length)


def test_a_script(tmp_path: Path) -> None:
    root = f"{tmp_path}/root"
    found = variables(tmp_path, "GET /x.php?a=%20b", "User-Agent: me", "Accept: a", "Accept: b")
    server = found.pop("SERVER_SOFTWARE")
    assert server.startswith("Ownhost")
    assert server.endswith(" (Apache/2.4 compatible)")
    assert found == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HTTP_HOST": "site.test",
        "HTTP_USER_AGENT": "me",
        "HTTP_ACCEPT": "a, b",
        "SERVER_SIGNATURE": "",
        "SERVER_NAME": "site.test",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_ADMIN": "[no address given]",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4000",
        "DOCUMENT_ROOT": root,
        "CONTEXT_PREFIX": "",
        "CONTEXT_DOCUMENT_ROOT": root,
        "REQUEST_SCHEME": "http",
        "SCRIPT_FILENAME": f"{root}/x.php",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": "a=%20b",
        "REQUEST_URI": "/x.php?a=%20b",
        "SCRIPT_NAME": "/x.php",
    }


def test_what_is_behind_the_script(tmp_path: Path) -> None:
    found = variables(tmp_path, "GET /x.php/d/e%20f?")
    assert found["SCRIPT_NAME"] == "/x.php"
    assert found["PATH_INFO"] == "/d/e f"
    assert found["PATH_TRANSLATED"] == f"{tmp_path}/root/d/e f"
    assert found["SCRIPT_FILENAME"] == f"{tmp_path}/root/x.php"
    assert found["REQUEST_URI"] == "/x.php/d/e%20f?"


@pytest.mark.parametrize("target", ["//x.php//d/?a//b", "/.//x.php", "http://site.test//x.php", "/%78.php"])
def test_request_uri_is_the_target_as_it_was_sent(tmp_path: Path, target: str) -> None:
    found = variables(tmp_path, f"GET {target}")
    assert found["REQUEST_URI"] == target
    assert found["SCRIPT_NAME"] == "/x.php"


@pytest.mark.parametrize(
    ("conf", "software"),
    [
        ("SetEnv SERVER_SOFTWARE Apache", "Ownhost/"),  # as in Apache
        ('ServerSoftware "Apache/2.4.62 (Debian)"', "Apache/2.4.62 (Debian)"),
    ],
)
def test_what_server_a_program_is_told_of(tmp_path: Path, conf: str, software: str) -> None:
    assert variables(tmp_path, "GET /x.php", conf=conf)["SERVER_SOFTWARE"].startswith(software)


def test_fields_that_are_left_out(tmp_path: Path) -> None:
    found = variables(
        tmp_path,
        "POST /x.php",
        "Proxy: evil",
        "Authorization: Basic eDp5",
        "Proxy-Authorization: Basic eDp5",
        "X_A: passes for X-A",
        "X-A: right",
        "Content-Type: text/plain",
        "Transfer-Encoding: chunked",
        body_length=5,
    )
    assert {name for name in found if name.startswith("HTTP_")} == {"HTTP_HOST", "HTTP_X_A"}
    assert found["HTTP_X_A"] == "right"
    assert (found["CONTENT_TYPE"], found["CONTENT_LENGTH"]) == ("text/plain", "5")


def test_passwords_are_passed_on_where_that_is_said(tmp_path: Path) -> None:
    conf = "<Location />\nCGIPassAuth On\n</Location>"
    assert variables(tmp_path, "GET /x.php", "Authorization: Basic eDp5", conf=conf)["HTTP_AUTHORIZATION"] == (
        "Basic eDp5"
    )


def test_set_env_is_passed_on_but_cannot_change_what_is_so(tmp_path: Path) -> None:
    conf = "SetEnv A b\nSetEnv PATH /x\nSetEnv REMOTE_ADDR 203.0.113.1"
    found = variables(tmp_path, "GET /x.php", conf=conf)
    assert (found["A"], found["PATH"], found["REMOTE_ADDR"]) == ("b", "/x", "192.0.2.7")


def test_an_internal_redirect(tmp_path: Path) -> None:
    conf = "SetEnvIf Host . A=b"
    found = variables(tmp_path, "GET /missing?q=%E9", conf=conf, uri="/x.php")
    assert (found["REDIRECT_URL"], found["REDIRECT_QUERY_STRING"], found["REDIRECT_STATUS"]) == (
        "/missing",
        "q=%E9",
        "200",
    )
    assert (found["REDIRECT_A"], found["A"], found["QUERY_STRING"]) == ("b", "b", "")
    assert (found["SCRIPT_NAME"], found["REQUEST_URI"]) == ("/x.php", "/missing?q=%E9")


def test_an_error_document(tmp_path: Path) -> None:
    asked: list[Request] = []
    site = make_site(tmp_path, "ErrorDocument 404 /x.php\nSetHandler program")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x.php").write_text("")

    def handler(request: Request) -> Response:
        asked.append(request)
        if request.stat is None:
            raise HTTPError(404)
        return Response(200)

    site.handlers["program"] = handler
    ask(site, "POST /missing?q")
    found = environment(asked[-1], body_length=None)
    told = {name: value for name, value in found.items() if name.startswith("REDIRECT_")}
    assert told == {
        "REDIRECT_STATUS": "404",
        "REDIRECT_URL": "/missing",
        "REDIRECT_QUERY_STRING": "q",
        "REDIRECT_REQUEST_METHOD": "POST",
    }
    assert (found["REQUEST_METHOD"], found["SCRIPT_NAME"], found["QUERY_STRING"]) == ("GET", "/x.php", "")


def test_the_uri_of_now(tmp_path: Path) -> None:
    conf = "<Location />\nCGIVar REQUEST_URI current-uri\n</Location>"
    assert variables(tmp_path, "GET /missing?q", conf=conf, uri="/x.php")["REQUEST_URI"] == "/x.php"


def test_an_alias_is_a_context(tmp_path: Path) -> None:
    found = variables(tmp_path, "GET /a/index.html", conf="Alias /a @ROOT@/d")
    assert (found["CONTEXT_PREFIX"], found["CONTEXT_DOCUMENT_ROOT"]) == ("/a", f"{tmp_path}/root/d")


def test_bytes_arrive_as_they_were_sent(tmp_path: Path) -> None:
    found = encoded(variables(tmp_path, "GET /x.php/%C3%A9/%E9?%C3%A9é", "X-A: é"))
    assert found[b"PATH_INFO"] == b"/\xc3\xa9/\xe9"
    assert found[b"QUERY_STRING"] == "%C3%A9é".encode()
    assert found[b"REQUEST_URI"] == "/x.php/%C3%A9/%E9?%C3%A9é".encode()
    assert found[b"HTTP_X_A"] == "é".encode()


@pytest.mark.parametrize(
    ("uri", "path_info", "expected"),
    [
        ("/x.php/a/b", "/a/b", "/x.php"),
        ("/x.php//a///b", "/a/b", "/x.php"),
        ("/d/x.php/a", "/other", "/d/x.php/a"),
        ("/front", "/front", ""),
        ("/a", "/b/a", ""),
        ("/x.php/", "/", "/x.php"),
    ],
)
def test_script_names(uri: str, path_info: str, expected: str) -> None:
    assert script_name(uri, path_info) == expected


@given(st.text("/ab.", max_size=8), st.text("/ab.", max_size=8))
def test_a_script_name_is_the_start_of_its_uri(uri: str, path_info: str) -> None:
    name = script_name(uri, path_info)
    assert uri.startswith(name)
    assert uri[len(name) : len(name) + 1] in ("", "/")


@given(st.dictionaries(st.text(min_size=1).filter(str.isprintable), st.text()))
def test_names_that_a_process_can_have(variables: dict[str, str]) -> None:
    for name in for_execution(variables):
        assert LONG.fullmatch(name.decode("ascii"))
        assert not name[:1].isdigit()
