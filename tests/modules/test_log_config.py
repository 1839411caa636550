"""Which exchanges an access log has: env= and expr=."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Response
from ownhost.modules.log_config import AccessLog
from ownhost.request.exchange import Exchange
from ownhost.request.request import Endpoints, Request
from ownhost.request.site import Site

ENDPOINTS = Endpoints("127.0.0.1", 1234, "127.0.0.1", 80)


def logged(tmp_path: Path, condition: str, *, status: int = 200, parsed: bool = True) -> bool:
    """Whether a log with this condition has a request for /a?q."""
    modules.load()
    path = tmp_path / "site.conf"
    path.write_text(f"Listen 127.0.0.1:9998\nServerName h.test\nCustomLog log common {condition}\n")
    server = read(str(path)).main
    site = Site(server, lambda _: True, lambda _: None)
    head = parse_head(b"GET /a?q HTTP/1.1\r\nHost: h.test\r\n\r\n", head_limits(server.settings))
    request = Request(head, ENDPOINTS, site, time.time(), lambda *_: None, uri="/a", env={"SET": ""})
    lines: list[str] = []
    sent = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\n\r\n"
    AccessLog(server, lambda _: lines.append).record(
        Exchange(
            request if parsed else None,
            Response(status),
            ENDPOINTS,
            "GET /a?q HTTP/1.1",
            0.0,
            0.0,
            status,
            0,
            0,
            0,
            0,
            False,
            False,
            sent,
        )
    )
    return bool(lines)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", True),
        ("env=SET", True),
        ("env=!SET", False),
        ("env=UNSET", False),
        ("expr=true", True),
        ("EXPR=false", False),
        ("\"expr=%{REQUEST_URI} == '/a'\"", True),
        ('"expr=%{REQUEST_STATUS} -lt 400"', True),
        ("\"expr=resp('Content-Type') == 'text/plain'\"", True),
        ("\"expr=-n resp('Date')\"", True),
        ("\"expr=file('/nonexistent') == ''\"", False),
    ],
)
def test_what_is_logged(tmp_path: Path, condition: str, expected: bool) -> None:
    assert logged(tmp_path, condition) == expected


def test_the_final_status_counts(tmp_path: Path) -> None:
    assert not logged(tmp_path, '"expr=%{REQUEST_STATUS} -lt 400"', status=404)


def test_what_was_no_request_is_logged_whatever_an_expression_asks(tmp_path: Path) -> None:
    assert logged(tmp_path, "\"expr=%{HTTP_HOST} == 'h.test'\"", status=400, parsed=False)
    assert not logged(tmp_path, "env=SET", status=400, parsed=False)


@pytest.mark.parametrize("condition", ["expr=", "expr=nosuch", "env=", "env=!", "nosuch=x"])
def test_conditions_that_are_none(tmp_path: Path, condition: str) -> None:
    with pytest.raises(ConfigError):
        logged(tmp_path, condition)
