"""Names and passwords beside what the comparison with Apache shows (tests/oracle/cases/auth-basic): waiting, memory,
owners of files, errors of the configuration.
"""

from __future__ import annotations

import asyncio
import base64
import grp
import os
import pwd
from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from ownhost.config.loading import Modules
from ownhost.http.message import Content, Response
from ownhost.modules.passwords.checks import Checks
from ownhost.request import serve
from ownhost.request.request import Request
from ownhost.request.site import Site
from serving import Asked, ask, make_request, make_site

USERS = "me:pw\nyou:pw\n"
BASIC = "AuthType Basic\nAuthName here\nAuthUserFile @ROOT@/../users\nAuthGroupFile @ROOT@/../groups\n"
VALID = f"<Directory @ROOT@>\n{BASIC}Require valid-user\n</Directory>"
ME = os.geteuid()


class Counted(Checks):
    """Checks by equality: what would be the hash is the password."""

    def __init__(self) -> None:
        super().__init__(self.compare, lambda: 1_000.0)
        self.count = 0

    def compare(self, password: bytes, known: bytes) -> bool:
        self.count += 1
        return password == known


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted()
    monkeypatch.setattr("ownhost.modules.mod_auth_basic.checks", lambda: made)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("x.txt", "why.txt", "index.html", "d/x.txt"):
        (tmp_path / "root" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "root" / name).write_text(name)
    (tmp_path / "users").write_text(USERS)
    return tmp_path


def login(name: str, password: str = "pw") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Body:
    """Of a request that has none."""

    async def read(self) -> Content:
        raise AssertionError

    async def tell(self, status: int, fields: object) -> None:
        raise AssertionError


def in_loop(site: Site, line: str, *fields: str) -> tuple[Asked, bool]:
    """The answer in a process with an event loop, and whether it was waited for."""

    async def answer() -> tuple[Response, bool]:
        response = serve.respond(asked.request)
        return await serve.complete(asked.request, response, Body()), response.deferred is not None

    asked = make_request(site, line, *fields)
    asked.response, waited = asyncio.run(answer())
    return asked, waited


def test_a_password_is_waited_for_once(root: Path, checks: Counted) -> None:
    site = make_site(root, VALID)
    for waits in (True, False):
        asked, waited = in_loop(site, "GET /x.txt", login("me"))
        assert (asked.status, waited, asked.request.user, asked.request.auth_type) == (200, waits, "me", "Basic")
    for waits in (True, False):
        asked, waited = in_loop(site, "GET /x.txt", login("me", "no"))
        assert (asked.status, waited) == (401, waits)
        assert asked.response.header("www-authenticate") == 'Basic realm="here"'
        assert asked.log == [
            'auth_basic:error AH01617: user me: authentication failure for "/x.txt": Password Mismatch',
        ]
    assert checks.count == 2


def test_nobody_waits_who_cannot_be_let_in_or_needs_no_name(root: Path, checks: Counted) -> None:
    site = make_site(root, VALID + "\n<Location /d>\nRequire all granted\n</Location>")
    for line, field, status in (
        ("GET /x.txt", "X: x", 401),
        ("GET /x.txt", login("nobody"), 401),
        ("GET /d/x.txt", login("me", "no"), 200),
    ):
        asked, waited = in_loop(site, line, field)
        assert (asked.status, waited) == (status, False)
    assert checks.count == 0


def test_what_was_waited_for_goes_through_all_phases(root: Path) -> None:
    """Fields, an index, an ErrorDocument: as if nobody had waited."""
    text = f"Header always set X-User expr=%{{REMOTE_USER}}\nErrorDocument 404 /why.txt\n{VALID}"
    asked, waited = in_loop(make_site(root, text), "GET /", login("me"))
    assert (asked.status, waited, asked.request.filename.rpartition("/")[2]) == (200, True, "index.html")
    assert asked.response.header("x-user") == "me"
    asked, waited = in_loop(make_site(root, text), "GET /none", login("you"))
    assert (asked.status, waited, asked.response.first_status) == (404, False, 404)
    assert asked.response.header("x-user") == "you"


def test_what_the_server_looks_up_itself_is_checked_at_once(root: Path, checks: Counted) -> None:
    text = "ErrorDocument 404 /d/x.txt\n" + VALID.replace("@ROOT@>", "@ROOT@/d>")
    asked, waited = in_loop(make_site(root, text), "GET /none", login("me"))
    assert (asked.status, waited, checks.count) == (404, False, 1)
    assert asked.response.own_page is False


