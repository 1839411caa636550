"""Routes to programs that a site remembers: with and without them, every request comes to the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ownhost.apps.environment import environment
from ownhost.apps.php import app_of
from ownhost.request import serve
from ownhost.request.request import Request
from ownhost.request.routes import MOST
from ownhost.request.site import Site
from serving import make_request, make_server

PHP = "AddHandler application/x-httpd-php .php\nDirectoryIndex index.php\n"


@dataclass
class Turns:
    """Turns of an event loop, for what is to be called at the end of one."""

    calls: list[Callable[[], None]] = field(default_factory=list)

    def end(self) -> None:
        while self.calls:
            self.calls.pop()()


class Served:
    """A folder with scripts, and a site that remembers."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.root = folder / "root"
        for name in ("a.php", "b.php", "index.php", "d/index.php", "x.txt"):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("<?php\n")
        fpm = folder / "php-fpm8.2"  # no program is run here
        fpm.touch(0o755)
        self.server = make_server(folder, f"{PHP}PHPServer {fpm}\n{text}")
        self.turns = Turns()
        self.site = self.fresh()

    def fresh(self) -> Site:
        """The site, with nothing remembered."""
        return Site(self.server, lambda _: True, self.turns.calls.append)

    def ask(self, line: str, *fields: str, site: Site | None = None, local: str = "127.0.0.1") -> Request:
        """A request, brought to where a program would be asked."""
        asked = make_request(site or self.site, line, *fields, local=local)
        asked.request.time = time.time() + 60  # files that changed just now are not remembered
        asked.request.notes["status"] = str(serve.respond(asked.request).status)
        self.turns.end()
        return asked.request

    def found(self, line: str, *fields: str, site: Site | None = None, local: str = "127.0.0.1") -> object:
        """All that a program would be told, and which program."""
        request = self.ask(line, *fields, site=site, local=local)
        status = request.notes["status"]
        if status != "200":
            return status
        return environment(request, body_length=None), app_of(request), request.fields, request.vary


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_the_second_request_takes_the_way_of_the_first(served: Served) -> None:
    first, second = served.ask("GET /a.php"), served.ask("GET /a.php", "X-Other: field")
    assert first.known is None
    assert second.known is not None
    assert served.ask("GET /").known is None
    assert served.ask("GET /").filename == f"{served.root}/index.php"
    assert served.ask("GET /").known is not None


