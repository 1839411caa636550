"""Nobody waits for a regular expression that runs away: it is given up, its request is a 500, all else goes on (S9)."""

from __future__ import annotations

import time

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

ALMOST = "a" * 60 + "!"  # what ^(a+)+$ could match in 2**60 ways, but for its end

# What stands in alice's virtual host, and the request that it runs away with.
PLACES = {
    "RewriteRule": ("RewriteEngine on\nRewriteRule ^/((?:[a-z0-9]+-?)+)\\.html$ /x", f"/{'a' * 60}.html!", {}),
    "RewriteCond": ("RewriteEngine on\nRewriteCond %{QUERY_STRING} ^(a+)+$\nRewriteRule . -", f"/?{ALMOST}", {}),
    "RewriteCond expr": (
        'RewriteEngine on\nRewriteCond expr "%{QUERY_STRING} =~ /^(a+)+$/"\nRewriteRule . -',
        f"/?{ALMOST}",
        {},
    ),
    "in a folder": (
        "<Directory @DIR@/alice>\nRewriteEngine on\nRewriteRule ^(a+)+$ -\n</Directory>",
        f"/{ALMOST}",
        {},
    ),
    "LocationMatch": ("<LocationMatch ^/(a+)+$>\n</LocationMatch>", f"/{ALMOST}", {}),
    "FilesMatch": ("<FilesMatch ^(a+)+$>\n</FilesMatch>", f"/{ALMOST}", {}),
    "DirectoryMatch": ("<DirectoryMatch (a+)+[b-c]$>\n</DirectoryMatch>", f"/{ALMOST}", {}),
    "Location with wildcards": (f"<Location /{'*a' * 20}b>\n</Location>", f"/{'a' * 200}ba", {}),
    "If": ('<If "%{HTTP:X-A} =~ /^(a+)+$/">\nRequire all denied\n</If>', "/", {"X_A": ALMOST}),
    "a pattern that the client writes": (
        "<If \"'%s' -strmatch req('X-A')\">\n</If>" % ("a" * 2000 + "ba"),
        "/",
        {"X_A": "*a" * 20 + "b"},
    ),
    "Require expr": (
        '<Location />\nRequire expr "%{HTTP:X-A} !~ /^(a+)+$/"\n</Location>',
        "/",
        {"X_A": ALMOST},
    ),
    "SetEnvIf": ("SetEnvIf X-A ^(a+)+$ B", "/", {"X_A": ALMOST}),
    "SetEnvIf for names": ("SetEnvIf ^x-(a+)+$ . B", "/", {f"X_{'a' * 60}_": "1"}),
    "SetEnvIfExpr": ('SetEnvIfExpr "%{HTTP:X-A} =~ /^(a+)+$/" B', "/", {"X_A": ALMOST}),
    "BrowserMatch": ("BrowserMatch ^(a+)+$ B", "/", {"User_Agent": ALMOST}),
    "RequestHeader edit": ("RequestHeader edit X-A ^(a+)+$ b early", "/", {"X_A": ALMOST}),
    "Header edit": (f"Header set X-A {ALMOST}\nHeader edit X-A ^(a+)+$ b", "/", {}),
    "Header edit, of errors too": (f"Header always set X-A {ALMOST}\nHeader always edit X-A ^(a+)+$ b", "/", {}),
    "Header echo": ("Header echo ^X-(a+)+$", "/", {f"X_{'a' * 60}_": "1"}),
    "Header with a condition": ('Header set X-A a "expr=%{QUERY_STRING} =~ /^(a+)+$/"', f"/?{ALMOST}", {}),
    "RedirectMatch": ("RedirectMatch ^/(a+)+$ /x", f"/{ALMOST}", {}),
    "AliasMatch": ("AliasMatch ^/(a+)+$ /x", f"/{ALMOST}", {}),
    "WSGIScriptAliasMatch": ("WSGIScriptAliasMatch ^/(a+)+$ /x", f"/{ALMOST}", {}),
    "ProxyPassMatch": ("ProxyPassMatch ^/(a+)+$ http://127.0.0.1:1/", f"/{ALMOST}", {}),
    "ProxyMatch": (
        "ProxyPass / http://127.0.0.1:1/\n<ProxyMatch (a+)+[b-c]$>\n</ProxyMatch>",
        f"/{ALMOST}",
        {},
    ),
}


@pytest.fixture
def answers(world: World, request: pytest.FixtureRequest) -> Server:
    """alice.test with one of the places, and bob.test."""
    lines, _, _ = PLACES[request.param]
    return world.server(world.virtual_host("alice", ALICE, lines + "\n") + world.virtual_host("bob", BOB))


@pytest.mark.parametrize(("answers", "place"), [(place, place) for place in PLACES], indirect=["answers"])
def test_s9_it_is_a_500_with_its_name_in_the_log_and_the_worker_goes_on(answers: Server, place: str) -> None:
    server = answers
    _, path, fields = PLACES[place]
    calm = "/index.html"
    before = server.get("alice.test", calm).status
    worker = server.worker(ALICE).pid
    began = time.monotonic()
    assert server.get("alice.test", path, **fields).status == 500
    assert time.monotonic() - began < 5
    assert server.get("alice.test", calm).status == before
    assert server.worker(ALICE).pid == worker
    eventually(lambda: "was given up in a text of" in server.log())
    line = next(line for line in server.log().splitlines() if "was given up in a text of" in line)
    assert f"{server.config}:" in line or place == "a pattern that the client writes"
    assert "a bug in Ownhost" not in server.log()
    assert server.get("bob.test").status == 200


def test_s9_nobody_else_waits_for_it(world: World) -> None:
    """Twenty at once, of two owners of whom one has such a pattern: the other's are answered as ever."""
    lines = "RewriteEngine on\nRewriteRule ^/(a+)+$ /x\n"
    server = world.server(world.virtual_host("alice", ALICE, lines) + world.virtual_host("bob", BOB))
    hostile = f"GET /{ALMOST} HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n".encode()
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        client.sendall(hostile)
    assert server.get("bob.test").status == 200
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 500"
        client.close()
    assert server.get("alice.test").status == 200


def test_s9_a_log_says_more_rather_than_less(world: World) -> None:
    """Whether a line is to be written nobody can say: it is, and so is why."""
    lines = 'CustomLog @DIR@/access.log "%r" "expr=%{HTTP:X-A} =~ /^(a+)+$/"\n'
    server = world.server(world.virtual_host("alice", ALICE, lines))
    assert server.get("alice.test", "/?first", X_A=ALMOST).status == 200
    eventually(lambda: "GET /?first HTTP/1.1" in server.log("access.log"))
    eventually(lambda: "was given up in a text of" in server.log())
    assert server.get("alice.test", "/?second", X_A="b").status == 200
    assert server.get("alice.test", "/?third", X_A="a").status == 200
    eventually(lambda: "GET /?third" in server.log("access.log"))
    assert "GET /?second" not in server.log("access.log")
