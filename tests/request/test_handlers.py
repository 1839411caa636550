"""Handlers that there are not: whose file is sent, and whose is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.request.handlers import is_program, is_program_type
from serving import ask, make_site

PROGRAMS = """
    application/x-httpd-php application/x-httpd-php5 application/x-httpd-php-source
    application/x-httpd-alt-php74___lsphp application/x-httpd-ea-php81 application/x-lsphp
    application/x-httpd-cgi x-httpd-php x-httpd-ea-php81 x-mapp-php5 php-script php5-script php7-script php-fcgi
    php5-fcgi php56-cgi php-fpm fcgi-php lsapi-script lsphp php php7.4 x_php-cgi cgi-script fcgid-script
    fastcgi-script wsgi-script asgi-script perl-script python-program lua-script suphp-script modperl mod_python
    server-parsed server-status server-info balancer-manager ldap-status imap-file
    proxy:fcgi://127.0.0.1:9000 proxy:unix:/run/php.sock|fcgi://x proxy-server PHP-Script isapi-handler
    text/x-server-parsed-html
"""
NOBODYS = """
    Drupal_Security_Do_Not_Remove_See_SA_2006_006 Drupal_Security_Do_Not_Remove_See_SA_2013_003 nobody-knows-it none2
    text/plain image/png nothing This_is_a_placeholder default
"""


@pytest.mark.parametrize("name", PROGRAMS.split())
def test_what_is_a_programs(name: str) -> None:
    assert is_program(name)


@pytest.mark.parametrize("name", NOBODYS.split())
def test_what_is_nobodys(name: str) -> None:
    assert not is_program(name)


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/x-httpd-php81", True),
        ("application/x-httpd-ea-php81___lsphp", True),
        ("application/x-httpd-cgi", True),
        ("text/x-server-parsed-html", True),
        ("application/x-lsphp", True),
        ("application/x-tar", False),
        ("application/x-javascript", False),
        ("text/x-php", False),
        ("text/html", False),
        ("", False),
    ],
)
def test_which_types_are_programs(media_type: str, expected: bool) -> None:
    assert is_program_type(media_type) is expected


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("x.txt", "x.php", "x.cgi"):
        (folder / name).write_text("secret")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("SetHandler Some_Name_That_No_Module_Has", 200),
        ("SetHandler none", 200),
        ("SetHandler default-handler", 200),
        ("AddHandler nobodys .txt", 200),
        ("SetHandler server-status", 500),
        ("SetHandler fastcgi-script", 500),
        ("AddHandler application/x-httpd-ea-php81 .txt", 500),
        ("AddType application/x-httpd-php81 .txt", 500),
        ("AddType text/x-server-parsed-html .txt", 500),
        ("AddHandler server-parsed .txt", 500),
    ],
)
def test_a_file_is_sent_where_its_handler_is_nobodys(root: Path, text: str, status: int) -> None:
    asked = ask(make_site(root, text), "GET /x.txt")
    assert asked.status == status
    if status == 500:
        assert b"secret" not in asked.body
        assert "there is no handler" in asked.log[0]


def test_a_handler_whose_module_is_not_loaded_is_not_there(root: Path) -> None:
    text = "AddHandler cgi-script .cgi\nOptions +ExecCGI"
    site = make_site(root, text)
    assert ask(site, "GET /x.cgi").response.deferred is not None
    site.virtual_host.loaded = frozenset({"dir"})
    assert ask(type(site)(site.virtual_host, site.is_mine, lambda _: None), "GET /x.cgi").status == 500
    site.virtual_host.loaded = frozenset({"cgid"})
    again = type(site)(site.virtual_host, site.is_mine, lambda _: None)
    assert ask(again, "GET /x.cgi").response.deferred is not None
