"""Pages that a real browser loads from the real server: which protocol, how many connections, served by whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from browser import visit
from encrypted import Sites
from harness import ALICE, BOB, Server, World
from waiting import eventually

PREAMBLE = 'Protocols h2 http/1.1\nLogFormat "%v|%{remote}p|%k|%H|%U|%>s" seen\nCustomLog @DIR@/access.log seen\n'
PREAMBLE += "AddType text/css .css\nAddType image/svg+xml .svg\n"
CGI = "<Files *.cgi>\nOptions +ExecCGI\nSetHandler cgi-script\n</Files>\n"
SCRIPT = "#!/bin/sh\nprintf 'Content-Type: text/javascript\\n\\n'; echo \"seen.push('$SERVER_NAME ' + $(id -u));\"\n"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="3" height="3"><rect width="3" height="3"/></svg>'
SUMMARY = """\
<script>
onload = () => {
    const pictures = [...document.images].filter(one => one.complete && one.naturalWidth == 3).length;
    const sheets = [...document.querySelectorAll('[rel=stylesheet]')].filter(one => one.sheet).length;
    document.body.textContent = `sheets ${sheets}, pictures ${pictures}, scripts ${seen.sort()}.`;
};
</script>
"""


@dataclass
class Line:
    """What the access log says of a request."""

    host: str
    connection: int  # the client's port
    place: int  # requests on the connection before it
    protocol: str
    path: str
    status: str


def page(refers_to: Iterable[str]) -> str:
    """A page that refers to these URLs, by the kind that they end in."""
    kinds = {
        "css": '<link rel="stylesheet" href="{}">',
        "svg": '<img src="{}">',
        "cgi": '<script src="{}"></script>',
    }
    tags = "\n".join(kinds[url.rpartition(".")[2]].format(url) for url in refers_to)
    return f'<!doctype html><link rel="icon" href="data:,"><script>seen = [];</script>\n{tags}\n{SUMMARY}'


def files(name: str, refers_to: Iterable[str] = ()) -> dict[str, str | bytes]:
    """A site of a page and all that pages refer to."""
    made: dict[str, str | bytes] = {"index.html": page(refers_to)}
    for number in range(15):
        made[f"{number}.css"] = f".c{number} {{ color: red }}"
        made[f"{number}.svg"] = PICTURE
        made[f"{number}.cgi"] = SCRIPT
    return made


def shown(sites: Sites, server: Server, tmp_path: Path) -> str:
    """What alice's page says once it is loaded."""
    content = visit(sites, f"https://alice.test:{server.port}/", tmp_path)
    found = re.search(r"sheets \d.*\.", content)
    assert found, content
    return found[0]


def lines(server: Server, count: int) -> list[Line]:
    """All lines of the access log."""

    def whole() -> list[str] | None:
        found = server.log("access.log").splitlines()
        return found if len(found) >= count else None

    found = eventually(whole)
    assert isinstance(found, list)
    assert len(found) == count, found
    parts = (one.split("|") for one in found)
    return [Line(host, int(port), int(k), protocol, path, status) for host, port, k, protocol, path, status in parts]


def test_forty_resources_come_on_one_connection(world: World, sites: Sites, tmp_path: Path) -> None:
    names = [f"/{number}.css" for number in range(13)] + [f"/{number}.svg" for number in range(14)]
    names += [f"/{number}.cgi" for number in range(13)]
    server = world.server(PREAMBLE + sites.virtual_host("alice", ALICE, CGI, files("alice", names)))
    said = shown(sites, server, tmp_path)
    assert said == f"sheets 13, pictures 14, scripts {','.join([f'alice.test {ALICE}'] * 13)}."
    seen = lines(server, 41)
    assert {(line.protocol, line.status) for line in seen} == {("HTTP/2.0", "200")}
    assert len({line.connection for line in seen}) == 1
    assert sorted(line.place for line in seen) == list(range(41))


