"""mod_php: its directives, and which files it takes for scripts."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config import loading
from ownhost.config.directive import ConfigError
from ownhost.config.loading import Modules
from ownhost.config.model import Config
from ownhost.config.module_table import DONE_WHERE_INSTALLED
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import HTTPError, Response
from ownhost.modules import mod_php
from ownhost.modules.mod_php import VALUES, Value, Values, find_newest
from ownhost.request import serve
from ownhost.request.request import Endpoints, Phase, Request
from ownhost.request.road import advance
from ownhost.request.site import Site

DEBIANS = Path("/etc/apache2/mods-available")

modules.load()


def parse(folder: Path, text: str) -> Config:
    file = folder / "ownhost.conf"
    file.write_text(text)
    return read(str(file), environ={})


def ask(folder: Path, text: str, target: str) -> Request:
    """A request as far as its handler."""
    config = parse(folder, f'User "#50001"\nGroup "#50001"\nDocumentRoot {folder}\n{text}')
    site = Site(config.main, lambda _: True, lambda _: None)
    head = parse_head(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), head_limits(site.settings))
    return Request(head, Endpoints("127.0.0.1", 1, "127.0.0.1", 80), site, 0.0, lambda *_: None)


def handled(folder: Path, text: str, target: str) -> Request:
    request = ask(folder, text, target)
    assert advance(request, Phase.FIXUPS) is None
    return request


# Directives


def test_values_and_flags(tmp_path: Path) -> None:
    text = (
        "php_value date.timezone Europe/Berlin\nphp_value auto_prepend_file NONE\nphp_flag display_errors ON\n"
        'php_admin_flag engine 0\nphp_admin_value open_basedir "/a b:/c"\n'
    )
    config = pickle.loads(pickle.dumps(parse(tmp_path, text)))
    assert config.main.settings[VALUES] == {
        "date.timezone": Value("Europe/Berlin"),
        "auto_prepend_file": Value(""),
        "display_errors": Value("1"),
        "engine": Value("0", admin=True),
        "open_basedir": Value("/a b:/c", admin=True),
    }
    assert not config.notes


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("php_flag display_errors true", "'true' is neither On nor Off, and counts as Off"),
        ("php_value disable_functions exec", "has no effect: use php_admin_value or php_admin_flag"),
        ("php_admin_value extension x.so", "has no effect: it belongs in php.ini"),
    ],
)
def test_what_does_not_do_what_it_seems_to_is_remarked_on(tmp_path: Path, line: str, note: str) -> None:
    (found,) = parse(tmp_path, line).notes
    assert note in str(found)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("php_value a", "expected 2 arguments, got 1"),
        ('php_value "a]\nb" c', "expected"),
        ("php_value a]b c", "expected the name of a PHP setting, not 'a]b'"),
        ("php_value a $pool", "expected a value without '$pool'"),
        ("PHPServer /nowhere/php-fpm", "expected the path of a php-fpm, not '/nowhere/php-fpm'"),
        ("<Directory />\nPHPServer /bin/true\n</Directory>", "cannot stand in <Directory>"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(tmp_path, line)
    assert problem in str(caught.value)


VALUE = st.builds(Value, st.text(max_size=3), st.booleans())
VALUES_OF_SCOPE = st.dictionaries(st.sampled_from("abc"), VALUE)


@given(st.lists(VALUES_OF_SCOPE, max_size=5))
def test_an_admins_value_holds_inside(scopes: list[Values]) -> None:
    """Each setting is what the innermost scope says; of those that an admin's value is in, the innermost admin's."""
    merged: Values = {}
    for scope in scopes:
        merged = VALUES.merge(merged, scope)
    for name in "abc":
        said = [scope[name] for scope in scopes if name in scope]
        admins = [value for value in said if value.admin]
        assert merged.get(name) == next(iter((admins or said)[::-1]), None)


# Files


@pytest.mark.parametrize(
    ("text", "handler"),
    [
        ("SetHandler application/x-httpd-php", "application/x-httpd-php"),
        ("AddHandler application/x-httpd-php .php", "application/x-httpd-php"),
        ("AddHandler php-script php", "php-script"),
        ("AddType application/x-httpd-php .php", "application/x-httpd-php"),
        ("AddType text/html .php", ""),
        ("", ""),
        ("AddHandler php-script php\nphp_flag engine off", "php-engine-off"),
        ("AddType application/x-httpd-php .php\nphp_admin_value engine 0", "php-engine-off"),
        ("AddHandler php-script php\nphp_flag engine on", "php-script"),
    ],
)
def test_which_files_are_scripts(tmp_path: Path, text: str, handler: str) -> None:
    (tmp_path / "i.php").write_text("<?php")
    assert handled(tmp_path, text, "/i.php").handler == handler


@pytest.mark.parametrize(
    "text",
    [
        "AddHandler php-script php\nphp_flag engine off",
        "AddType application/x-httpd-php .php\nphp_admin_value engine 0",
        "SetHandler application/x-httpd-php\nphp_admin_flag engine off",
    ],
)
def test_with_the_engine_off_a_script_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "i.php").write_text("<?php secret")
    (tmp_path / "x.txt").write_text("text")
    request = ask(tmp_path, text, "/i.php")
    lines: list[str] = []
    request.log = lambda level, module, line: lines.append(f"{module}:{level.name.lower()} {line}")
    response = serve.respond(request)
    assert response.status == 403
    assert isinstance(response.body, bytes)
    assert b"secret" not in response.body
    assert lines == [f"php:error {tmp_path}/i.php: PHP's engine is off here, and its source is not sent"]
    assert serve.respond(ask(tmp_path, text, "/none.php")).status == 404
    assert serve.respond(ask(tmp_path, text, "/x.txt")).status == (403 if "SetHandler" in text else 200)


def test_a_script_that_is_sent_as_a_file_by_name_is_sent(tmp_path: Path) -> None:
    (tmp_path / "i.php").write_text("<?php")
    text = "AddHandler php-script php\nphp_flag engine off\n<Files i.php>\nSetHandler default-handler\n</Files>"
    assert serve.respond(ask(tmp_path, text, "/i.php")).status == 200


def test_source_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "i.phps").write_text("<?php")
    request = ask(tmp_path, "AddType application/x-httpd-php-source .phps", "/i.phps")
    response: Response = serve.respond(request)
    assert response.status == 403


@pytest.mark.parametrize(("target", "status"), [("/none.php", 404), ("/folder.php/", 403)])
def test_what_is_no_script_is_refused(tmp_path: Path, target: str, status: int) -> None:
    (tmp_path / "folder.php").mkdir()
    request = handled(tmp_path, "SetHandler php-script", target)
    with pytest.raises(HTTPError) as caught:
        mod_php.check_script(request)
    assert caught.value.status == status


# Which PHP


def test_the_newest_is_found_by_its_number(tmp_path: Path) -> None:
    assert find_newest(tmp_path) == ""
    for name in ("php-fpm", "php-fpm7.4", "php-fpm8.10", "php-fpm8.9", "php-fpm9.dpkg-old"):
        (tmp_path / name).touch()
    assert find_newest(tmp_path) == f"{tmp_path}/php-fpm8.10"


@pytest.mark.parametrize(
    ("server", "names"),
    [
        ("", set()),
        ("/usr/sbin/php-fpm", {"mod_php.c", "php_module"}),
        ("/usr/sbin/php-fpm7.4", {"mod_php.c", "php_module", "mod_php7.c", "php7_module"}),
    ],
)
def test_modules_are_provided_where_php_is(monkeypatch: pytest.MonkeyPatch, server: str, names: set[str]) -> None:
    monkeypatch.setattr(mod_php, "newest_server", lambda: server)
    php = {word for name in DONE_WHERE_INSTALLED for word in loading.words_of(name)}
    assert set(filter(Modules(loads=False).has, php)) == names


@pytest.mark.parametrize(("server", "there"), [("", False), ("/usr/sbin/php-fpm8.2", True)])
def test_any_php_that_is_loaded_is_there_where_php_is(
    monkeypatch: pytest.MonkeyPatch, server: str, there: bool
) -> None:
    monkeypatch.setattr(mod_php, "newest_server", lambda: server)
    modules = Modules(loads=True)
    assert not modules.has("mod_php.c")
    modules.load("php7")
    assert modules.has("mod_php7.c") is modules.has("php7_module") is there
    assert not modules.has("mod_php.c")


def test_without_a_php_fpm_a_script_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "i.php").write_text("<?php")
    request = handled(tmp_path, "SetHandler php-script", "/i.php")
    monkeypatch.setattr(mod_php, "newest_server", lambda: "")
    with pytest.raises(HTTPError, match="no php-fpm is installed"):
        mod_php.php_server(request)


def test_a_server_may_choose_its_php(tmp_path: Path) -> None:
    chosen = tmp_path / "php-fpm"
    chosen.touch(0o755)
    (tmp_path / "i.php").write_text("<?php")
    assert mod_php.php_server(handled(tmp_path, f"PHPServer {chosen}", "/i.php")) == str(chosen)


@pytest.mark.slow  # PHP has to be installed
def test_debians_configuration_loads(tmp_path: Path) -> None:
    (tmp_path / "i.php").write_text("<?php")
    text = f"Include {DEBIANS}/php8.2.load\nInclude {DEBIANS}/php8.2.conf\n"
    assert [str(note).rpartition("conf:")[2] for note in parse(tmp_path, text).notes] == [
        "23: <IfModule mod_userdir.c> is skipped: no LoadModule line before it loads userdir_module "
        "(on Debian, a2enmod userdir does)"
    ]
    assert handled(tmp_path, text, "/i.php").handler == "application/x-httpd-php"