# What may not be taken from another request, and what configurations make of it
CONFIGURATIONS = (
    "",
    "RewriteEngine On\nRewriteRule ^/c\\.php$ /b.php",
    "RewriteEngine On\nRewriteRule ^/a\\.php$ /b.php?",
    "RewriteEngine On\nRewriteRule ^/a\\.php$ /b.php?x",
    "RewriteEngine On\nRewriteRule ^/a\\.php$ /b.php?y=1 [QSA]",
    'RewriteEngine On\nRewriteCond %{QUERY_STRING} y\nRewriteRule ^/a\\.php$ /b.php [E="V:%{QUERY_STRING}"]',
    "RewriteEngine On\nRewriteCond %{REQUEST_METHOD} POST\nRewriteRule ^/a\\.php$ /b.php",
    "SetEnv V one\nUnsetEnv W\nPassEnv PATH",
    "SetEnvIf X-Field (.*) V=$1",
    "SetEnvIf Request_Method POST V",
    "BrowserMatch MSIE V",
    "SetEnvIf Server_Addr 2$ V",
    "<If \"%{HTTP:X-Field} == 'y'\">\nphp_value precision 3\nSetEnv V if\n</If>",
    '<If "%{QUERY_STRING} =~ /y/">\nRequire all denied\n</If>',
    "<Location /a.php>\nRequire env V\n</Location>\nSetEnvIf X-Field y V",
    "<Location /a.php>\nRequire ip 192.0.2.1\n</Location>",
    "<Location /a.php>\n<Limit POST>\nRequire all denied\n</Limit>\n</Location>",
    "<Location /a.php>\nRequire method GET\n</Location>",
    "<Location /d>\nLimitRequestBody 2\n</Location>\nLimitRequestBody 2",
    "RequestHeader set X-Field constant",
    "RequestHeader set X-Field early early",
    'Header always set X "%{V}e"\nSetEnvIf X-Field (.*) V=$1',
    "UseCanonicalName On",
    "ServerSignature On",
    "DirectoryIndex index.php?index",
    "Script POST /b.php",
    "AcceptPathInfo Off",
    "<LocationMatch ^/(?<NAME>[ab])\\.php>\nSetHandler php-script\n</LocationMatch>",
    "CGIPassAuth On",
)
REQUESTS = (
    ("GET /a.php", ()),
    ("GET /a.php?", ()),
    ("GET /a.php?x", ()),
    ("GET /a.php?y", ()),
    ("GET /a.php?x=1", ()),
    ("GET /a.php?y=2", ()),
    ("GET /a.php HTTP/1.0", ()),
    ("HEAD /a.php", ()),
    ("POST /a.php", ("Content-Length: 1",)),
    ("POST /a.php", ("Content-Length: 9",)),
    ("GET /a.php", ("X-Field: y",)),
    ("GET /a.php", ("X-Field: z", "User-Agent: MSIE", "Authorization: Basic YTpi")),
    ("GET /a.php", ("Host: other.test:81",)),
    ("GET http://other.test/a.php", ()),
    ("GET /a.php/info?x=1", ()),
    ("GET /a.php/other?x=2", ()),
    ("GET /c.php?z=1", ()),
    ("GET /d/?x=1", ()),
    ("GET /d/", ()),
    ("GET /d", ()),
    ("GET /?x=2", ()),
    ("GET /missing.php", ()),
)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_what_programs_are_told_is_the_same_as_without_memory(tmp_path: Path, text: str) -> None:
    in_section = "CGIPassAuth" in text
    served = Served(tmp_path, f"<Directory @ROOT@>\n{text}\n</Directory>" if in_section else text)
    places = [(line, fields, local) for line, fields in REQUESTS for local in ("127.0.0.1", "127.0.0.2")]
    for learnt in (*places, *reversed(places)):
        line, fields, local = learnt
        expected = served.found(line, *fields, site=served.fresh(), local=local)
        assert served.found(line, *fields, local=local) == expected, learnt
        assert served.found(line, *fields, local=local) == expected, f"{learnt}, again"


def test_a_file_that_changes_has_its_way_found_anew(served: Served) -> None:
    script = served.root / "a.php"
    served.ask("GET /a.php")
    script.unlink()
    assert served.found("GET /a.php") == "404"
    script.mkdir()
    (script / "index.php").write_text("<?php\n")
    request = served.ask("GET /a.php/")
    assert (request.filename, request.path_info) == (f"{script}/index.php", "")


def test_within_a_turn_a_file_is_looked_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.ask("GET /a.php")
    looks: list[object] = []
    stat = os.stat

    def look(path: str) -> os.stat_result:
        looks.append(path)
        return stat(path)

    monkeypatch.setattr(os, "stat", look)
    for _ in range(3):
        serve.respond(make_request(served.site, "GET /a.php").request)
    assert looks == [os.fsencode(f"{served.root}/a.php")]


def test_a_request_may_change_its_tables(tmp_path: Path) -> None:
    served = Served(tmp_path, "SetEnv V one")
    for _ in range(3):
        request = served.ask("GET /a.php")
        assert (request.env["V"], request.notes.get("n"), request.vary, request.fields) == ("one", None, [], [])
        request.env["V"] = request.notes["n"] = "changed"
        request.vary.append("Cookie")
        request.fields.append(("X", "y"))


def test_the_same_script_of_two_virtual_hosts_has_two_ways(tmp_path: Path) -> None:
    one, other = Served(tmp_path, "SetEnv V one"), Served(tmp_path, "SetEnv V other\nphp_value precision 3")
    for _ in range(2):
        assert one.found("GET /a.php") != other.found("GET /a.php")
        assert [served.ask("GET /a.php").env["V"] for served in (one, other)] == ["one", "other"]


def test_no_more_ways_are_remembered_than_there_is_room_for(served: Served) -> None:
    for number in range(MOST + 10):
        served.ask(f"GET /a.php/{number}")
    assert 0 < len(served.site.routes.routes) <= MOST


def test_a_way_holds_on_to_no_connection(served: Served) -> None:
    first = served.ask("GET /a.php")
    assert all(route.found.log is not first.log for route in served.site.routes.routes.values())
