"""AssignUserID and its limits: from words to an identity, or to a refusal that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

import ownhost.identity.translated  # noqa: F401 - declares other modules' words
from ownhost.config.directive import REGISTRY, ArgumentError, Call, ConfigError, Source, Where
from ownhost.config.reader import read
from ownhost.identity.accounts import Account, look_up
from ownhost.identity.assignment import ALL_BUT_ROOT, HIGHEST_ID
from ownhost.identity.identity import Assignment, Identity, Refusal


class People:
    """A user database: alice is in staff (50), root's group and a group beyond the range."""

    def user(self, name: str) -> Account | None:
        return {"alice": Account("alice", 1000, 1000), "root": Account("root", 0, 0)}.get(name)

    def user_of(self, uid: int) -> Account | None:
        return Account("alice", 1000, 1000) if uid == 1000 else None

    def group(self, name: str) -> int | None:
        return {"alice": 1000, "staff": 50, "root": 0}.get(name)

    def groups(self, name: str, gid: int) -> list[int]:
        return [gid, 50, 0, 99_999] if name == "alice" else [gid]


def find(user: str, group: str, uids: tuple[int, int] = ALL_BUT_ROOT, gids: tuple[int, int] = ALL_BUT_ROOT) -> object:
    return look_up(Assignment(user, group), uids, gids, People())


def test_a_user_gets_the_groups_of_the_user_but_never_roots() -> None:
    assert find("alice", "alice") == Identity(1000, 1000, (50, 99_999), "alice")


def test_supplementary_groups_obey_the_range_too() -> None:
    assert find("alice", "alice", gids=(40, 2000)) == Identity(1000, 1000, (50,), "alice")


def test_a_number_with_an_account_is_that_user() -> None:
    assert find("#1000", "#1000") == find("alice", "alice")


def test_a_number_without_an_account_has_no_supplementary_groups() -> None:
    assert find("#50001", "#50001") == Identity(50001, 50001, (), "#50001")


@pytest.mark.parametrize(
    ("user", "group", "ranges", "says"),
    [
        ("nobody-of-that-name", "alice", {}, "'nobody-of-that-name'"),
        ("alice", "no-such-group", {}, "'no-such-group'"),
        ("root", "alice", {}, "LimitUIDRange"),
        ("#0", "alice", {}, "LimitUIDRange"),
        ("#0", "#0", {"uids": (0, 10), "gids": (0, 10)}, "root's"),
        ("alice", "root", {}, "LimitGIDRange"),
        ("alice", "#0", {"gids": (0, 10)}, "root's"),
        ("alice", "alice", {"uids": (2000, 3000)}, "LimitUIDRange 2000 3000"),
        ("alice", "alice", {"gids": (2000, 3000)}, "LimitGIDRange 2000 3000"),
        ("#4294967295", "alice", {"uids": (1, 2**32 - 1)}, "LimitUIDRange"),
    ],
)
def test_refusals_say_why(user: str, group: str, ranges: dict[str, tuple[int, int]], says: str) -> None:
    found = find(user, group, **ranges)
    assert isinstance(found, Refusal)
    assert says in found.reason


def call(name: str, *args: str) -> object:
    directive = REGISTRY[name.lower()]
    return directive.parse(Call(name, args, " ".join(args), Source("f", 1), Where.SERVER, "/"))


def test_arguments() -> None:
    assert call("AssignUserID", "alice", "#50") == Assignment("alice", "#50")
    assert call("RUidGid", "alice", "alice") == Assignment("alice", "alice")
    assert call("LimitUIDRange", "0", "10") == (0, 10)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("AssignUserID", ("alice",)),
        ("AssignUserID", ("alice", "b", "c")),
        ("AssignUserID", ("#x", "b")),
        ("AssignUserID", ("#-1", "b")),
        ("AssignUserID", ("", "b")),
        ("AssignUserID", (f"#{HIGHEST_ID + 1}", "b")),
        ("LimitUIDRange", ("5",)),
        ("LimitUIDRange", ("9", "5")),
        ("LimitGIDRange", ("-1", "5")),
        ("LimitGIDRange", ("a", "b")),
    ],
)
def test_wrong_arguments_are_refused(name: str, args: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        call(name, *args)


def test_an_identity_never_stands_in_htaccess() -> None:
    for name in ("AssignUserID", "LimitUIDRange", "LimitGIDRange", "SuexecUserGroup", "RUidGid"):
        assert Where.HTACCESS not in REGISTRY[name.lower()].where


SECTIONS = Where.SERVER | Where.VIRTUAL_HOST | Where.DIRECTORY


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("AssignUserID", SECTIONS),
        ("AssignUserIDExpr", SECTIONS),
        ("AssignGroupIDExpr", SECTIONS),
        ("NiceValue", SECTIONS),
        ("MaxClientsVHost", Where.VIRTUAL_HOST),
        ("LimitUIDRange", Where.SERVER),
        ("LimitGIDRange", Where.SERVER),
        ("EnableCapabilities", Where.SERVER),
    ],
)
def test_each_directive_stands_where_mpm_itk_lets_it(name: str, where: Where) -> None:
    assert REGISTRY[name.lower()].where == where


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("MaxClientsVHost 5", "expected in <VirtualHost>"),
        ("<VirtualHost *:80>\nLimitUIDRange 1 2\n</VirtualHost>", "expected in the server configuration"),
        ("<VirtualHost *:80>\nEnableCapabilities Off\n</VirtualHost>", "expected in the server configuration"),
        ("<Directory /x>\nMaxClientsVHost 3\n</Directory>", "expected in <VirtualHost>"),
        ("AssignUserIDExpr %{nosuch:x}", "column 3: there is no function nosuch"),
        ("NiceValue abc", "expected a number"),
    ],
)
def test_what_stands_in_a_wrong_place_is_an_error_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "site.conf"
    path.write_text(f"Listen 80\n{line}\n")
    with pytest.raises(ConfigError) as error:
        read(str(path))
    (problem,) = error.value.problems
    assert says in problem.message
    assert str(problem.source) == f"{path}:{3 if line.startswith('<') else 2}"


def test_a_nice_value_that_there_is_not_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text("Listen 80\nNiceValue 99\n")
    (note,) = read(str(path)).notes
    assert "19 is used" in note.message
