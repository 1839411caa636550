"""ownhost explain: what would happen to a request, and why, as people and as programs read it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from certificates import Authority
from harness import ALICE, World
from ownhost.admin.cli import main

NEWS = pwd.getpwnam("news").pw_uid
BODY = """\
Listen 8080
Listen 8443
SetEnvIf X-Site ^(.)$ SITE=$1
<VirtualHost *:8080>
ServerName first.test
DocumentRoot @DIR@/shared
</VirtualHost>
<VirtualHost *:8080>
ServerName shared.test
ServerAlias other.test *.wild.test
DocumentRoot @DIR@/shared
AssignUserID "#50001" "#50001"
RewriteEngine on
RewriteRule /~([a-z]+)/ - [E=ITKUID:$1]
RewriteRule ^/moved/(.*) /~news/$1 [R=301]
<Directory @DIR@/shared/~news>
AssignUserIDExpr %{reqenv:ITKUID}
SetEnv FOLDER news
</Directory>
<Location /inner>
RewriteRule inner$ /index.html
</Location>
<Location /~root>
AssignUserIDExpr %{reqenv:ITKUID}
</Location>
<If "%{QUERY_STRING} == 'kind'">
NiceValue 5
</If>
</VirtualHost>
"""


@pytest.fixture
def config(world: World) -> Path:
    root = world.site("shared", ALICE, {"index.html": "alice\n", "~news/x.txt": "news\n"})
    root.chmod(0o711)
    for path in (root / "~news", root / "~news" / "x.txt"):
        os.chown(path, NEWS, NEWS)
    return world.server(BODY, start=False).config


def run(config: Path, url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", url, "-f", str(config), *arguments])


def explained(config: Path, url: str, *arguments: str) -> dict[str, Any]:
    result = run(config, url, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def line_of(config: Path, text: str) -> str:
    lines = config.read_text().splitlines()
    return f"{config}:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def test_a_file_of_the_owner(config: Path) -> None:
    found = explained(config, "http://shared.test:8080/")
    assert found["virtual_host"] == "shared.test"
    assert found["chosen"] == "its ServerName"
    assert found["identity"] == {
        "user": "#50001",
        "group": "#50001",
        "nice": 0,
        "uid": ALICE,
        "gid": ALICE,
        "groups": [],
    }
    assert found["identity_from"] == [
        {"what": 'AssignUserID "#50001" "#50001"', "declared": line_of(config, "AssignUserID ")}
    ]
    assert (found["status"], found["handler"]) == (200, "default-handler")
    assert found["file"].endswith("/shared/index.html")


def test_an_identity_by_expression_and_what_led_to_it(config: Path) -> None:
    found = explained(config, "http://shared.test:8080/~news/x.txt")
    assert (found["identity"]["uid"], found["identity"]["gid"]) == (NEWS, ALICE)
    assert found["identity_from"][1] == {
        "what": "AssignUserIDExpr %{reqenv:ITKUID} (comes to 'news')",
        "declared": line_of(config, "AssignUserIDExpr"),
    }
    steps = [step["text"] for step in found["rewriting"]]
    assert any("applying pattern '/~([a-z]+)/' to uri '/~news/x.txt'" in step for step in steps)
    assert any("setting env variable 'ITKUID' to 'news'" in step for step in steps)
    (section,) = found["sections"]
    assert section["what"].startswith("<Directory ")
    assert section["declared"] == line_of(config, "~news>")
    assert {"what": "SetEnv FOLDER news", "declared": line_of(config, "SetEnv FOLDER")} in found["settings"]
    assert found["environment"]["FOLDER"] == "news"
    assert found["status"] == 200, "only news can read it: it was looked at as news"


@pytest.mark.parametrize(
    ("url", "arguments", "expected"),
    [
        ("http://other.test:8080/", (), {"virtual_host": "shared.test", "chosen": "its ServerAlias"}),
        ("http://a.wild.test:8080/", (), {"virtual_host": "shared.test", "chosen": "its ServerAlias"}),
        ("http://nobody.test:8080/", (), {"virtual_host": "first.test"}),
        ("http://shared.test:9/", (), {"virtual_host": "server.test"}),
        ("http://nobody.test:8080/", ("-H", "Host: shared.test"), {"virtual_host": "shared.test"}),
        ("shared.test:8080/moved/x?y=1", (), {"status": 301, "location": "http://shared.test:8080/~news/x?y=1"}),
        ("http://shared.test:8080/none", (), {"status": 404, "handler": ""}),
        ("http://shared.test:8080/", ("--method", "DELETE"), {"status": 405}),
        ("http://shared.test:8080/~root/x", (), {"status": 500}),
    ],
)
def test_what_comes_of_requests(
    config: Path, url: str, arguments: tuple[str, ...], expected: dict[str, object]
) -> None:
    found = explained(config, url, *arguments)
    assert {key: found[key] for key in expected} == expected


def test_conditions_and_fields_count(config: Path) -> None:
    assert explained(config, "http://shared.test:8080/?kind")["identity"]["nice"] == 5
    found = explained(config, "http://shared.test:8080/", "-H", "X-Site: q")
    assert found["environment"]["SITE"] == "q"


def test_rules_of_folders_are_followed_to_the_file(config: Path) -> None:
    found = explained(config, "http://shared.test:8080/inner")
    assert (found["status"], Path(found["file"]).name, found["uri"]) == (200, "index.html", "/index.html")
    steps = [step["text"] for step in found["rewriting"]]
    assert any(step.endswith("internal redirect with /index.html [INTERNAL REDIRECT]") for step in steps)


def test_a_refused_identity(config: Path) -> None:
    found = explained(config, "http://shared.test:8080/~root/x")
    assert "LimitUIDRange" in found["identity"]["refused"]
    assert "uid" not in found["identity"]


def test_for_people(config: Path) -> None:
    result = run(config, "http://shared.test:8080/~news/x.txt")
    assert result.exit_code == 0
    for text in (
        "GET /~news/x.txt",
        "virtual host  shared.test",
        "identity      news #50001 (uid 9",
        "status        200",
    ):
        assert text in result.stdout
    assert "refused: root (uid 0)" in run(config, "http://shared.test:8080/~root/x").stdout


@pytest.mark.parametrize(
    ("url", "arguments", "says"),
    [
        ("ftp://x/", (), "expected a URL such as http://alice.example/path"),
        ("http:///x", (), "expected a URL"),
        ("http://x:99999999/", (), "is not a URL"),
        ("http://shared.test:8080/", ("-H", "nonsense"), "expected a header field"),
        ("http://shared.test:8080/", ("-H", "Bad Name: x"), "answered with 400"),
        ("http://shared.test:8080/", ("--method", "B D"), "answered with 400"),
    ],
)
def test_what_is_no_request(config: Path, url: str, arguments: tuple[str, ...], says: str) -> None:
    result = run(config, url, *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_nothing_is_served_or_left(config: Path, world: World) -> None:
    before = set(world.folder.rglob("*"))
    run(config, "http://shared.test:8080/")
    assert set(world.folder.rglob("*")) == before


TLS = """\
<VirtualHost *:8443>
ServerName tls.test
DocumentRoot @DIR@/shared
SSLEngine on
SSLProtocol TLSv1.3
SSLCertificateFile @DIR@/none.pem
<Location /mine>
SSLVerifyClient require
</Location>
SSLOptions +StdEnvVars
</VirtualHost>
"""


def test_tls_is_explained(world: World) -> None:
    world.site("shared", ALICE, {"index.html": "alice\n"}, mode=0o755)
    config = world.server(BODY + TLS, start=False).config
    found = explained(config, "https://tls.test:8443/")
    assert found["tls"] == "TLSv1.3; clients' certificates are asked for"
    assert found["status"] == 200
    assert (found["environment"]["SSL_PROTOCOL"], found["environment"]["HTTPS"]) == ("TLSv1.3", "on")
    assert explained(config, "https://tls.test:8443/mine")["status"] == 403
    clear = explained(config, "http://tls.test:8443/")
    assert (clear["status"], clear["uri"]) == (400, "")
    assert "use https:// instead" in clear["tls"]
    assert "status        400" in run(config, "http://tls.test:8443/").stdout
    assert explained(config, "https://shared.test:8080/")["tls"] == "none is spoken here: SSLEngine is off"
    assert explained(config, "http://shared.test:8080/")["tls"] == ""


def test_a_host_that_must_be_known(world: World) -> None:
    world.site("shared", ALICE, {"index.html": "alice\n"}, mode=0o755)
    config = world.server("StrictHostCheck On\n" + BODY, start=False).config
    found = explained(config, "http://unknown.test:8080/")
    assert found["status"] == 400
    assert "no virtual host there goes by unknown.test" in found["verdict"]
    assert explained(config, "http://x.wild.test:8080/")["status"] == 200


MATTERS = """\
<VirtualHost *:8080>
ServerName x.test
DocumentRoot @DIR@/shared
SetEnv UNRELATED yes
SetOutputFilter NONE
<Directory @DIR@/shared>
SetHandler outer
Require ip 10.0.0.0/8
</Directory>
<Files index.html>
SetHandler none
Require ip 127.0.0.0/8
</Files>
Redirect /away https://elsewhere.test/
Redirect /tls https://x.test/
Redirect /on http://y.test:8080/index.html
Redirect /slow http://x.test:8080/on
</VirtualHost>
<VirtualHost *:8080>
ServerName y.test
DocumentRoot @DIR@/shared
Redirect /ping http://x.test:8080/pong
RedirectMatch ^/self$ /self
RedirectMatch ^/grow(.*) /grow/x$1
</VirtualHost>
<VirtualHost *:8443>
ServerName first.tls.test
SSLEngine on
SSLCertificateFile @DIR@/first.crt
SSLCertificateKeyFile @DIR@/first.key
DocumentRoot @DIR@/shared
</VirtualHost>
<VirtualHost *:8443>
ServerName other.tls.test
SSLEngine on
SSLCertificateFile @DIR@/first.crt
SSLCertificateKeyFile @DIR@/first.key
DocumentRoot @DIR@/shared
</VirtualHost>
<VirtualHost *:8443>
ServerName plain.tls.test
DocumentRoot @DIR@/shared
</VirtualHost>
"""


@pytest.fixture
def matters(world: World) -> Path:
    world.site("shared", ALICE, {"index.html": "alice\n"}, mode=0o755)
    Authority().issue("first.tls.test").files(world.folder, "first")
    return world.server("Listen 8080\nListen 8443\n" + MATTERS, start=False).config


def test_what_another_section_says_is_overridden(matters: Path) -> None:
    found = explained(matters, "http://x.test:8080/index.html")
    by = {"what": "SetHandler none", "declared": line_of(matters, "SetHandler none")}
    assert {"what": "SetHandler outer", "declared": line_of(matters, "SetHandler outer"), "by": by} in found[
        "overridden"
    ]
    assert [one["what"] for one in found["overridden"]] == ["Require ip 10.0.0.0/8", "SetHandler outer"]
    (rule,) = found["access"]
    assert (rule["rule"], rule["verdict"], rule["why"]) == ("Require ip 127.0.0.0/8", "yes", "the client is 127.0.0.1")
    assert rule["declared"] == line_of(matters, "Require ip 127")
    assert found["status"] == 200


def test_settings_that_nobody_looked_at_are_for_all(matters: Path) -> None:
    short, long = (run(matters, "http://x.test:8080/index.html", *more).stdout for more in ((), ("--all",)))
    assert "ErrorLog" not in short
    assert "ErrorLog" in long
    assert "variable      UNRELATED=yes" in long
    assert "UNRELATED=yes" not in short
    assert short.splitlines()[0].startswith("200: ")
    assert len(short) < len(long)


@pytest.mark.parametrize(
    ("path", "follows", "says"),
    [
        ("x.test:8080/away", [], "302 to https://elsewhere.test/"),
        ("x.test:8080/tls", [0], "302 to https://x.test/; there: connection refused: nothing listens on port 443"),
        ("x.test:8080/on", [200], "302 to http://y.test:8080/index.html; there: 200: "),
        ("x.test:8080/slow", [302, 200], "302 to http://x.test:8080/on; there: 200: "),
        ("y.test:8080/ping", [403], "302 to http://x.test:8080/pong; there: 403: "),
        ("y.test:8080/grow", [302] * 10, ", and from there on and on, for more than 10 redirects: browsers give up"),
        ("y.test:8080/self", [302], "which leads back to itself after one redirect: browsers give up"),
    ],
)
def test_redirects_are_followed_as_far_as_this_server_goes(
    matters: Path, path: str, follows: list[int], says: str
) -> None:
    found = explained(matters, f"http://{path}")
    assert [hop["status"] for hop in found["follows"]] == follows
    assert says in found["verdict"]


def test_what_keeps_tls_clients_away(matters: Path) -> None:
    assert explained(matters, "https://first.tls.test:8443/")["verdict"].startswith("200: ")
    other = explained(matters, "https://other.tls.test:8443/")
    assert other["verdict"].endswith(
        "the certificate is for first.tls.test, not for other.tls.test: browsers warn of it"
    )
    plain = explained(matters, "https://plain.tls.test:8443/")
    assert (plain["status"], "certificate of first.tls.test" in plain["verdict"]) == (421, True)
    clear = explained(matters, "http://plain.tls.test:8443/")
    assert (clear["status"], clear["verdict"][:5]) == (400, "400: ")
    (matters.parent / "first.key").unlink()
    broken = explained(matters, "https://first.tls.test:8443/")
    assert broken["verdict"].startswith("the TLS handshake fails: ")
    assert broken["causes"][0]["declared"] == line_of(matters, "SSLCertificateKeyFile")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://x.test:81/", "connection refused: nothing listens on port 81; listening: "),
        ("https://x.test:8080/", "the TLS handshake fails: SSLEngine is off here; use http:// instead"),
        ("http://x.test/", "connection refused: nothing listens on port 80"),
    ],
)
def test_a_connection_that_nobody_takes(matters: Path, url: str, says: str) -> None:
    found = explained(matters, url)
    assert found["status"] == 0
    assert found["verdict"].startswith(says)
    assert "status        none" in run(matters, url).stdout


@pytest.mark.parametrize("where", ["RewriteRule ^/(a+)+$ -", '<If "%{REQUEST_URI} =~ m#^/(a+)+$#">\n</If>'])
def test_a_pattern_that_runs_away_is_the_cause(world: World, where: str) -> None:
    root = world.site("patterns", ALICE)
    lines = f'<VirtualHost *:8080>\nServerName a.test\nDocumentRoot {root}\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
    config = world.server(f"Listen 8080\n{lines}RewriteEngine on\n{where}\n</VirtualHost>\n", start=False).config
    result = run(config, f"http://a.test:8080/{'a' * 60}!")
    assert "500" in result.stdout
    line = config.read_text().splitlines().index(where.splitlines()[0]) + 1
    assert f"{config}:{line}: the regular expression" in " ".join(result.stdout.split())
    assert "a bug in Ownhost" not in result.output
