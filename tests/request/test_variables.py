"""Server variables, at the times when they are asked for."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config import expression_grammar
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.request import serve
from ownhost.request.request import Endpoints, Phase, Request
from ownhost.request.road import advance
from ownhost.request.site import Site
from ownhost.request.variables import VARIABLES, lookup, named

MODIFIED = 1_600_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "d").mkdir(parents=True)
    (folder / "f.txt").write_text("content")
    (folder / "d" / "index.html").write_text("index")
    os.utime(folder / "f.txt", (MODIFIED, MODIFIED))
    if os.geteuid() == 0:  # there are no such accounts
        os.chown(folder / "f.txt", 55_555, 55_556)
    return folder


def make(root: Path, extra: str = "") -> Site:
    modules.load()
    path = root.parent / "site.conf"
    path.write_text(
        "Listen 127.0.0.1:9998\nUser www-data\nGroup www-data\nServerName h.test\n"
        f"DocumentRoot {root}\nAddType text/plain .txt\n{extra}"
    )
    server = read(str(path)).main
    return Site(server, lambda _: True, lambda _: None)


def ask(
    site: Site, target: str = "/f.txt", fields: str = "Host: h.test\r\n", *, client: str = "127.0.0.1", version: int = 1
) -> Request:
    head = parse_head(f"GET {target} HTTP/1.{version}\r\n{fields}\r\n".encode(), head_limits(site.settings))
    endpoints = Endpoints(client, 1234, "127.0.0.1", 9998)
    return Request(head, endpoints, site, time.time(), lambda *_: None)


def test_the_grammar_knows_the_variables_that_there_are() -> None:
    assert set(VARIABLES) == expression_grammar.VARIABLES


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_every_variable_is_a_text_before_and_after_the_file_is_found(root: Path, name: str) -> None:
    request = ask(make(root))
    assert isinstance(lookup(request, name), str)
    serve.respond(request)
    assert isinstance(lookup(request, name), str)


def test_what_is_no_variable_is_told_from_what_is_empty(root: Path) -> None:
    request = ask(make(root))
    assert lookup(request, "NOSUCH") is None
    assert lookup(request, "HTTP_COOKIE") == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Neither has an account: the file is root's to give away.
        pytest.param("SCRIPT_USER", "", marks=pytest.mark.slow),
        pytest.param("SCRIPT_GROUP", "", marks=pytest.mark.slow),
        ("LAST_MODIFIED", time.strftime("%Y%m%d%H%M%S", time.localtime(MODIFIED))),
        ("PATH_INFO", "/behind"),
        ("REQUEST_URI", "/f.txt/behind"),
        ("SERVER_ADMIN", "[no address given]"),
        ("SERVER_PROTOCOL_VERSION", "1001"),
        ("SERVER_PROTOCOL_VERSION_MAJOR", "1"),
        ("SERVER_PROTOCOL_VERSION_MINOR", "1"),
        ("SERVER_PORT", "80"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "1234"),
        ("QUERY_STRING", "é=%C3%A9"),
        ("THE_REQUEST", "GET /f.txt/behind?é=%C3%A9 HTTP/1.1"),
        ("HTTP2", "off"),
    ],
)
def test_values(root: Path, name: str, value: str) -> None:
    request = ask(make(root), "/f.txt/behind?é=%C3%A9")
    serve.respond(request)
    assert lookup(request, name) == value


def test_the_file_name_is_not_known_at_first(root: Path) -> None:
    request = ask(make(root))
    assert lookup(request, "REQUEST_FILENAME") == ""
    serve.respond(request)
    assert lookup(request, "REQUEST_FILENAME") == str(root / "f.txt")


@pytest.mark.parametrize(
    ("extra", "target", "prefix", "folder"),
    [
        ("Alias /al @ROOT@/d\n", "/al/x", "/al", "@ROOT@/d"),
        ("Alias /al/ @ROOT@/d/\n", "/al/x", "/al/", "@ROOT@/d/"),
        ("AliasMatch ^/al(.*) @ROOT@/d$1\n", "/al/x", "", "@ROOT@"),
        ("", "/f.txt", "", "@ROOT@"),
    ],
)
def test_where_an_alias_leads_is_the_context(root: Path, extra: str, target: str, prefix: str, folder: str) -> None:
    request = ask(make(root, extra.replace("@ROOT@", str(root))), target)
    serve.respond(request)
    assert lookup(request, "CONTEXT_PREFIX") == prefix
    assert lookup(request, "CONTEXT_DOCUMENT_ROOT") == folder.replace("@ROOT@", str(root))


def test_a_script_alias_asks_for_its_handler(root: Path) -> None:
    request = ask(make(root, f"ScriptAlias /cgi {root}/d\n"), "/cgi/x")
    advance(request, Phase.TRANSLATE)
    assert lookup(request, "HANDLER") == "cgi-script"


@pytest.mark.parametrize(
    ("client", "value"), [("127.0.0.1", "off"), ("::1", "on"), ("fe80::1%eth0", "on"), ("::ffff:10.0.0.1", "off")]
)
def test_ipv6(root: Path, client: str, value: str) -> None:
    assert lookup(ask(make(root), client=client), "IPV6") == value


@pytest.mark.parametrize(("scheme", "port"), [("http", "80"), ("https", "443")])
def test_servername_may_say_that_tls_ends_in_front_of_the_server(root: Path, scheme: str, port: str) -> None:
    site = make(root, f"ServerName {scheme}://h.test\nRedirect /old /new\n")
    request = ask(site)
    assert lookup(request, "REQUEST_SCHEME") == scheme
    assert lookup(request, "SERVER_PORT") == port
    assert serve.respond(ask(site, "/old")).header("location") == f"{scheme}://h.test/new"


def test_software_is_the_server_field_and_what_it_is_compatible_with(root: Path) -> None:
    assert lookup(ask(make(root, "ServerTokens Prod\n")), "SERVER_SOFTWARE") == "Ownhost (Apache/2.4 compatible)"
    assert lookup(ask(make(root, 'ServerSoftware "Apache/2.4"\n')), "SERVER_SOFTWARE") == "Apache/2.4"


def test_names_of_variables_in_any_case() -> None:
    assert named({"Foo": "bar", "foo": ""}, "foo") == ""
    assert named({"Foo": "bar"}, "FOO") == "bar"
    assert named({"Foo": "bar"}, "FO") is None