@pytest.mark.parametrize(
    "both", [("alice.test", "bob.alice.test"), ("alice.test", "*.alice.test")], ids=["both names", "a wildcard"]
)
def test_owners_who_share_a_certificate_are_not_mixed(
    world: World, sites: Sites, tmp_path: Path, both: tuple[str, ...]
) -> None:
    """Over HTTP/2 the browser would ask for both on one connection: neither is offered it, and all of it loads."""
    kinds = ("css", "svg", "cgi")
    port = "@PORT@"
    names = [
        f"https://{name}.test:{port}/{number}.{kind}"
        for name in ("alice", "bob.alice")
        for kind in kinds
        for number in (1, 2)
    ]
    certificate = sites.certificate("shared", *both)
    server = world.server(
        PREAMBLE
        + sites.virtual_host("alice", ALICE, CGI, files("alice"), certificate)
        + sites.virtual_host("bob.alice", BOB, CGI, files("bob"), certificate)
    )
    (world.folder / "alice/index.html").write_text(page(names).replace(port, str(server.port)))
    said = shown(sites, server, tmp_path)
    who = [f"alice.test {ALICE}"] * 2 + [f"bob.alice.test {BOB}"] * 2
    assert said == f"sheets 4, pictures 4, scripts {','.join(who)}."
    seen = lines(server, 13)
    assert {(line.protocol, line.status) for line in seen} == {("HTTP/1.1", "200")}
    connections = {line.connection: line.host for line in seen}
    assert all(connections[line.connection] == line.host for line in seen), "no connection is both owners'"
    for name, other in (("alice.test", "bob.alice.test"), ("bob.alice.test", "alice.test")):
        assert f"HTTP/2 is not offered to clients of {name}: its certificate also covers {other} (" in server.log()


def test_owners_with_certificates_of_their_own_have_http2(world: World, sites: Sites, tmp_path: Path) -> None:
    server = world.server(
        PREAMBLE
        + sites.virtual_host("alice", ALICE, CGI, files("alice"))
        + sites.virtual_host("bob", BOB, CGI, files("bob"))
    )
    names = [f"https://{name}.test:{server.port}/{number}.cgi" for name in ("alice", "bob") for number in range(5)]
    (world.folder / "alice/index.html").write_text(page(names))
    said = shown(sites, server, tmp_path)
    assert said.endswith(f"scripts {','.join([f'alice.test {ALICE}'] * 5 + [f'bob.test {BOB}'] * 5)}.")
    seen = lines(server, 11)
    assert {(line.protocol, line.status) for line in seen} == {("HTTP/2.0", "200")}
    assert len({(line.connection, line.host) for line in seen}) == len({line.connection for line in seen}) == 2


def test_one_owners_hosts_share_a_connection(world: World, sites: Sites, tmp_path: Path) -> None:
    """The browser takes the certificate's word that both are served on it (below one domain, it does)."""
    certificate = sites.certificate("shared", "alice.test", "img.alice.test")
    server = world.server(
        PREAMBLE
        + sites.virtual_host("alice", ALICE, CGI, files("alice"), certificate)
        + sites.virtual_host("img.alice", ALICE, CGI, files("img.alice"), certificate)
    )
    names = [
        f"https://{name}.test:{server.port}/{number}.cgi" for name in ("alice", "img.alice") for number in range(5)
    ]
    (world.folder / "alice/index.html").write_text(page(names))
    said = shown(sites, server, tmp_path)
    assert said.endswith(f"scripts {','.join([f'alice.test {ALICE}'] * 5 + [f'img.alice.test {ALICE}'] * 5)}.")
    seen = lines(server, 11)
    assert {(line.protocol, line.status) for line in seen} == {("HTTP/2.0", "200")}
    assert {line.host for line in seen} == {"alice.test", "img.alice.test"}
    assert len({line.connection for line in seen}) == 1
    assert sorted(line.place for line in seen) == list(range(11))
