"""LimitUIDRange and LimitGIDRange without `User` in them, as hosting panels write: the server serves its owners.

What would be served as `User` is a 500, with mpm-itk's words in the error log. (Apache with mpm_itk was asked.)
"""

from __future__ import annotations

import contextlib
import pwd

import pytest

from harness import ALICE, GATE, WWW, World
from waiting import eventually

GAMES = pwd.getpwnam("games").pw_uid


def lines_with(log: str, *words: str) -> list[str]:
    return [line for line in log.splitlines() if all(word in line for word in words)]


RANGES = {
    f"LimitUIDRange {WWW + 1} 60000": (f"setuid({WWW}): Operation not permitted", "LimitUIDRange"),
    f"LimitUIDRange 1000 {WWW - 1}": (f"setuid({WWW}): Operation not permitted", "LimitUIDRange"),
    f"LimitGIDRange 1000 {WWW - 1}": (f"setgid({WWW}): Operation not permitted", "LimitGIDRange"),
}


@pytest.mark.parametrize("limit", RANGES)
def test_what_would_be_served_as_user_is_500(world: World, limit: str) -> None:
    inside = 60000 if str(WWW + 1) in limit else ALICE
    root = world.site("users", WWW)
    alice = world.virtual_host("alice", ALICE).replace(f"#{ALICE}", f"#{inside}")
    world.site("alice", inside)
    server = world.server(
        f"{limit}\n{alice}<VirtualHost 127.0.0.1:@PORT@>\nServerName users.test\nDocumentRoot {root}\n"
        f"<Directory {root}>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    assert server.get("alice.test").content == b"alice\n"
    for _ in range(2):
        assert server.get("users.test").status == 500
    words, directive = RANGES[limit]
    eventually(lambda: lines_with(server.log(), words, "client"))
    line = lines_with(server.log(), words, "client")[0]
    assert "[mpm_itk:error]" in line
    assert f"This is most likely due to the current {directive} setting." in line
    assert {process.uid for process in server.processes("gate")} == {GATE}


def test_the_main_server_is_served_as_user_too(world: World) -> None:
    root = world.site("main", WWW)
    server = world.server(
        f"LimitUIDRange 1000 {WWW - 1}\nDocumentRoot {root}\n<Directory {root}>\nRequire all granted\n</Directory>\n"
    )
    assert server.get("main.test").status == 500


def test_sections_and_expressions_still_name_others(world: World) -> None:
    """Only what nobody else is named for is User's."""
    root = world.site("shared", ALICE, {"index.html": "index\n", "alice/x": "alice\n"}, mode=0o755)
    games = world.site("games", GAMES)
    who = "RewriteEngine on\nRewriteRule ^/(games|root)/ - [E=WHO:$1]\n"
    server = world.server(
        f"LimitUIDRange 2 {ALICE}\n"
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName shared.test\nDocumentRoot {root}\n"
        f"<Directory {root}>\nRequire all granted\n</Directory>\n"
        f'<Location /alice>\nAssignUserID "#{ALICE}" "#{ALICE}"\n</Location>\n</VirtualHost>\n'
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName computed.test\nDocumentRoot {games.parent}\n{who}"
        f"<Directory {games}>\nRequire all granted\n</Directory>\nAssignUserIDExpr %{{reqenv:WHO}}\n</VirtualHost>\n"
    )
    assert server.get("shared.test", "/alice/x").content == b"alice\n"
    assert server.get("shared.test", "/index.html").status == 500
    assert server.get("computed.test", "/games/index.html").content == b"games\n"
    assert server.get("computed.test", "/root/index.html").status == 500
    with contextlib.closing(server.client()) as client:  # one connection: each request is asked for itself
        client.request("GET", "/alice/x", headers={"Host": "shared.test"})
        assert client.getresponse().read() == b"alice\n"
        client.request("GET", "/index.html", headers={"Host": "shared.test"})
        assert client.getresponse().status == 500
