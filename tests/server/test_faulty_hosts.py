"""A virtual host with a mistake in it is answered with 500, and says why; everybody else's is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

# What stands in alice's virtual host, and what the error log says of it.
MISTAKES = {
    "an argument": ("KeepAlive perhaps", "KeepAlive"),
    "an unknown directive": ("DocumentRot /srv", "did you mean DocumentRoot"),
    "one that is not supported": ("WatchdogInterval 5", "is not supported yet"),
    "a place": ("Listen 81", "cannot stand in <VirtualHost>"),
    "a pattern that is none": (r"RedirectMatch (?<a>x /z", "RedirectMatch"),
    "a section within": ('<If "%{NOTHING} == 1">\n</If>', "there is no variable NOTHING"),
    "access rules": ("<Location />\nRequire all deniedd\n</Location>", "Require"),
    "a file that is not there": ("Include @DIR@/nothing.conf", "nothing.conf"),
    "a macro that is not there": ("Use nothing", "there is no macro"),
    "a section that is not closed": ("<Directory @DIR@>\nOptions None", "expected </Directory>"),
    "a condition": ("<IfVersion ~= 2>\n</IfVersion>", "IfVersion"),
    "the log": ("CustomLog @DIR@/a.log common env", "CustomLog"),
}


def line_of(server: Server, text: str) -> int:
    lines = server.config.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_costs_its_owner_alone(world: World, mistake: str) -> None:
    wrong, why = MISTAKES[mistake]
    server = world.server(
        world.virtual_host("bob", BOB) + world.virtual_host("alice", ALICE, f"{wrong}\n") + world.virtual_host("c", BOB)
    )
    assert server.get("bob.test").content == b"bob\n"
    assert server.get("c.test").content == b"c\n"
    for path in ("/", "/index.html", "/nothing", "/?q"):
        response = server.get("alice.test", path)
        assert (response.status, b"alice" in response.content) == (500, False)
    assert server.get("alice.test", "/", "TRACE").status == 500
    assert server.get("alice.test", "/", "OPTIONS").status == 500
    where = f"{server.config}:{line_of(server, wrong.splitlines()[0].replace('@DIR@', str(world.folder)))}: "
    if "\n" not in wrong:
        assert where in server.stderr
        eventually(lambda: [line for line in server.log().splitlines() if where in line and "client" in line])
    said = [line for line in server.log().splitlines() if why in line]
    assert "answered with 500" in said[0]
    assert server.stop() == 0


def test_a_faulty_host_is_answered_by_its_owner(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE, "Nonsense\nErrorLog @DIR@/alice.log\n"))
    assert server.get("alice.test").status == 500
    assert {worker.uid for worker in server.processes("worker")} == {ALICE}
    eventually(lambda: "Nonsense" in server.log("alice.log"))


@pytest.mark.parametrize(
    "who",
    [
        pytest.param('AssignUserID "#50001"', id="its own line is wrong"),
        pytest.param("AsignUserID alice alice", id="a line that nobody knows may be the one"),
        pytest.param("Include @DIR@/owner.conf", id="the line may be in a file that is not there"),
    ],
)
def test_where_the_owner_cannot_be_told_nobody_answers_for_it(world: World, who: str) -> None:
    """Neither the default identity nor anybody else is told of it."""
    host = world.virtual_host("alice", ALICE, "ErrorLog @DIR@/alice.log\n")
    server = world.server(host.replace(f'AssignUserID "#{ALICE}" "#{ALICE}"', who) + world.virtual_host("bob", BOB))
    assert server.get("alice.test").status == 500
    assert server.get("bob.test").content == b"bob\n"
    eventually(lambda: who.split()[0] in server.log())
    assert server.log("alice.log") == ""
    workers = {worker.uid: worker for worker in server.processes("worker")}
    assert ALICE not in workers
    assert not any(worker.holds(str(world.folder / "alice.log").encode()) for worker in workers.values())


def test_an_error_page_elsewhere_and_header_fields_count_for_nothing(world: World) -> None:
    extra = "ErrorDocument 500 http://evil.test/\nHeader always set X-Alice yes\nRedirect / http://evil.test/\nOops\n"
    server = world.server(world.virtual_host("alice", ALICE, extra))
    response = server.get("alice.test")
    assert (response.status, response.getheader("X-Alice"), response.getheader("Location")) == (500, None, None)


NAMES = {
    "a port that is none": ("ServerName alice.test:99999", "alice.test"),
    "two names": ("ServerName alice.test www.alice.test", "alice.test"),
    "a scheme": ("ServerName https://alice.test:x", "alice.test"),
    "an alias": ("ServerName\nServerAlias alice.test", "alice.test"),
    "a wildcard is nobody's": ("ServerName *.test", ""),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_host_whose_name_is_wrong_keeps_what_can_be_read_of_it(world: World, case: str) -> None:
    name, known = NAMES[case]
    alice = world.virtual_host("alice", ALICE).replace("ServerName alice.test", name)
    server = world.server(world.virtual_host("bob", BOB) + alice)
    assert server.get("bob.test").content == b"bob\n"
    assert server.get("server.test").content == b"bob\n"  # the main server's name is not alice's
    if known:
        assert server.get(known).status == 500


ADDRESSES = ["", "80", "127.0.0.1:99999", "[::1", "*:80:80"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("first", [True, False])
def test_a_host_whose_address_is_wrong_has_its_names_everywhere_and_is_never_the_first(
    world: World, address: str, first: bool
) -> None:
    alice = world.virtual_host("alice", ALICE).replace("127.0.0.1:@PORT@", address)
    bob = world.virtual_host("bob", BOB)
    server = world.server(alice + bob if first else bob + alice)
    assert server.get("alice.test").status == 500
    assert server.get("bob.test").content == b"bob\n"
    assert server.get("unknown.test").content == b"bob\n"
    assert server.get("server.test").content == b"bob\n"


def test_a_host_without_an_address_leaves_the_main_server_alone(world: World) -> None:
    main = world.site("main", BOB)
    alice = world.virtual_host("alice", ALICE).replace("127.0.0.1:@PORT@", "nowhere:99999")
    folder = f"DocumentRoot {main}\n<Directory {main}>\nRequire all granted\n</Directory>\n"
    server = world.server(f'AssignUserID "#{BOB}" "#{BOB}"\n{folder}{alice}')
    assert server.get("alice.test").status == 500
    assert server.get("server.test").content == b"main\n"
    assert server.get("unknown.test").content == b"main\n"


def test_a_healthy_host_of_the_same_name_goes_first(world: World) -> None:
    wrong = world.virtual_host("alice", ALICE).replace("127.0.0.1:@PORT@", "127.0.0.1:99999")
    server = world.server(wrong + world.virtual_host("alice", ALICE))
    assert server.get("alice.test").content == b"alice\n"


SERVER_LEVEL = {
    "a directive": "KeepAlive perhaps\n",
    "a folder's section": "<Directory /home/alice>\nOptions Nonsense\n</Directory>\n",
    "an include": "Include @DIR@/nothing.conf\n",
    "a host that is not closed": "<VirtualHost *:80>\nServerName x\n",
    "hosts in each other": "<VirtualHost *:80>\n<VirtualHost *:81>\n</VirtualHost>\n</VirtualHost>\n",
    "a condition that swallows the rest": "<VirtualHost *:80>\n<IfDefine NO>\n</VirtualHost>\n",
    "an included file's host that is not closed": "Include @DIR@/open.conf\n",
}


@pytest.mark.parametrize("case", SERVER_LEVEL)
def test_what_is_everybodys_keeps_the_server_from_starting(world: World, case: str) -> None:
    (world.folder / "open.conf").write_text("<VirtualHost *:80>\nServerName x\n")
    server = world.server(world.virtual_host("bob", BOB) + SERVER_LEVEL[case], start=False).start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) == 1
    assert str(world.folder) in server.stderr


def test_strict_keeps_it_from_starting(world: World) -> None:
    body = world.virtual_host("bob", BOB) + world.virtual_host("alice", ALICE, "Oops\n")
    server = world.server(body, start=False, arguments=["--strict"]).start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) == 1
    assert "unknown directive Oops" in server.stderr


def test_hosts_in_included_files_and_from_macros(world: World) -> None:
    """As panels write them: a file for each owner, a macro for all."""
    for name, uid, extra in (("alice", ALICE, "Oops"), ("bob", BOB, "")):
        Path(world.folder / f"{name}.conf").write_text(
            world.virtual_host(name, uid, f"{extra}\n").replace("127.0.0.1:@PORT@", "*")
        )
    macro = (
        "<Macro Site $name $uid $extra>\n<VirtualHost *>\nServerName $name.test\nDocumentRoot @DIR@/$name\n"
        'AssignUserID "#$uid" "#$uid"\n$extra\n<Directory @DIR@/$name>\nRequire all granted\n</Directory>\n'
        "</VirtualHost>\n</Macro>\n"
    )
    world.site("carol", BOB)
    server = world.server(
        f"Include @DIR@/[ab]*.conf\n{macro}Use Site dave {ALICE} Nonsense\nUse Site carol {BOB} 'KeepAlive On'\n"
    )
    answers = {name: server.get(f"{name}.test").status for name in ("alice", "bob", "carol", "dave")}
    assert answers == {"alice": 500, "bob": 200, "carol": 200, "dave": 500}


def test_a_url_for_401_is_ignored_as_in_apache(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE, "ErrorDocument 401 http://login.example/\n"))
    assert server.get("alice.test").content == b"alice\n"
