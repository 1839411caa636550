"""mod_authz_core beside what the comparison with Apache shows (tests/oracle/cases/authz-*): logs, memory, IPv6."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.config.loading import Modules
from serving import ask, make_site

USER_ONLY = "Require expr %{REMOTE_USER} == 'me'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x.txt").write_text("x")
    return tmp_path


def in_root(text: str) -> str:
    return f"<Directory @ROOT@>\n{text}\n</Directory>"


def test_who_is_refused_is_logged(root: Path) -> None:
    asked = ask(make_site(root, in_root("Require all denied")), "GET /x.txt")
    assert asked.status == 403
    assert asked.log == [f"authz_core:error AH01630: client denied by server configuration: {root}/root/x.txt"]


def test_a_user_who_cannot_log_in_is_an_error_of_the_configuration(root: Path) -> None:
    asked = ask(make_site(root, in_root(USER_ONLY)), "GET /x.txt")
    assert asked.status == 500
    assert asked.log == [
        "core:error AH00027: No authentication done but request not allowed without authentication for /x.txt. "
        "Authentication not configured?",
    ]


def test_each_decision_is_logged_where_logs_are_to_say_it(root: Path) -> None:
    rules = "<RequireAll>\nRequire all granted\nRequire not ip 10\n</RequireAll>\nRequire method POST"
    asked = ask(make_site(root, in_root(f"LogLevel authz_core:debug\n{rules}")), "GET /x.txt")
    assert [line.removeprefix("authz_core:debug authorization result of ") for line in asked.log] == [
        "Require all granted: granted",
        "Require not ip 10: neutral",
        "<RequireAll>: granted",
        "<RequireAny>: granted",
    ]


def test_nothing_is_logged_otherwise(root: Path) -> None:
    assert ask(make_site(root, in_root("Require ip 127")), "GET /x.txt").log == []


@pytest.mark.parametrize(
    ("rule", "pure"),
    [
        ("Require all granted", True),
        ("Require method GET", True),
        ("Require all granted\nRequire ip 10", True),
        ("Require ip 127", False),
        ("Require local", False),
        ("Require env NO\nRequire all granted", False),
        ("Require expr true", True),
        ("Require expr %{HTTP:X} == ''", False),
    ],
)
def test_what_depends_on_the_client_is_not_remembered(root: Path, rule: str, pure: bool) -> None:
    asked = ask(make_site(root, in_root(rule)), "GET /x.txt")
    assert asked.status == 200
    assert asked.request.pure == pure


def test_each_client_is_asked_for_anew(root: Path) -> None:
    site = make_site(root, in_root("Require ip 10.0.0.1"))
    statuses = [ask(site, "GET /x.txt", client=client).status for client in ("10.0.0.1", "10.0.0.2", "10.0.0.1")]
    assert statuses == [200, 403, 200]


@pytest.mark.parametrize(
    ("rule", "client", "status"),
    [
        ("ip 2001:db8::/32", "2001:db8::7", 200),
        ("ip 2001:db8::/32", "2001:db9::7", 403),
        ("ip 2001:db8::/32", "10.0.0.1", 403),
        ("ip 10", "::ffff:10.0.0.1", 200),
        ("ip fe80::/10", "fe80::1%eth0", 200),
        ("local", "::1", 200),
        ("local", "::ffff:127.0.0.9", 200),
        ("local", "192.0.2.1", 200),
        ("local", "192.0.2.2", 403),
    ],
)
def test_addresses(root: Path, rule: str, client: str, status: int) -> None:
    site = make_site(root, in_root(f"Require {rule}"))
    assert ask(site, "GET /x.txt", client=client, local="192.0.2.1").status == status


def test_rules_of_main_server_and_virtual_host_are_told_apart_by_place(root: Path) -> None:
    text = f"{in_root('Require all denied')}\n<Location /x>\nAuthMerging Or\nRequire ip 127\n</Location>"
    site = make_site(root, text)
    assert ask(site, "GET /x.txt").status == 403
    (root / "root" / "x").write_text("x")
    assert ask(site, "GET /x").status == 200
    assert ask(site, "GET /x", client="10.0.0.1").status == 403


def test_an_index_is_refused_like_any_file(root: Path) -> None:
    (root / "root" / "index.html").write_text("index")
    site = make_site(root, f"{in_root('Require all granted')}\n<Files index.html>\nRequire all denied\n</Files>")
    assert ask(site, "GET /").status == 403


def test_an_error_document_must_be_let_in_too(root: Path) -> None:
    (root / "root" / "why.txt").write_text("because")
    text = f"{in_root('Require all granted')}\nErrorDocument 403 /why.txt\n<Location /x.txt>\nRequire all denied\n"
    refused = f"{text}</Location>\n<Files why.txt>\nRequire all denied\n</Files>"
    assert ask(make_site(root, refused), "GET /x.txt").response.body != b"because"
    asked = ask(make_site(root, f"{text}</Location>"), "GET /x.txt")
    assert (asked.status, asked.response.body) == (403, b"because")


def test_an_error_document_with_the_settings_of_what_was_refused_is_let_in(root: Path) -> None:
    (root / "root" / "why.txt").write_text("because")
    text = f"{in_root('Require all denied')}\nErrorDocument 403 /why.txt\n"
    asked = ask(make_site(root, text), "GET /x.txt")
    assert (asked.status, asked.response.body) == (403, b"because")


def test_ifmodule_knows_them() -> None:
    for name in ("authz_core", "authz_host", "access_compat", "userdir", "vhost_alias"):
        assert all(map(Modules(loads=False).has, (f"mod_{name}.c", f"{name}_module")))


SECRETS = (".htaccess", ".htpasswd", ".ht", ".hta.txt")


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("text", ["", in_root("Require all granted"), in_root("AllowOverride None\nOptions All")])
def test_secrets_are_refused_by_default(root: Path, name: str, text: str) -> None:
    (root / "root" / name).write_text("secret")
    (root / "root" / "d").mkdir()
    (root / "root" / "d" / name).write_text("secret")
    site = make_site(root, text)
    for path in (f"/{name}", f"/d/{name}", f"/{name}/more"):
        asked = ask(site, f"GET {path}")
        assert asked.status == 403
        assert b"secret" not in asked.body
        assert "client denied by server configuration" in asked.log[0]


def test_what_only_looks_like_a_secret_is_sent(root: Path) -> None:
    for name in ("x.htaccess", "ht", ".hidden"):
        (root / "root" / name).write_text("text")
        assert ask(make_site(root, in_root("Require all granted")), f"GET /{name}").status == 200


@pytest.mark.parametrize(
    "text",
    [
        "<Files .htinfo>\nRequire all granted\n</Files>",
        "<FilesMatch ^\\.ht>\nRequire all granted\n</FilesMatch>",
        in_root("<Files .htinfo>\nRequire all granted\n</Files>"),
        "<Location /.htinfo>\nRequire all granted\n</Location>",
    ],
)
def test_a_configuration_may_say_otherwise(root: Path, text: str) -> None:
    (root / "root" / ".htinfo").write_text("info")
    assert ask(make_site(root, text), "GET /.htinfo").status == 200
