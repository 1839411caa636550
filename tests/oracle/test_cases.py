"""The cases are as many as they should be, all of them are used, and what they say is understood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oracle import cases, recorded
from oracle.cases import CaseError, parse
from oracle.client import Answer
from oracle.compare import IDS, ROOTS, all_differences, differences, view
from oracle.recorded import NotRecorded

AT_LEAST = 150


def test_there_are_enough_requests(capsys: pytest.CaptureFixture[str]) -> None:
    count = sum(len(requests) for name in cases.NAMES for requests in cases.connections(name))
    with capsys.disabled():
        print(f"[the oracle is asked {count} requests in {len(cases.NAMES)} cases]", end=" ")
    assert count >= AT_LEAST


def test_every_file_is_used() -> None:
    """Each case has its configuration, its requests and Apache's answers to them, and there are no other files."""
    expected = {f"{name}.{suffix}" for name in cases.NAMES for suffix in ("conf", "txt", "answers")} | {"README.md"}
    expected |= {f"{name}.htaccess" for name in cases.NAMES if cases.htaccess(name)}
    assert {path.name for path in cases.FOLDER.iterdir()} == expected
    assert all(cases.connections(name) and recorded.read(name) for name in cases.NAMES)


def test_a_request_is_completed() -> None:
    (only,) = parse("GET /x?y", "x.txt")[0]
    assert only.data == b"GET /x?y HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
    assert only.where == "x.txt:1"


def test_what_is_given_stays() -> None:
    (only,) = parse("GET /\\xff HTTP/1.0\nA: ü\nconnection: keep-alive", "x.txt")[0]
    assert only.data == "GET /\\xff HTTP/1.0\r\nA: ü\r\nconnection: keep-alive\r\n\r\n".encode().replace(
        b"\\xff", b"\xff"
    )


def test_a_lone_minus_keeps_fields_from_being_added() -> None:
    (only,) = parse("GET /\n-\nA: b", "x.txt")[0]
    assert only.data == b"GET / HTTP/1.1\r\nA: b\r\n\r\n"


def test_lines_of_a_body() -> None:
    (only,) = parse("POST /\n> one\n>two", "x.txt")[0]
    assert only.data.endswith(b"Content-Length: 7\r\nConnection: close\r\n\r\none\ntwo")


def test_requests_of_one_connection() -> None:
    text = "# about it\n\nGET /a\n+\n# ours dropped=no: it stays\nGET /b\n\nGET /c\n"
    connections = parse(text, "x.txt")
    assert [[asked.data.split()[1] for asked in requests] for requests in connections] == [[b"/a", b"/b"], [b"/c"]]
    assert [b"Connection: close" in asked.data for asked in connections[0]] == [False, True]
    assert connections[0][1].meant == {"dropped": "no"}
    assert connections[0][1].where == "x.txt:6"


@pytest.mark.parametrize("text", ["# ours 200\nGET /", "# ours\nGET /", "GET /\n+", "+\nGET /", "# ours 200: \nGET /"])
def test_what_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(CaseError, match="expected"):
        parse(text, "x.txt")


def compare(note: str, theirs: Answer, ours: Answer) -> list[str]:
    """The differences with a note above the request."""
    return differences(parse(f"{note}GET /", "x.txt")[0][0], theirs, ours)


def answer(status: int = 200, body: bytes = b"x", **fields: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in fields.items()}, body)


def test_what_differs_is_told() -> None:
    assert compare("", answer(), answer()) == []
    assert compare("", answer(), answer(404)) == ["status is '404', Apache's '200'"]
    assert compare("", answer(), answer(body=b"y")) == ["body is 'y', Apache's 'x'"]
    assert compare("", answer(x_new="1"), answer()) == ["x-new is '', Apache's '1'"]
    assert compare("", answer(location="/%c3"), answer(location="/%C3")) == []
    assert compare("", answer(404, b"<!DOCTYPE HTML PUBLIC"), answer(404, b"ours")) == []
    assert compare("", answer(404, b"own page"), answer(404, b"ours"))
    assert compare("", answer(), answer(content_length="1")) == []
    assert compare("", answer(content_length="1"), answer())


def test_what_is_meant_to_differ_must() -> None:
    assert compare("# ours 404: so\n", answer(), answer(404)) == []
    assert compare("# ours 404: so\n", answer(), answer(403)) == ["status is '403', meant to be '404'"]
    assert "does not" in compare("# ours 404: so\n", answer(404), answer(404))[0]
    assert compare("# ours x-gid=1: so\n", answer(x_gid="0, 1"), answer(x_gid="1")) == []
    assert compare("# ours x-gid=1: so\n", answer(x_gid="0, 1"), answer(x_gid="1", body=b"y")) != []


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of Apache's answers to a case that asks three times."""
    monkeypatch.setattr(cases, "FOLDER", tmp_path)
    (tmp_path / "x.txt").write_text("GET /a\n+\nGET /b\n\n# remark\nHEAD /\\xff\n")
    return recorded.path_of("x")


def test_answers_are_read_as_they_were_written(case: Path) -> None:
    answers = [
        [answer(body=b" a\n\n\\\xff> \n+\n", x_field="\xe9 \\"), replace(answer(304, b""), dropped=True)],
        [answer(404, b"<!DOCTYPE HTML PUBLIC and so on", x_uid=IDS["x-uid"])],
    ]
    case.write_text(recorded.written("x", answers))
    read = recorded.read("x")
    assert read[0] == answers[0]
    assert view(read[1][0])["x-uid"] == ROOTS
    assert recorded.written("x", read) == case.read_text()


def test_a_difference_from_what_is_recorded_shows(case: Path) -> None:
    case.write_text(recorded.written("x", [[answer(x_new="1"), answer()], [answer()]]))
    asked, read = cases.connections("x")[0], recorded.read("x")[0]
    assert list(all_differences(asked, read, [answer(x_new="1"), answer()])) == []
    assert list(all_differences(asked, read, [answer(), answer(body=b"y", x_more="2")])) == [
        "x.txt:1: GET /a HTTP/1.1: x-new is '', Apache's '1'",
        "x.txt:3: GET /b HTTP/1.1: body is 'y', Apache's 'x'; x-more is '2', Apache's ''",
    ]


def test_a_long_body_is_told_apart(case: Path) -> None:
    case.write_text(recorded.written("x", [[answer(body=b"x" * 19_000), answer()], [answer()]]))
    assert case.stat().st_size < 1_000
    asked, read = cases.connections("x")[0], recorded.read("x")[0]
    assert list(all_differences(asked, read, [answer(body=b"x" * 19_000), answer()])) == []
    assert len(list(all_differences(asked, read, [answer(body=b"x" * 18_999 + b"y"), answer()]))) == 1


@pytest.mark.parametrize("text", [None, "", "# What\n\nGET /a HTTP/1.1\n200\n"])
def test_answers_to_other_requests_are_refused(case: Path, text: str | None) -> None:
    if text is not None:
        case.write_text(text)
    with pytest.raises(NotRecorded, match="scripts/record x"):
        recorded.read("x")


def test_nothing_of_ours_may_be_answered_as_root() -> None:
    root, alice = answer(x_uid=IDS["x-uid"]), answer(x_uid="50001")
    assert compare("", root, alice) == []
    assert compare("", root, root) == ["x-uid is root's"]
    assert len(compare("", alice, root)) == 2
