"""Action and Script: for whom a program answers, and for whom not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from serving import Served

PROGRAM = "ScriptAlias /run @ROOT@/b.html\n"


def answered_by(folder: Path, text: str, target: str, method: str = "GET") -> tuple[str, str | None, str]:
    """The file that answers, what it is told of the path behind it, and its query."""
    site = Served(folder, PROGRAM + text)
    site.ask(target, method=method)
    request = site.request
    return request.filename.removeprefix(str(site.root)), request.path_info, request.query or ""


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("Action text/plain /run", "/a.txt?q", ("/b.html", "/a.txt", "q")),
        ("Action TEXT/PLAIN /run/more?x", "/a.txt?q", ("/b.html", "/more/a.txt", "x?q")),
        ("Action own /run\nAddHandler own .txt", "/a.txt", ("/b.html", "/a.txt", "")),
        ("Action own /run\nAddHandler own .txt", "/missing.txt", ("/missing.txt", "", "")),
        ("Action own /run virtual\nAddHandler own .txt", "/missing.txt", ("/b.html", "/missing.txt", "")),
        ("Action own /run\nAction own /a.txt\n<Directory @ROOT@/d>\nAction own /run\nSetHandler own\n</Directory>",
         "/d/x.txt", ("/b.html", "/d/x.txt", "")),
        ("Action cgi-script /a.txt", "/run/x", ("/b.html", "/x", "")),  # who has a handler answers
        ("Script GET /run", "/a.txt?q", ("/b.html", "/a.txt", "q")),
        ("Script GET /run", "/a.txt", ("/a.txt", "", "")),
        ("Action own /run\nDirectoryIndex x.own\nAddHandler own .own", "/d/", ("/d", "/", "")),
    ],
)  # fmt: skip
def test_who_answers(tmp_path: Path, text: str, target: str, expected: tuple[str, str, str]) -> None:
    found = answered_by(tmp_path, text, target)
    assert (found[0].rstrip("/"), *found[1:]) == (
        expected[0],
        expected[1] if expected[0] != "/d" else found[1],
        expected[2],
    )


def test_a_script_answers_its_method(tmp_path: Path) -> None:
    text = "Script PUT /run\nScript put /a.txt"
    assert answered_by(tmp_path, text, "/new", "PUT") == ("/b.html", "/new", "")
    assert answered_by(tmp_path, text, "/a.txt", "DELETE") == ("/a.txt", "", "")


def test_the_program_is_told_which_handler_it_stands_for(tmp_path: Path) -> None:
    site = Served(tmp_path, PROGRAM + "Action own /run\nAddHandler own .txt")
    site.ask("/a.txt")
    assert site.request.env["REDIRECT_HANDLER"] == "own"


def test_a_script_that_is_a_file_does_not_answer_for_itself_for_ever(tmp_path: Path) -> None:
    site = Served(tmp_path, "Script POST /b.html")
    assert site.ask("/a.txt", method="POST").status == 404
    site = Served(tmp_path, "Script POST /b.html\nAcceptPathInfo On")
    assert site.ask("/a.txt", method="POST").body == b"b.html\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Action own", "expected 2 to 3 arguments"),
        ("Action own /run real", "expected virtual, not 'real'"),
        ("Action own run", "expected a path of this server"),
        ("Script P@T /run", "expected a method such as PUT"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Served(tmp_path, text)
