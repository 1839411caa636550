"""ExpiresActive, ExpiresDefault, ExpiresByType."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownhost.config.directive import ArgumentError, ConfigError
from ownhost.http.dates import format_date
from ownhost.http.message import Response
from ownhost.modules.mod_expires import Lifetime, parse_lifetime
from ownhost.request import serve
from serving import NOW, Served, make_request, make_site, values

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("A60", 60),
        ("A-60", -60),
        ("access", 0),
        ("access plus 1 day", DAY),
        ("now plus 2 weeks 3 hours", 14 * DAY + 3 * 3_600),
        ("access 1 year 1 month", 395 * DAY),
        ("Access Plus 1 mo", 30 * DAY),
        ("access plus 1 minute 2 seconds", 62),
        ("action plus 2 mins 1 sec", 121),
        ("A 60", 60),
        ("access plus", 0),
        ("a", 0),
        ("access plus 9999999999 years", 2**31 - 1),
    ],
)
def test_a_lifetime_counts_from_the_request(text: str, seconds: int) -> None:
    assert parse_lifetime(text) == Lifetime(since_change=False, seconds=seconds)


@pytest.mark.parametrize(("text", "seconds"), [("M60", 60), ("modification plus 1 hour", 3_600)])
def test_or_from_the_last_change(text: str, seconds: int) -> None:
    assert parse_lifetime(text) == Lifetime(since_change=True, seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "later",
        "access plus 1",
        "access plus days",
        "access plus one day",
        "access plus -1 days",
        "access plus 1 fortnight",
        "access plus 1 m",
        "access 1 day plus 2 hours",
        "A60x",
    ],
)
def test_what_is_no_lifetime_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_lifetime(text)


@pytest.mark.parametrize("line", ["ExpiresByType html A1", "ExpiresDefault access plus 1 day", "ExpiresActive Perhaps"])
def test_wrong_lines_are_errors(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError):
        make_site(tmp_path, line)


def fields(response: Response) -> tuple[list[str], list[str]]:
    return values(response, "Cache-Control"), values(response, "Expires")


def expected(seconds: int) -> tuple[list[str], list[str]]:
    return [f"max-age={seconds}"], [format_date(NOW + seconds)]


def test_the_most_particular_line_counts(tmp_path: Path) -> None:
    site = Served(
        tmp_path,
        'ExpiresActive On\nExpiresDefault "access plus 1 day"\nExpiresByType text/* A60\nExpiresByType Text/HTML A5\n'
        "AddType image/png .png\nAddDefaultCharset utf-8",
    )
    (site.root / "x.png").write_text("x")
    assert fields(site.ask("/b.html")) == expected(5)
    assert fields(site.ask("/a.txt")) == expected(60)
    assert fields(site.ask("/x.png")) == expected(DAY)


def test_sections_add_to_what_the_server_says(tmp_path: Path) -> None:
    site = Served(
        tmp_path,
        "ExpiresByType text/plain A60\n<Location /d>\nExpiresActive On\nExpiresByType text/html A5\n</Location>\n"
        "<Location /d/x.txt>\nExpiresByType text/plain A7\n</Location>",
    )
    assert fields(site.ask("/a.txt")) == ([], [])
    assert fields(site.ask("/d/index.html")) == expected(5)
    assert fields(site.ask("/d/x.txt")) == expected(7)


def test_a_lifetime_after_the_last_change_may_be_over(tmp_path: Path) -> None:
    site = Served(tmp_path, "ExpiresActive On\nExpiresDefault M3600")
    for path, changed, left in (("a.txt", NOW - 600, 3_000), ("b.html", NOW - 7_200, 0)):
        os.utime(site.root / path, (changed, changed))
        assert fields(site.ask(f"/{path}")) == expected(left)


def test_errors_say_nothing_and_redirects_do(tmp_path: Path) -> None:
    site = Served(tmp_path, "ExpiresActive On\nExpiresDefault A60\nRedirect /old /new\nErrorDocument 404 /a.txt")
    assert fields(site.ask("/none")) == ([], [])
    assert fields(site.ask("/old")) == expected(60)
    assert fields(site.ask("/a.txt", f"If-Modified-Since: {format_date(NOW - 1)}")) == expected(60)


@pytest.mark.parametrize("always", ["", "always "])
def test_other_words_stay(tmp_path: Path, always: str) -> None:
    site = Served(tmp_path, f"ExpiresActive On\nExpiresDefault A60\nHeader {always}set Cache-Control private")
    response = site.ask("/a.txt")
    assert "private" in values(response, "Cache-Control")
    assert values(response, "Expires")


def test_what_says_its_own_expires_keeps_it(tmp_path: Path) -> None:
    site = Served(tmp_path, "ExpiresActive On\nExpiresDefault A60")
    asked = site.ask("/a.txt")
    asked.headers = [("Expires", "0"), ("Content-Type", "text/plain")]
    serve.finish(site.request, asked)
    assert fields(asked) == ([], ["0"])


def test_a_cache_control_is_added_to(tmp_path: Path) -> None:
    site = Served(tmp_path, "ExpiresActive On\nExpiresDefault A60")
    asked = site.ask("/a.txt")
    asked.headers = [("Cache-Control", "public"), ("Cache-Control", "no-transform")]
    serve.finish(site.request, asked)
    assert values(asked, "Cache-Control") == ["public, no-transform, max-age=60"]


def test_a_remembered_response_has_the_fields_of_its_second(tmp_path: Path) -> None:
    site = Served(tmp_path, "ExpiresActive On\nExpiresDefault A60")
    os.utime(site.root / "a.txt", (NOW - 600, NOW - 600))

    def ask(at: float) -> Response:
        asked = make_request(site.site, "GET /a.txt")
        asked.request.time = at
        return serve.respond(asked.request)

    # The file's inode was changed when it was made: by that clock it is settled long before these.
    later = os.stat(site.root / "a.txt").st_ctime + 3_600.0
    later = float(int(later))
    first = ask(later)
    assert ask(later + 0.9) is first
    second = ask(later + 1)
    assert second is not first
    assert (values(first, "Expires"), values(second, "Expires")) == (
        [format_date(later + 60)],
        [format_date(later + 61)],
    )
