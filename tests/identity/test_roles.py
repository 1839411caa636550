"""Who gates, logger and front run as: accounts of their own, or reserved numbers; and that no site is one of them."""

from __future__ import annotations

import pytest

from ownhost.config.directive import REGISTRY, ArgumentError, Call, Source, Where
from ownhost.identity.accounts import Account, Found
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.identity.roles import RESERVED, identities_of, reserved_for


class People:
    """A user database."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = accounts

    def user(self, name: str) -> Account | None:
        return next((one for one in self.accounts if one.name == name), None)

    def user_of(self, uid: int) -> Account | None:
        return next((one for one in self.accounts if one.uid == uid), None)

    def group(self, name: str) -> int | None:
        return None

    def groups(self, name: str, gid: int) -> list[int]:
        return [gid]


NOBODY = People()


def uids(found: dict[str, Identity] | Refusal) -> dict[str, int]:
    assert not isinstance(found, Refusal), found
    return {role: one.uid for role, one in found.items()}


def test_where_nothing_is_said_and_there_are_no_accounts_numbers_are_reserved() -> None:
    found = identities_of({}, NOBODY)
    assert uids(found) == RESERVED
    assert isinstance(found, dict)
    assert found["gate"] == Identity(65_530, 65_530, (), "#65530")


def test_accounts_of_the_roles_are_used() -> None:
    found = identities_of({}, People(Account("ownhost-gate", 990, 980)))
    assert isinstance(found, dict)
    assert found["gate"] == Identity(990, 980, (), "ownhost-gate")
    assert found["logger"].uid == RESERVED["logger"]


def test_what_is_said_counts() -> None:
    assert uids(identities_of({"gate": "#700", "logger": "log"}, People(Account("log", 701, 701)))) == {
        "gate": 700,
        "logger": 701,
        "front": RESERVED["front"],
        "resolver": RESERVED["resolver"],
    }


@pytest.mark.parametrize(
    ("said", "people", "says"),
    [
        ({}, People(Account("alice", 65_530, 1_000)), "alice's"),
        ({"logger": "#1000"}, People(Account("alice", 1_000, 1_000)), "RoleUser logger NUMBER"),
        ({"gate": "missing"}, NOBODY, "no user named 'missing'"),
        ({"gate": "#65531"}, NOBODY, "the gate's already"),
        ({"gate": "root"}, People(Account("root", 0, 0)), "as root"),
        ({"gate": "wheel"}, People(Account("wheel", 5, 0)), "root's group"),
    ],
)
def test_what_is_refused(said: dict[str, str], people: People, says: str) -> None:
    found = identities_of(said, people)
    assert isinstance(found, Refusal)
    assert says in found.reason


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Identity(65_530, 5, (), "x"), "uid 65530 is the gate's own"),
        (Identity(5, 65_531, (), "x"), "gid 65531 is the logger's own"),
        (Identity(5, 5, (6, 65_532, 7), "x"), ""),
        (Refusal("nobody"), "nobody"),
    ],
)
def test_no_site_is_a_role(found: Identity | Refusal, says: str) -> None:
    roles = identities_of({}, NOBODY)
    assert isinstance(roles, dict)
    looked = reserved_for(roles, lambda _assignment, _said: found)(Assignment("x", "x"), Found("x", 5, 5))
    if says:
        assert isinstance(looked, Refusal)
        assert says in looked.reason
    else:
        assert looked == Identity(5, 5, (6, 7), "x"), "nor has it a role's group"


def parsed(*arguments: str) -> object:
    return REGISTRY["roleuser"].parse(
        Call("RoleUser", arguments, " ".join(arguments), Source("f", 1), Where.SERVER, "/")
    )


def test_the_directive() -> None:
    assert parsed("gate", "65530") == parsed("Gate", "#65530") == {"gate": "#65530"}
    assert parsed("logger", "syslog") == {"logger": "syslog"}
    for wrong in (("worker", "5"), ("gate",), ("gate", "0")):
        with pytest.raises(ArgumentError):
            parsed(*wrong)
