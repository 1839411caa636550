"""Who is offered HTTP/2: only where all that a certificate covers is one owner's, and a note where that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.reader import read
from ownhost.identity.identity import Assignment, Identity
from ownhost.processes.supervisor import alpn
from ownhost.processes.supervisor.plan import Plan, make_plan

H2, HTTP1 = ("h2", "http/1.1"), ("http/1.1",)
IDS = {"www-data": 33, "alice": 1001, "bob": 1002}


def judge(assignment: Assignment, _found: object) -> Identity:
    uid = IDS[str(assignment.user)]
    return Identity(uid, uid, (), str(assignment.user), assignment.nice)


def host(name: str, owner: str = "alice", extra: str = "", address: str = "*:443") -> str:
    return f"<VirtualHost {address}>\nServerName {name}\nAssignUserID {owner} {owner}\n{extra}\n</VirtualHost>\n"


def plan_of(folder: Path, *hosts: str, before: str = "Protocols h2 http/1.1") -> Plan:
    modules.load()
    file = folder / "site.conf"
    start = "Listen 127.0.0.1:443\nListen 127.0.0.1:8443\nServerName main.test\nUser www-data\nGroup www-data\n"
    file.write_text(f"{start}{before}\n{''.join(hosts)}")
    return make_plan(read(str(file)), judge, judge(Assignment("www-data", "www-data"), None))


def offered(plan: Plan, *names: str) -> tuple[str, ...]:
    """What the first virtual host offers, with a certificate for these names."""
    return alpn.offered(plan, {1: names})[1]


SAME, OTHER = host("two.test"), host("two.test", "bob")


@pytest.mark.parametrize(
    ("others", "names", "expected"),
    [
        pytest.param("", ["one.test"], H2, id="alone"),
        pytest.param(OTHER, ["one.test"], H2, id="another owner's, which the certificate does not cover"),
        pytest.param(SAME, ["one.test", "two.test"], H2, id="the same owner's, covered"),
        pytest.param(OTHER, ["one.test", "two.test"], HTTP1, id="another owner's, covered"),
        pytest.param(OTHER, ["one.test", "TWO.test"], HTTP1, id="whatever the case"),
        pytest.param(SAME, ["*.test"], H2, id="a wildcard over the same owner's"),
        pytest.param(OTHER, ["*.test"], HTTP1, id="a wildcard over another owner's"),
        pytest.param(OTHER, ["*.one.test", "one.test"], H2, id="a wildcard beside it"),
        pytest.param(
            host("b.test", "bob", "ServerAlias x.b.test two.test"),
            ["one.test", "two.test"],
            HTTP1,
            id="another owner's alias",
        ),
        pytest.param(
            host("b.test", "bob", "ServerAlias *.one.test"),
            ["www.one.test"],
            HTTP1,
            id="another owner's wildcard alias",
        ),
        pytest.param(
            host("b.test", "bob", "ServerAlias w?w.one.test"), ["www.one.test"], HTTP1, id="with a question mark"
        ),
        pytest.param(
            host("b.test", "bob", "ServerAlias *.b.test"), ["www.one.test"], H2, id="a wildcard alias elsewhere"
        ),
        pytest.param(
            host("b.test", "bob", "ServerAlias *.b.test"), ["*.one.test"], HTTP1, id="both wildcards: perhaps"
        ),
        pytest.param(
            host("two.test", "bob", address="*:8443"),
            ["one.test", "two.test"],
            H2,
            id="another owner's, at another port",
        ),
        pytest.param(
            host("two.test", "bob", address="127.0.0.9:443"),
            ["one.test", "two.test"],
            HTTP1,
            id="at an address that * includes",
        ),
        pytest.param(host("two.test", "bob", address="*:*"), ["one.test", "two.test"], HTTP1, id="at every port"),
        pytest.param(
            host("two.test", "alice", 'AssignUserIDExpr "%{reqenv:WHO}"'),
            ["one.test", "two.test"],
            H2,
            id="the same owner's, which chooses by expression",
        ),
        pytest.param(
            host("two.test", "alice", "<Location /b>\nAssignUserID bob bob\n</Location>"),
            ["one.test", "two.test"],
            H2,
            id="the same owner's, with a section of another",
        ),
        pytest.param(
            host("two.test", "alice", "NiceValue 5"), ["one.test", "two.test"], HTTP1, id="the same owner, less urgent"
        ),
        pytest.param(SAME + OTHER.replace("two", "three"), ["one.test", "two.test"], H2, id="one of two is covered"),
    ],
)
def test_what_is_offered(tmp_path: Path, others: str, names: list[str], expected: tuple[str, ...]) -> None:
    plan = plan_of(tmp_path, host("one.test"), others)
    assert offered(plan, *names) == expected
    assert len(alpn.notes(plan, {1: names})) == (expected == HTTP1), "and there is a note where it is not"


def test_different_addresses_do_not_meet(tmp_path: Path) -> None:
    one = host("one.test", address="127.0.0.1:443")
    two = host("two.test", "bob", address="127.0.0.2:443")
    assert offered(plan_of(tmp_path, one, two), "one.test", "two.test") == H2
    two = two.replace("127.0.0.2:443", "127.0.0.2:443 127.0.0.1:443")
    assert offered(plan_of(tmp_path, one, two), "one.test", "two.test") == HTTP1


@pytest.mark.parametrize(
    "choosing",
    [
        'AssignUserIDExpr "%{reqenv:WHO}"',
        "<Location /b>\nAssignUserID bob bob\n</Location>",
        "<Directory /b>\nNiceValue 5\n</Directory>",
    ],
)
def test_a_virtual_host_of_several_users_is_offered_it(tmp_path: Path, choosing: str) -> None:
    """Its connections are one identity's, which relays what is the others'."""
    plan = plan_of(tmp_path, host("one.test", extra=choosing))
    assert offered(plan, "one.test") == H2
    assert not alpn.notes(plan, {1: ["one.test"]})


def test_two_owners_with_one_certificate(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, host("one.test"), host("two.test", "bob"))
    names = ["one.test", "two.test"]
    assert alpn.offered(plan, {1: names, 2: names}) == {1: HTTP1, 2: HTTP1}
    first, second = alpn.notes(plan, {1: names, 2: names})
    file = first.source.file
    assert str(first) == (
        f"{file}:6: HTTP/2 is not offered to clients of one.test: "
        f"its certificate also covers two.test ({file}:12), which another user may serve"
    )
    assert "clients of two.test: its certificate also covers one.test" in second.message


def test_a_note_names_the_first_of_many(tmp_path: Path) -> None:
    many = (host(f"h{number}.test", "bob") for number in range(5))
    (note,) = alpn.notes(plan_of(tmp_path, host("one.test"), *many), {1: ["*.test"]})
    assert "covers h0.test (" in note.message
    assert " and 4 more, which" in note.message


@pytest.mark.parametrize(
    ("protocols", "expected"), [("", HTTP1), ("Protocols http/1.1", HTTP1), ("Protocols h2", ("h2",))]
)
def test_protocols_comes_first(tmp_path: Path, protocols: str, expected: tuple[str, ...]) -> None:
    plan = plan_of(tmp_path, host("one.test"), before=protocols)
    assert offered(plan, "one.test") == expected


def test_who_did_not_ask_for_it_gets_no_note(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, host("one.test"), OTHER, before="Protocols http/1.1")
    assert alpn.notes(plan, {1: ["one.test", "two.test"]}) == []


def test_the_order_of_protocols_is_kept(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, host("one.test"), before="Protocols http/1.1 h2")
    assert offered(plan, "one.test") == ("http/1.1", "h2")
