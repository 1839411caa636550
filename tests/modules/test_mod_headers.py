"""Header and RequestHeader. The oracle tries agreement with Apache; here are errors and what is remembered."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError, ConfigError
from ownhost.modules.headers.changes import Change
from ownhost.modules.headers.values import Value, parse_value
from ownhost.request.serve import respond
from serving import Served, ask, make_request, values


def header(folder: Path, line: str, path: str = "/a.txt", *fields: str, name: str = "X") -> list[str]:
    return values(Served(folder, line).ask(path, *fields), name)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("Header set X a\nHeader set X b", ["b"]),
        ("Header add X a\nHeader add X b", ["a", "b"]),
        ("Header add X a\nHeader add X b\nHeader append X c", ["a, c", "b"]),
        ("Header set X a\nHeader merge X a\nHeader merge X b", ["a, b"]),
        ('Header set X "\\"a,b\\""\nHeader merge X b', ['"a,b", b']),
        ("Header set X a\nHeader setifempty X b", ["a"]),
        ("Header setifempty X b", ["b"]),
        ("Header set X a\nHeader unset X", []),
        ("Header set X aab\nHeader edit X a c", ["cab"]),
        ("Header set X aab\nHeader edit* X a c", ["ccb"]),
        ("Header set X aab\nHeader edit* X ^a c", ["ccb"]),
        ("Header set X ab\nHeader edit X (a)(b) $2$1-$0", ["ba-ab"]),
        ("Header set X b\nHeader edit* X a* c", ["cb"]),
        ("Header set X a\nHeader always set X b", ["b", "a"]),
        ('Header set X "%{FOO}e %%"\nSetEnv FOO bar', ["bar %"]),
        ("Header set X %{FOO}e", ["(null)"]),
        ('Header set X "expr=%{REQUEST_URI}"', ["/a.txt"]),
        ("Header set X: a", ["a"]),
        ("Header set X a env=NO\nHeader set X b env=!NO", ["b"]),
        ("Header set X a \"expr=%{REQUEST_URI} == '/b'\"", []),
    ],
)
def test_fields_of_a_response(tmp_path: Path, lines: str, expected: list[str]) -> None:
    assert header(tmp_path, lines) == expected


def test_only_always_counts_for_the_servers_own_pages(tmp_path: Path) -> None:
    site = Served(tmp_path, "Header set X a\nHeader always set Y b\nRedirect /old http://new.test/")
    for path, status in (("/missing", 404), ("/old", 302)):
        response = site.ask(path)
        assert (response.status, values(response, "X"), values(response, "Y")) == (status, [], ["b"])


def test_a_page_of_the_owners_has_both(tmp_path: Path) -> None:
    site = Served(tmp_path, "ErrorDocument 404 /b.html\nHeader set X a\nHeader always set Y b")
    response = site.ask("/missing")
    assert (response.status, values(response, "X"), values(response, "Y")) == (404, ["a"], ["b"])


def test_nothing_can_end_a_field(tmp_path: Path) -> None:
    assert header(tmp_path, 'Header set X "a\\r\\nY: b"') == ["a Y: b"]
    text = "RewriteEngine on\nRewriteRule (.*) - [E=V:$1]\nHeader always set X %{V}e"
    assert header(tmp_path, text, "/a%0d%0aY:b") == ["/a Y:b"]


def test_framing_is_not_the_configurations_to_say(tmp_path: Path) -> None:
    text = "Header set Content-Length 5\nHeader set Transfer-Encoding x\nHeader set Date x"
    response = Served(tmp_path, text).ask("/a.txt")
    assert not {name.lower() for name, _ in response.headers} & {"content-length", "transfer-encoding", "date"}


def test_connection_close_is_obeyed(tmp_path: Path) -> None:
    response = Served(tmp_path, "Header set Connection close").ask("/a.txt")
    assert response.close
    assert values(response, "Connection") == []


def test_a_type_is_replaced_not_added(tmp_path: Path) -> None:
    assert header(tmp_path, "Header set Content-Type text/x", name="Content-Type") == ["text/x"]
    assert header(tmp_path, "Header unset Content-Type", name="Content-Type") == []
    assert header(tmp_path, "Header always set Content-Type text/x", "/missing", name="Content-Type") == ["text/x"]


def test_a_note_is_for_what_comes_later(tmp_path: Path) -> None:
    assert header(tmp_path, 'Header set Y b\nHeader note Y seen\nHeader set X "expr=%{note:seen}"') == ["b"]


def test_fields_of_a_request_change_for_what_looks_later(tmp_path: Path) -> None:
    site = Served(tmp_path, 'RequestHeader set A 1\nRequestHeader append A 2\nHeader set X "expr=%{HTTP:A}"')
    assert values(site.ask("/a.txt", "A: 0"), "X") == ["1, 2"]
    assert dict(site.request.head.fields)["A"] == "1, 2"


def test_early_changes_are_seen_by_setenvif(tmp_path: Path) -> None:
    text = "RequestHeader set A x {early}\nSetEnvIf A x V=1\nHeader set X %{{V}}e"
    assert header(tmp_path, text.format(early="early")) == ["1"]
    assert header(tmp_path, text.format(early="")) == ["(null)"]


def test_requests_with_the_same_fields_do_not_share_changes(tmp_path: Path) -> None:
    site = Served(tmp_path, 'RequestHeader append A 1\nHeader set X "expr=%{HTTP:A}"')
    assert [values(site.ask("/a.txt", "A: 0"), "X") for _ in range(3)] == [["0, 1"]] * 3


def test_an_index_is_asked_with_fields_changed_once(tmp_path: Path) -> None:
    assert header(tmp_path, 'RequestHeader append A 1\nHeader set X "expr=%{HTTP:A}"', "/d/", "A: 0") == ["0, 1"]


def test_a_plain_answer_is_remembered_with_its_fields(tmp_path: Path) -> None:
    site = Served(tmp_path, "Header set X a\nHeader always set Y b").site
    request = make_request(site, "GET /a.txt").request
    request.time = time.time() + 60  # a file that changed just now is not remembered
    first = respond(request)
    assert (values(first, "X"), values(first, "Y")) == (["a"], ["b"])
    assert ask(site, "GET /a.txt").response is first


@pytest.mark.parametrize("line", ["Header set X %t", 'Header set X "expr=%{HTTP:A}"', "Header echo A"])
def test_what_depends_on_the_request_is_not_remembered(tmp_path: Path, line: str) -> None:
    site = Served(tmp_path, line)
    site.ask("/a.txt", "A: 1")
    assert not site.request.pure


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Header foo X a", "expected set, setifempty"),
        ("Header set X", "expected set field value"),
        ("Header set X a b", "early, env=NAME"),
        ("Header set X a env=", "early, env=NAME"),
        ("Header edit X a", "expected edit field regex replacement"),
        ("Header edit X ( b", "cannot be used"),
        ("Header unset X a", "early, env=NAME"),
        ('Header set X "50% off"', "%% for a percent sign"),
        ("Header set X %{Y}n", "%% for a percent sign"),
        ('Header set "X Y" a', "the name of a field"),
        ("RequestHeader note X a", "expected set"),
        ("RequestHeader always set X a", "expected set"),
    ],
)
def test_errors_say_what_was_expected(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Served(tmp_path, line)


@given(st.text())
def test_any_value_is_one_or_an_error(text: str) -> None:
    try:
        value = parse_value(text)
    except ArgumentError:
        return
    if isinstance(value, Value) and "%" not in text and "\\" not in text:
        assert "".join(part for _, part in value.parts) == text


_NAMES = st.sampled_from(["A", "a", "B"])
_ACTIONS = st.sampled_from(["set", "setifempty", "append", "merge", "add", "unset"])


@given(st.lists(st.tuples(_NAMES, st.text("xy,", max_size=3))), _ACTIONS, _NAMES, st.text("xy", min_size=1, max_size=3))
def test_a_change_leaves_other_fields_alone(fields: list[tuple[str, str]], action: str, name: str, text: str) -> None:
    before = list(fields)
    Change(action, name, Value((("", text),))).apply(fields, None, None)  # type: ignore[arg-type]
    others = [field for field in before if field[0].lower() != name.lower()]
    assert [field for field in fields if field[0].lower() != name.lower()] == others
    mine = [value for field, value in fields if field.lower() == name.lower()]
    assert (mine == []) == (action == "unset")
    if action == "set":
        assert mine == [text]
