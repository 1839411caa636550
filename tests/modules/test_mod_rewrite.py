"""Golden cases: the configuration rewrite/NAME.conf and the requests in rewrite/NAME.txt, which says where they lead.

To add one, write the .conf and the requests, have `python tests/modules/test_mod_rewrite.py NAME` write the answers,
and check that they are what Apache would do. Below a request stand: its status and Location or file (@ROOT@ is the
folder that `make_root` makes), query, handler and type where there is one, variables, header fields, each step with
"LogLevel rewrite:trace8".
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.model import VirtualHost
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.modules.mod_rewrite import programs
from ownhost.request import serve
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.site import Site

modules.load()

FOLDER = Path(__file__).with_name("rewrite")
NAMES = sorted(path.stem for path in FOLDER.glob("*.conf"))
FILES = ("a.txt", "b.html", "index.html", "d/x.txt", "d/index.html", "e/second.html", "alias/y.txt")
NOW = 1_700_000_000.0
_LEFT_OUT = ("SCRIPT_URL", "SCRIPT_URI", "REDIRECT_SCRIPT_URL", "REDIRECT_SCRIPT_URI")


def make_root(folder: Path) -> Path:
    root = folder / "root"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    (root / "map.txt").write_text("one eins\nfile /a.txt\n")
    return root


def make_server(root: Path, text: str) -> VirtualHost:
    path = root.parent / "site.conf"
    path.write_text(
        "Listen 127.0.0.1:80\nServerName main.test\nTypesConfig /dev/null\nAddType text/plain .txt\n"
        "AddType text/html .html\n<VirtualHost *:80>\nServerName site.test\n"
        f"DocumentRoot {root}\n{text.replace('@ROOT@', str(root))}\n</VirtualHost>\n"
    )
    return read(str(path)).virtual_hosts[0]


def ask(site: Site, block: str, log: list[str]) -> Request:
    first, *fields = block.splitlines()
    text = "\r\n".join((f"{first} HTTP/1.1", "Host: site.test", *fields, "", ""))
    head = parse_head(text.encode(), head_limits(site.settings))

    def take(level: Level, module: str, message: str) -> None:
        log.append(f"{module}:{level.name.lower()} {message}")

    return Request(head, Endpoints("127.0.0.1", 4000, "127.0.0.1", 80), site, NOW, take)


def describe(root: Path, server: VirtualHost, block: str) -> Iterator[str]:
    log: list[str] = []
    site = Site(server, lambda _: True, lambda _: None)
    request = ask(site, block, log)
    response = serve.respond(request)
    location = response.header("location")
    yield f"{response.status} {location or request.filename}"
    if location is None and request.query is not None:
        yield f"query {request.query}"
    if request.handler:
        yield f"handler {request.handler}"
    yield from (
        f"type {value}" for name, value in response.headers if name == "Content-Type" and response.status == 200
    )
    yield from (f"field {name}: {value}" for name, value in response.headers if name in ("Set-Cookie", "Vary"))
    yield from (f"env {name}={value}" for name, value in sorted(request.env.items()) if name not in _LEFT_OUT)
    yield f"pure {request.pure}"
    yield from (f"log {line}" for line in log if line.startswith("rewrite") or ":error" in line)


def run(name: str, folder: Path) -> str:
    """The text of NAME.txt as it comes out."""
    root = make_root(folder)
    server = make_server(root, (FOLDER / f"{name}.conf").read_text())
    blocks = []
    for block in re.split(r"\n\s*\n", (FOLDER / f"{name}.txt").read_text()):
        asked = "\n".join(line for line in block.strip().splitlines() if not line.startswith("= "))
        if asked:
            lines = [asked, *(f"= {line}" for line in describe(root, server, asked))]
            blocks.append("\n".join(lines).replace(str(root), "@ROOT@"))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_rewriting(tmp_path: Path, name: str) -> None:
    assert run(name, tmp_path) == (FOLDER / f"{name}.txt").read_text()


def respond(root: Path, text: str, request: str, answers: dict[tuple[str, ...], object] | None = None) -> Request:
    site = Site(make_server(root, text), lambda _: True, lambda _: None)
    site.programs = answers or {}  # type: ignore[assignment]
    asked = ask(site, request, [])
    asked.notes["response"] = str(serve.respond(asked).header("location"))
    return asked


def test_a_program_is_asked_by_its_command(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    text = "RewriteEngine on\nRewriteMap m 'prg:/bin/sh -c x' alice:users\nRewriteRule ^/(.*)$ /to/${m:$1|none} [R]"
    command = ("/bin/sh", "-c", "x")
    assert programs(make_server(root, text)) == {command}
    assert programs(make_server(root, text.replace("${m:", "${n:"))) == set()
    inner = text.replace("RewriteRule", "<Location /x>\nRewriteRule") + "\n</Location>"
    assert programs(make_server(root, inner)) == {command}
    answers: dict[tuple[str, ...], object] = {command: lambda key: f"<{key}>" if key == "known" else None}
    assert respond(root, text, "GET /known", answers).notes["response"] == "http://site.test/to/%3Cknown%3E"
    assert respond(root, text, "GET /other", answers).notes["response"] == "http://site.test/to/none"
    assert respond(root, text, "GET /known%0Aand", answers).notes["response"] == "http://site.test/to/none"


def test_a_random_map_gives_every_alternative(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (root / "random.txt").write_text("key a|b|c\n")
    text = f"RewriteEngine on\nRewriteMap m rnd:{root}/random.txt\nRewriteRule ^ /${{m:key}} [R]"
    found = {respond(root, text, "GET /").notes["response"][-1] for _ in range(200)}
    assert found == {"a", "b", "c"}


def test_a_text_map_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    text = f"RewriteEngine on\nRewriteMap m {root}/map.txt\nRewriteRule ^ /${{m:one|gone}} [R]"
    assert respond(root, text, "GET /").notes["response"].endswith("/eins")
    (root / "map.txt").write_text("one other\n")
    assert respond(root, text, "GET /").notes["response"].endswith("/other")
    (root / "map.txt").unlink()
    site = Site(make_server_without_checks(root, text), lambda _: True, lambda _: None)
    log: list[str] = []
    request = ask(site, "GET /", log)
    assert serve.respond(request).header("location") == "http://site.test/gone"
    assert any("cannot be read" in line for line in log)


def make_server_without_checks(root: Path, text: str) -> VirtualHost:
    """A server whose map file is there while the configuration is read, and not any more."""
    (root / "map.txt").write_text("")
    try:
        return make_server(root, text)
    finally:
        (root / "map.txt").unlink()


def test_a_loop_of_internal_redirects_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    text = "<Directory @ROOT@>\nRewriteEngine on\nRewriteRule ^loop(.*) loop$1x\n</Directory>"
    site = Site(make_server(root, text), lambda _: True, lambda _: None)
    log: list[str] = []
    assert serve.respond(ask(site, "GET /loop", log)).status == 500
    assert any("internal redirects" in line and "/loopxxx" in line for line in log)


def test_rules_that_grow_a_path_without_end_are_stopped(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    text = "RewriteEngine on\nRewriteRule ^(.*)$ $1$1 [N]"
    site = Site(make_server(root, text), lambda _: True, lambda _: None)
    log: list[str] = []
    assert serve.respond(ask(site, "GET /x", log)).status == 500
    assert any("characters" in line for line in log)


def test_a_file_below_document_root_stays_in_memory_while_rules_pass_it(tmp_path: Path) -> None:
    """The rules of every front controller: what is a file is served as it is, and remembered."""
    root = make_root(tmp_path)
    text = (
        "<Directory @ROOT@>\nRewriteEngine on\nRewriteCond %{REQUEST_FILENAME} !-f\n"
        "RewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule . /index.html [L]\n</Directory>"
    )
    assert respond(root, text, "GET /a.txt").pure
    assert not respond(root, text, "GET /nothing").pure


if __name__ == "__main__":
    for one in sys.argv[1:] or NAMES:
        with tempfile.TemporaryDirectory() as made:
            text = run(one, Path(made))
        (FOLDER / f"{one}.txt").write_text(text)