def test_nothing_is_remembered_for_the_next_client(root: Path) -> None:
    os.utime(root / "root/x.txt", (1, 1))
    site = make_site(root, VALID)
    for _ in range(3):
        assert ask(site, "GET /x.txt", login("me")).status == 200
        assert ask(site, "GET /x.txt").status == 401
        assert ask(site, "GET /x.txt", login("you", "no")).status == 401


def test_nobody_is_named_before_the_password_is_known_to_be_right(root: Path) -> None:
    asked = make_request(make_site(root, VALID), "GET /x.txt", login("me"))

    async def begin() -> Request:
        assert serve.respond(asked.request).deferred is not None
        return asked.request

    assert asyncio.run(begin()).user is None


def test_the_page_of_a_401_has_no_user(root: Path) -> None:
    text = f"Header always set X-User expr=%{{REMOTE_USER}}\nErrorDocument 401 /why.txt\n{VALID}"
    asked = ask(make_site(root, text), "GET /x.txt", login("me", "no"))
    assert (asked.status, asked.response.header("x-user")) == (401, "")
    assert asked.request.user == "me"  # for the log


def test_fifos_and_devices_hang_nobody(root: Path) -> None:
    (root / "users").unlink()
    os.mkfifo(root / "users")
    asked = ask(make_site(root, VALID), "GET /x.txt", login("me"))
    assert asked.status == 500
    said = f"AH01620: Could not open password file: {root}/root/../users: it is not a regular file"
    assert asked.log == [f"authn_file:error {said}"]


def test_owners_of_files(root: Path) -> None:
    user, group = pwd.getpwuid(ME).pw_name, grp.getgrgid((root / "root/x.txt").stat().st_gid).gr_name
    (root / "users").write_text(f"{USERS}{user}:pw\n")
    (root / "groups").write_text(f"{group}: you\n")
    site = make_site(root, VALID.replace("valid-user", "file-owner"))
    assert [ask(site, "GET /x.txt", login(name)).status for name in (user, "me")] == [200, 401]
    site = make_site(root, VALID.replace("valid-user", "file-group"))
    assert [ask(site, "GET /x.txt", login(name)).status for name in ("you", "me")] == [200, 401]
    asked = ask(site, "GET /none", login("you"))
    assert asked.status == 401


def test_a_missing_file_has_no_owner(root: Path) -> None:
    asked = ask(make_site(root, VALID.replace("valid-user", "file-owner")), "GET /none", login("me"))
    assert asked.status == 401
    assert asked.log[0] == (
        "authz_owner:error AH01634: Authorization of user me to access /none failed, reason: "
        f"could not stat file {root}/root/none"
    )


def test_a_name_is_bytes(root: Path) -> None:
    (root / "users").write_bytes(b"\xff\xfc:pw\n")
    site = make_site(root, VALID)
    field = "Authorization: Basic " + base64.b64encode(b"\xff\xfc:pw").decode()
    assert ask(site, "GET /x.txt", field).status == 200


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("AuthType Digest", "Digest is not supported yet"),
        ("AuthType form", "form is not supported yet"),
        ("AuthType Bsic", "did you mean Basic?"),
        ("AuthType", "expected one argument"),
        ("AuthName two words", "expected one argument"),
        ("AuthBasicProvider ldap", "there is no provider ldap"),
        ("AuthBasicProvider", "expected at least 1 argument"),
        ("AuthBasicUseDigestAlgorithm MD5", "MD5 is not supported"),
        ("AuthBasicFake a b c", "expected 1 to 2 arguments"),
        ("Require valid-user x", "expected no arguments"),
        ("Require user", "expected at least 1 argument"),
        ("Require group", "expected at least 1 argument"),
        ("Require ldap-user x", "ldap-user is not supported yet"),
    ],
)
def test_errors_name_the_line(root: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_site(root, f"<Directory @ROOT@>\n{line}\n</Directory>")
    assert says in str(error.value)
    assert f"{root}/site.conf:" in str(error.value)


def test_ifmodule_knows_them() -> None:
    for name in ("auth_basic", "authn_core", "authn_file", "authz_groupfile", "authz_owner", "authz_user"):
        assert all(map(Modules(loads=False).has, (f"mod_{name}.c", f"{name}_module")))
