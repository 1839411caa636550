"""SetEnvIf and its like: what they look at, when, and what is remembered."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from ownhost.request.serve import respond
from ownhost.request.site import Site
from serving import Served, ask, make_request


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


def remembers(site: Site, *fields: str) -> bool:
    """Whether a request gets the answer that an earlier one without any fields got."""
    request = make_request(site, "GET /a.txt").request
    request.time = time.time() + 60  # a file that changed just now is not remembered
    first = respond(request)
    return ask(site, "GET /a.txt", *fields).response is first


@pytest.mark.parametrize(
    ("rules", "fields", "expected"),
    [
        ("SetEnvIf Request_URI a V", (), True),
        ("SetEnvIf Request_Method GET V", (), True),
        ("BrowserMatch MSIE V", ("User-Agent: Firefox",), True),
        ("BrowserMatch MSIE V", ("User-Agent: MSIE",), False),
        ("SetEnvIf X ^$ V", (), False),
        ("SetEnvIf ^X y V", ("X-Field: y",), False),
        ("SetEnvIf Remote_Addr ^127 V", (), False),
        ("SetEnvIfExpr \"%{HTTP:X} == 'y'\" V", (), False),
        ("SetEnvIf Request_URI a X\nSetEnvIf X y V", (), False),  # X is a variable as well
        ("RequestHeader edit X a b early\nSetEnvIf X b V", ("X: a",), False),
        ("<Files a.txt>\nSetEnvIf X y V\n</Files>", (), False),
    ],
)
def test_requests_that_no_rule_singles_out_share_an_answer(
    tmp_path: Path, rules: str, fields: tuple[str, ...], expected: bool
) -> None:
    assert remembers(Served(tmp_path, rules).site, *fields) is expected


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
