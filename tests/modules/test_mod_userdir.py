"""mod_userdir beside what the comparison with Apache shows (tests/oracle/cases/userdir-*)."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from ownhost.request.request import Phase
from ownhost.request.resolve import resolve
from ownhost.request.road import advance
from serving import ask, make_request, make_site

HOMES = """
<DirectoryMatch "@HOME@/(?<USER>[^/]+)">
    AssignUserIDExpr %{reqenv:MATCH_USER}
</DirectoryMatch>
"""


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Users alice, who has a public_html, and bob, who has none."""

    def account(name: str) -> pwd.struct_passwd:
        if name not in ("alice", "bob"):
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", 50001, 50001, "", f"{tmp_path}/home/{name}", "/bin/sh"))

    (tmp_path / "root" / "~carol").mkdir(parents=True)
    (tmp_path / "root" / "~carol" / "x.txt").write_text("in DocumentRoot")
    (tmp_path / "home" / "alice" / "public_html").mkdir(parents=True)
    (tmp_path / "home" / "alice" / "public_html" / "x.txt").write_text("alice's")
    monkeypatch.setattr(pwd, "getpwnam", account)
    return tmp_path


def test_a_home(homes: Path) -> None:
    site = make_site(homes, "UserDir public_html")
    asked = ask(site, "GET /~alice/x.txt")
    assert (asked.status, asked.response.body) == (200, b"alice's")
    assert asked.request.context_prefix == "/~alice"
    assert asked.request.context_document_root == f"{homes}/home/alice/public_html"
    assert ask(site, "GET /~bob/x.txt").status == 404
    assert ask(site, "GET /~carol/x.txt").response.body == b"in DocumentRoot"


def test_a_home_that_moves_is_found(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(homes, "UserDir public_html")
    assert ask(site, "GET /~alice/x.txt").response.body == b"alice's"
    moved = pwd.struct_passwd(("alice", "x", 50001, 50001, "", f"{homes}/elsewhere", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: moved)
    assert ask(site, "GET /~alice/x.txt").status == 404


@pytest.mark.parametrize(
    ("folders", "user", "place"),
    [
        ("public_html /www/*", "bob", "/www/bob/x.txt"),
        ("/nowhere/* public_html", "alice", "@HOME@/alice/public_html/x.txt"),
        ("/nowhere public_html /www", "bob", "/www/bob/x.txt"),
        ("../shared", "alice", "@HOME@/shared/x.txt"),
        ("/www/*/*/", "alice", "/www/alice/*/x.txt"),
        ("//www/", "alice", "/www/alice/x.txt"),
        ("public_html", "nobody-here", "@ROOT@/~nobody-here/x.txt"),
    ],
)
def test_places(homes: Path, folders: str, user: str, place: str) -> None:
    request = make_request(make_site(homes, f"UserDir {folders}"), f"GET /~{user}/x.txt").request
    assert advance(request, Phase.TRANSLATE) is None
    assert request.filename == place.replace("@HOME@", f"{homes}/home").replace("@ROOT@", f"{homes}/root")


def test_a_folder_that_may_not_be_seen_is_left_to_its_owner(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("ownhost.modules.mod_userdir.os.stat", refuse)
    request = make_request(make_site(homes, "UserDir public_html /www"), "GET /~bob/x.txt").request
    advance(request, Phase.TRANSLATE)
    assert request.filename == f"{homes}/home/bob/public_html/x.txt"


@pytest.mark.parametrize(
    ("said", "served"),
    [
        ("", "alice bob"),
        ("UserDir disabled", ""),
        ("UserDir disabled ALICE", "bob"),
        ("UserDir disabled alice\nUserDir disable bob", ""),
        ("UserDir disabled\nUserDir enabled alice", "alice"),
        ("UserDir enabled alice bob\nUserDir disabled alice", "bob"),
        ("UserDir disabled\nUserDir enabled", "alice bob"),
    ],
)
def test_lists(homes: Path, said: str, served: str) -> None:
    site = make_site(homes, f"UserDir /www/*\n{said}")
    found = []
    for user in ("alice", "bob"):
        request = make_request(site, f"GET /~{user}/").request
        advance(request, Phase.TRANSLATE)
        if request.filename.startswith("/www/"):
            found.append(user)
    assert found == served.split()


def test_another_server(homes: Path) -> None:
    site = make_site(homes, "UserDir http://elsewhere.test/u/*/w")
    asked = ask(site, "GET /~alice/a%20b/%C3%BC%3F?q=1")
    assert (asked.status, asked.response.header("location")) == (302, "http://elsewhere.test/u/alice/a%20b/%C3%BC%3F")
    site = make_site(homes, "UserDir http://elsewhere.test/u")
    assert ask(site, "GET /~alice").response.header("location") == "http://elsewhere.test/u/alice"


def test_a_home_says_whose_a_request_is(homes: Path) -> None:
    site = make_site(homes, f"UserDir public_html\n{HOMES.replace('@HOME@', f'{homes}/home')}")
    assert resolve(make_request(site, "GET /~alice/x.txt").request).user == "alice"
    assert resolve(make_request(site, "GET /x.txt").request).user is None
