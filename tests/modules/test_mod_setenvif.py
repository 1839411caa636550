"""SetEnvIf and its like: what they look at, when, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from ownhost.request.request import CannotTell
from serving import Served


def variables(folder: Path, text: str, path: str = "/a.txt", *fields: str) -> dict[str, str]:
    site = Served(folder, text)
    site.ask(path, *fields)
    return site.request.env


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SetEnvIf Remote_Addr ^127 V=1", "1"),
        ("SetEnvIf Server_Addr ^127 V", "1"),
        ("SetEnvIf Request_Method GET V", "1"),
        ("SetEnvIf Request_Protocol (.*) V=$1", "HTTP/1.1"),
        ("SetEnvIf Request_URI (a).t V=$1$0", "aa.t"),
        ("SetEnvIf request_uri (a).t V=$1", "a"),
        ("SetEnvIf X-Field ^one$ V", "1"),
        ("SetEnvIf X-Field ^ONE$ V", None),
        ("SetEnvIfNoCase X-Field ^ONE$ V", "1"),
        ("SetEnvIf ^X-Fi.* (.*) V=$1", "one"),
        ("SetEnvIf X-Missing ^$ V=none", "none"),
        ("SetEnvIf X-Field one V=$0", "$0"),  # a plain text finds nothing that could be referred to
        ("SetEnvIf X-Field one OTHER\nSetEnvIf OTHER 1 V", "1"),
        ("SetEnvIf X-Field . V\nSetEnvIf X-Field . !V", None),
        ("SetEnvIf X-Field . V\nSetEnvIf X-Field . V=!no", None),
        ("BrowserMatch Fire V", "1"),
        ("BrowserMatchNoCase fire(.*) V=$1", "fox"),
        ('SetEnvIfExpr "%{HTTP:X-Field} =~ /(n.)/" V=$1', "ne"),
    ],
)
def test_what_is_looked_at(tmp_path: Path, line: str, expected: str | None) -> None:
    assert variables(tmp_path, line, "/a.txt", "X-Field: one", "User-Agent: Firefox").get("V") == expected


def test_a_server_sees_the_path_as_sent_and_a_section_sees_it_cleaned(tmp_path: Path) -> None:
    text = "SetEnvIf Request_URI (.*) SENT=$1\n<Directory @ROOT@/d>\nSetEnvIf Request_URI (.*) CLEAN=$1\n</Directory>"
    found = variables(tmp_path, text, "/d//./%78.txt")
    assert (found["SENT"], found["CLEAN"]) == ("/d//./%78.txt", "/d/x.txt")


def test_sections_add_to_what_the_server_said(tmp_path: Path) -> None:
    text = "SetEnvIf X . N=server\n<Location /d>\nSetEnvIf N server M=section\nSetEnvIf X . !N\n</Location>"
    found = variables(tmp_path, text, "/d/x.txt", "X: 1")
    assert (found.get("N"), found["M"]) == (None, "section")


def test_a_rule_for_the_path_leaves_an_answer_to_be_remembered(tmp_path: Path) -> None:
    for line, pure in (("SetEnvIf Request_URI a V", True), ("SetEnvIf User-Agent a V", False)):
        site = Served(tmp_path, line)
        site.ask("/a.txt")
        assert site.request.pure is pure


def test_gates_obey_the_rules_of_servers(tmp_path: Path) -> None:
    site = Served(tmp_path, "SetEnvIf X (.*) V=$1")
    assert site.begun_in_gate("/a.txt", "X: y").env["V"] == "y"


def test_gates_look_at_no_file(tmp_path: Path) -> None:
    site = Served(tmp_path, "SetEnvIfExpr \"-f '/etc/passwd'\" V")
    with pytest.raises(CannotTell):
        site.begun_in_gate("/a.txt")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SetEnvIf X", "expected an attribute"),
        ("SetEnvIf X y", "expected an attribute"),
        ("SetEnvIf X ( V", "cannot be used"),
        ("SetEnvIf X y =1", "expected NAME"),
        ("SetEnvIf X y !", "expected NAME"),
        ('SetEnvIf OID("2.5") y V', "client's certificate"),
        ("SetEnvIfExpr true", "expected an expression and variables"),
        ("BrowserMatch x", "expected a regular expression"),
    ],
)
def test_errors_say_what_was_expected(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Served(tmp_path, line)
