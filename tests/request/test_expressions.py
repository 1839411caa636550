"""What expressions come to, beside what Apache says of them (expressions.txt)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config import expression as e
from ownhost.config.expression_parser import parse_condition, parse_string
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Response
from ownhost.request import serve
from ownhost.request.expressions import computed, groups, holds, value
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.site import Site

HEAD = (
    b"GET /f.txt?a=b%20c HTTP/1.1\r\nHost: h.test:81\r\nUser-Agent: ua\r\nX-A: one\r\nCookie: c=1\r\n"
    b"X-E: \xc3\xa9\r\n\r\n"
)
LINES = [
    line
    for line in (Path(__file__).parent / "expressions.txt").read_text().splitlines()
    if line.startswith(("yes ", "no "))
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "d").mkdir(parents=True)
    (folder / "f.txt").write_text("content")
    (folder / "empty").write_text("")
    (folder / "link").symlink_to("f.txt")
    return folder


def make(root: Path, extra: str = "") -> Site:
    modules.load()
    path = root.parent / "site.conf"
    path.write_text(
        "Listen 127.0.0.1:9998\nUser www-data\nGroup www-data\nServerName h.test\nServerAdmin me@x\n"
        f"DocumentRoot {root}\nAddType text/plain .txt\n"
        f"Redirect 403 /denied\nRedirect /moved http://x/\n{extra}"
    )
    config = read(str(path))
    return Site(config.main, lambda _: True, lambda _: None)


def ask(site: Site, head: bytes = HEAD) -> Request:
    limits = head_limits(site.settings)
    lines: list[str] = []
    endpoints = Endpoints("127.0.0.1", 1234, "127.0.0.1", 9998)

    def log(_level: Level, _module: str, message: str) -> None:
        lines.append(message)

    request = Request(parse_head(head, limits), endpoints, site, time.time(), log)
    request.notes["log"] = "\n".join(lines)
    return request


@pytest.mark.parametrize("line", LINES)
def test_conditions_are_what_they_are_in_apache(root: Path, line: str) -> None:
    expected, expression = line[:3].strip() == "yes", line[4:].replace("@ROOT@", str(root))
    request = ask(make(root))
    response = serve.respond(request)
    request.env["FOO"] = "bar"
    assert holds(parse_condition(expression), request, response) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        (" kept  as it is ", " kept  as it is "),
        ("%{reqenv:FOO}", "bar"),
        ("a%{reqenv:FOO}b%{HTTP_HOST}", "abarbh.test:81"),
        ("%{tolower:%{req:X-A}%{toupper:x}}", "onex"),
        ("100% of $ and \\$1 and \\%{x}", "100% of $ and $1 and %{x}"),
        ("%{reqenv:NONE}", ""),
        ("$1", ""),
    ],
)
def test_strings(root: Path, text: str, expected: str) -> None:
    request = ask(make(root))
    request.env["FOO"] = "bar"
    assert value(parse_string(text), request) == expected


def test_octal_numbers_are_bytes(root: Path) -> None:
    assert value(parse_string("\\303\\251\\101"), ask(make(root))) == "éA"


def test_the_servers_own_environment_is_read_with_the_configuration(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNHOST_TEST", "of the server")
    of_server, of_anybody = parse_string("%{osenv:OWNHOST_TEST}"), parse_string("%{env:OWNHOST_TEST}")
    monkeypatch.delenv("OWNHOST_TEST")
    request = ask(make(root))
    assert value(of_server, request) == value(of_anybody, request) == "of the server"
    request.env["ownhost_test"] = "of the request"
    assert value(of_anybody, request) == "of the request"
    request.notes["OWNHOST_TEST"] = ""
    assert value(of_anybody, request) == ""


def test_resp_and_what_else_the_response_knows(root: Path) -> None:
    request, response = ask(make(root)), Response(404, [("Content-Type", "x/y"), ("X-A", "1")])
    assert value(parse_string("%{resp:x-a}%{resp:Content-Type}%{resp:X-B}"), request, response) == "1"
    assert value(parse_string("%{REQUEST_STATUS} %{CONTENT_TYPE}"), request, response) == "404 x/y"
    assert value(parse_string("%{REQUEST_STATUS}%{resp:X-A}"), request) == "200"
    assert holds(parse_condition("resp('Content-Type') == 'x/y'"), request, response, sent=True)


@pytest.mark.parametrize(
    ("expression", "pure"),
    [
        ("%{REQUEST_URI} == '/'", True),
        ("%{REQUEST_FILENAME} =~ /x/", True),
        ("%{HTTP_COOKIE} == ''", False),
        ("req('X-A') == ''", False),
        ("%{REMOTE_ADDR} == ''", False),
        ("%{QUERY_STRING} == ''", False),
        ("%{TIME} == ''", False),
        ("reqenv('X') == ''", False),
        ("-f '/x'", False),
    ],
)
def test_what_depends_on_the_path_alone_is_known(root: Path, expression: str, pure: bool) -> None:
    request = ask(make(root))
    holds(parse_condition(expression), request)
    assert request.pure == pure


def test_a_response_says_which_fields_it_depends_on(root: Path) -> None:
    site = make(root, "<If \"%{HTTP_COOKIE} == 'x' || req('X-A') == 'one' || %{HTTP_HOST} == ''\">\n</If>\n")
    response = serve.respond(ask(site))
    assert response.header("vary") == "Cookie,X-A"


@pytest.mark.parametrize("name", ["none", "d", "f.txt\0x"])
def test_an_expression_with_a_file_that_cannot_be_read_is_logged_and_holds_for_nobody(root: Path, name: str) -> None:
    lines: list[str] = []
    request = ask(make(root))
    request.log = lambda _level, _module, message: lines.append(message)
    file = e.Call("file", e.Text(f"{root}/{name}"))
    condition = e.Condition("...", e.AnyOf((e.Compare("ne", file, file, False), e.Constant(True))))
    assert not holds(condition, request)
    assert groups(condition, request) is None
    assert computed(e.StringExpression("...", file), request) is None
    assert len(lines) == 3
    assert f"{root}/{name}" in lines[0]


def test_who_needs_a_value_does_without_it_as_apache_does(root: Path) -> None:
    none = f"%{{file:{root}/none}}"
    site = make(root, f"ErrorDocument 404 {none}\n<Location /f.txt>\nSetHandler expr={none}\n</Location>\n")
    assert serve.respond(ask(site)).status == 500
    missing = serve.respond(ask(site, HEAD.replace(b"/f.txt", b"/none")))
    assert missing.status == 404
    assert missing.own_page


def test_a_look_at_the_same_path_ends(root: Path) -> None:
    site = make(root, "<If \"-U '/d/' && -F '%{REQUEST_FILENAME}'\">\nRedirect 410 /\n</If>\n")
    assert serve.respond(ask(site)).status == 410


@pytest.mark.parametrize(
    ("extra", "status", "content"),
    [
        ('ErrorDocument 404 "no %{REQUEST_URI} for %{req:X-A}"', 404, b"no /none for one"),
        ("ErrorDocument 404 /%{reqenv:WHICH}f.txt", 404, b"content"),
        ("<If \"%{REQUEST_URI} == '/none'\">\nRedirect 410 /\n</If>", 410, None),
        (
            '<If "false">\nRedirect 410 /\n</If>\n<ElseIf "req(\'X-A\') =~ m#^o(.)e$#">\nRedirect 403 /\n</ElseIf>',
            403,
            None,
        ),
        ('<If "false">\n</If>\n<Else>\nRedirect 410 /\n</Else>', 410, None),
        ("<If %{REQUEST_URI} =~ m#none#>\nRedirect 410 /\n</If>", 410, None),
    ],
)
def test_where_they_are_used(root: Path, extra: str, status: int, content: bytes | None) -> None:
    response = serve.respond(ask(make(root, extra + "\n"), HEAD.replace(b"/f.txt", b"/none")))
    assert response.status == status
    if content is not None:
        assert response.body == content
