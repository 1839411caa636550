"""What gates do to choose an identity: in little time, with bounded questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.model import ListenAddress
from ownhost.config.reader import read
from ownhost.identity.identity import Assignment
from ownhost.processes.gate.assignments import MAX_ASKED, Assignments
from ownhost.processes.gate.choosing import Chooser, install_alarm, limited
from ownhost.processes.messages import Message, Named, Whose
from ownhost.processes.slices import GateSlice
from ownhost.request.hosts import HostIndex
from ownhost.request.request import Endpoints
from ownhost.request.routing import choices_of, routing_view

HERE = Endpoints("127.0.0.1", 1, "127.0.0.1", 80)


def chooser(tmp_path: Path, text: str) -> Chooser:
    modules.load()
    path = tmp_path / "site.conf"
    path.write_text(f"Listen 80\nDocumentRoot /srv\nSetEnv SECRET x\n{text}\n")
    return Chooser(routing_view(read(str(path)).main))


def head(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a.test", *fields, "", "")).encode()


EXAMPLE = "RewriteEngine on\nRewriteRule /~([a-z]+)/ - [E=WHO:$1]\nAssignUserIDExpr %{reqenv:WHO}"


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        (EXAMPLE, head("/~games/x"), Assignment("games")),
        (EXAMPLE, head("/x"), Assignment()),  # no name: the virtual host's own worker says so
        (EXAMPLE, head("/%zz"), Assignment()),
        (EXAMPLE, b"nonsense\r\n\r\n", None),
        (EXAMPLE, b"GET /~games/x HTTP/1.1\r\nHost: a", None),
        ("AssignUserIDExpr %{HTTP:X-User}", head("/", "X-User: news"), Assignment("news")),
        ("AssignUserIDExpr %{file:/etc/hostname}", head("/"), None),
        ("AssignUserID a b\n<Location /x>\nAssignUserID c d\n</Location>", head("/x/y"), Assignment("c", "d")),
        ("<If \"-f '/etc/passwd'\">\nNiceValue 3\n</If>\nAssignUserIDExpr games", head("/"), None),
    ],
)
def test_a_gate_chooses_from_the_head_alone(
    tmp_path: Path, text: str, data: bytes, expected: Assignment | None
) -> None:
    assert chooser(tmp_path, text).choose(data, HERE) == expected


def test_a_gate_is_told_no_more_than_it_needs(tmp_path: Path) -> None:
    view = chooser(
        tmp_path, EXAMPLE + "\nSetEnv PASSWORD x\n<Directory />\nSetEnv OTHER y\n</Directory>"
    ).site.virtual_host
    assert "SetEnv" not in view.settings.values
    assert not view.sections


def test_what_runs_away_is_left_to_a_worker(tmp_path: Path) -> None:
    slow = chooser(tmp_path, 'RewriteEngine on\nRewriteRule "^/(a+)+$" - [E=WHO:x]\nAssignUserIDExpr %{reqenv:WHO}')
    assert slow.choose(head("/" + "a" * 60 + "!"), HERE) == Assignment(), "which will refuse it"


def test_the_alarm_is_off_afterwards() -> None:
    install_alarm()
    with limited(0.02):
        pass
    sum(range(3_000_000))


def made(routes: dict[Assignment, int], refusals: dict[Assignment, str]) -> tuple[Assignments, list[Message]]:
    asked: list[Message] = []
    main = read_nothing()
    slice_ = GateSlice(
        [ListenAddress("", 80)],
        HostIndex({}),
        {1: 0},
        {},
        {1: routes},
        {1: refusals},
        {},
        frozenset(),
        b"",
        routing_view(main),
    )
    return Assignments(slice_, asked.append), asked


def read_nothing() -> object:
    from ownhost.config.directive import Source
    from ownhost.config.model import VirtualHost

    return VirtualHost(0, Source("x", 1))


def test_what_is_written_down_is_known() -> None:
    known, _ = made({Assignment("a"): 5}, {Assignment("b"): "there is no b"})
    assert known.look_up((1, Assignment("a"))) == 5
    assert known.look_up((1, Assignment("b"))) == "there is no b"
    assert known.look_up((1, Assignment("c"))) is None


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", "a\0b"])
def test_what_can_be_no_name_is_not_asked(name: str) -> None:
    known, _ = made({}, {})
    assert isinstance(known.look_up((1, Assignment(name))), str)


def test_questions_are_bounded_and_answers_remembered() -> None:
    known, asked = made({}, {})
    for number in range(MAX_ASKED + 10):
        known.ask((1, Assignment(f"u{number}")))
    assert len(asked) == MAX_ASKED
    first = asked[0]
    assert isinstance(first, Whose)
    assert known.take(Named(1, "u0", "", 0, 7, "")) == (1, Assignment("u0"))
    assert known.look_up((1, Assignment("u0"))) == 7
    assert len(asked) == MAX_ASKED + 1, "the next question follows"
    known.take(Named(1, "u1", "", 0, -1, "no"))
    assert known.look_up((1, Assignment("u1"))) == "no"


def test_choices_allow_what_they_can_come_to_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text(
        'Listen 80\nAssignUserID "#5" "#6"\nAssignUserIDExpr %{reqenv:X}\n<Location /x>\nNiceValue 3\n</Location>\n'
    )
    choices = choices_of(read(str(path)).main)
    assert choices.allow(Assignment("any", "#6"))
    assert choices.allow(Assignment("any", "#6", 3))
    assert choices.allow(Assignment("#5", "#6"))
    for wanted in (
        Assignment("any", "any"),
        Assignment("#0", "#6"),
        Assignment("any", "#6", -20),
        Assignment("", "#6"),
    ):
        assert not choices.allow(wanted), wanted
