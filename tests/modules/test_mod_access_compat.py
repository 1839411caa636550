"""mod_access_compat beside what the comparison with Apache shows (tests/oracle/cases/access-compat)."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import ask, make_site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x.txt").write_text("x")
    return tmp_path


def in_root(text: str) -> str:
    return f"<Directory @ROOT@>\n{text}\n</Directory>"


def test_who_is_denied_is_logged(root: Path) -> None:
    asked = ask(make_site(root, in_root("Deny from all")), "GET /x.txt")
    assert asked.status == 403
    assert asked.log == [f"access_compat:error AH01797: client denied by server configuration: {root}/root/x.txt"]


def test_satisfy_any_logs_only_what_is_refused_in_the_end(root: Path) -> None:
    asked = ask(make_site(root, in_root("Deny from all\nRequire all granted\nSatisfy Any")), "GET /x.txt")
    assert (asked.status, asked.log) == (200, [])


@pytest.mark.parametrize(
    ("rules", "pure"),
    [
        ("Order allow,deny\nAllow from all", True),
        ("Order deny,allow\nDeny from 10", False),
        ("Order deny,allow\nDeny from env=NO", False),
    ],
)
def test_what_depends_on_the_client_is_not_remembered(root: Path, rules: str, pure: bool) -> None:
    asked = ask(make_site(root, in_root(rules)), "GET /x.txt")
    assert asked.status == 200
    assert asked.request.pure == pure


def test_a_debian_2_2_site_is_served(root: Path) -> None:
    text = """
    <Directory />
        Options FollowSymLinks
        AllowOverride None
    </Directory>
    <Directory @ROOT@>
        Order allow,deny
        allow from all
    </Directory>
    <Location /server-status>
        Order deny,allow
        Deny from all
        Allow from 127.0.0.0/255.0.0.0 ::1/128
    </Location>
    <Files ~ "^\\.ht">
        Order allow,deny
        Deny from all
        Satisfy all
    </Files>
    """
    (root / "root" / ".htpasswd").write_text("secret")
    site = make_site(root, text)
    assert ask(site, "GET /x.txt").status == 200
    assert ask(site, "GET /.htpasswd").status == 403
    assert ask(site, "GET /server-status").status == 404
    assert ask(site, "GET /server-status", client="10.0.0.1").status == 403
