"""mod_remoteip in the real server: what logs, rules and programs see of a client that a listed proxy speaks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import ALICE, PYTHON, Server, World, eventually

SCRIPT = f"""#!{PYTHON}
import os
print("Content-Type: text/plain\\n")
for name in ("REMOTE_ADDR", "REMOTE_PORT", "HTTP_X_FORWARDED_FOR", "HTTP_X_BY"):
    print(name, os.environ.get(name))
"""
LINES = """\
RemoteIPHeader X-Forwarded-For
RemoteIPProxiesHeader X-By
LogFormat "%a %h %{c}a %{X-Forwarded-For}i %{remoteip-proxy-ip-list}n %U" clients
CustomLog @DIR@/access.log clients
ErrorLogFormat "[client %a] [peer %{c}a] %M"
ScriptAlias /cgi/ @DIR@/alice/
<Location /only>
    Require ip 198.51.100.7
</Location>
"""
FILES = {"index.html": "alice\n", "env.cgi": SCRIPT, "only/x.txt": "x\n"}


@pytest.fixture
def behind(world: World) -> Server:
    """alice.test behind a proxy: the tests themselves."""
    return world.server("RemoteIPTrustedProxy 127.0.0.1\n" + world.virtual_host("alice", ALICE, LINES, FILES))


def lines(server: Server, count: int) -> list[str]:
    eventually(lambda: Path(server.folder / "access.log").exists() and server.log("access.log").count("\n") >= count)
    return server.log("access.log").splitlines()


def test_programs_and_rules_see_the_client(behind: Server) -> None:
    said = behind.get("alice.test", "/cgi/env.cgi", X_Forwarded_For="10.1.1.1, 198.51.100.7")
    found = dict(line.split(" ", 1) for line in said.content.decode().splitlines())
    assert found["REMOTE_ADDR"] == "198.51.100.7"
    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_X_BY"]) == ("10.1.1.1", "127.0.0.1")
    assert behind.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7").status == 200
    assert behind.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.8").status == 403
    assert behind.get("alice.test", "/only/x.txt").status == 403
    eventually(lambda: "[client 198.51.100.8:" in behind.log())
    line = next(line for line in behind.log().splitlines() if "[client 198.51.100.8:" in line)
    assert "[peer 127.0.0.1:" in line


def test_what_is_remembered_is_logged_with_each_ones_client(behind: Server) -> None:
    """The same file for several clients of one connection, and for the proxy itself."""
    client = behind.client()
    clients = ["198.51.100.7", "203.0.113.5", "", "2001:db8::1", "198.51.100.7", "10.0.0.1"]
    for address in clients:
        client.request(
            "GET", "/index.html", headers={"Host": "alice.test", **({"X-Forwarded-For": address} if address else {})}
        )
        assert client.getresponse().read() == b"alice\n"
    client.close()
    assert lines(behind, len(clients)) == [
        "198.51.100.7 198.51.100.7 127.0.0.1 - 127.0.0.1 /index.html",
        "203.0.113.5 203.0.113.5 127.0.0.1 - 127.0.0.1 /index.html",
        "127.0.0.1 127.0.0.1 127.0.0.1 - - /index.html",
        "2001:db8::1 2001:db8::1 127.0.0.1 - 127.0.0.1 /index.html",
        "198.51.100.7 198.51.100.7 127.0.0.1 - 127.0.0.1 /index.html",
        "127.0.0.1 127.0.0.1 127.0.0.1 10.0.0.1 - /index.html",
    ]


def test_who_is_not_listed_speaks_for_himself_alone(world: World) -> None:
    """A client that says to be another: neither rules nor logs believe it, listed as others may be."""
    server = world.server("RemoteIPTrustedProxy 192.0.2.1\n" + world.virtual_host("alice", ALICE, LINES, FILES))
    assert server.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7").status == 403
    assert server.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7, 192.0.2.1").status == 403
    assert {line.split()[0] for line in lines(server, 2)} == {"127.0.0.1"}
