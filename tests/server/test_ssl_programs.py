"""What real programs of an owner are told of TLS by the real server: PHP and WSGI, and FakeBasicAuth's user."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from harness import ALICE, Server, World
from issuing import Authority, make_authority

NAMES = ("HTTPS", "SSL_TLS_SNI", "SSL_CLIENT_S_DN_OU_1", "SSL_CLIENT_CERT", "REMOTE_USER", "wsgi.url_scheme")
PHP = (
    f"<?php $names = {json.dumps(NAMES)}; $told = []; foreach ($names as $name) $told[$name] = $_SERVER[$name] ?? null;"
)
PHP += "$told['user'] = $_SERVER['PHP_AUTH_USER'] ?? null; echo json_encode($told);"
WSGI = f"""
import json

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {{name: environ.get(name) for name in {NAMES}}}
    told["user"] = environ.get("HTTP_AUTHORIZATION")
    return [json.dumps(told).encode()]
"""
EXTRA = """\
SSLEngine on
SSLCertificateFile @DIR@/keys/site.pem
SSLCertificateKeyFile @DIR@/keys/site.key
SSLCACertificateFile @DIR@/keys/root.pem
SSLVerifyDepth 3
<FilesMatch "\\.php$">
SetHandler application/x-httpd-php
</FilesMatch>
WSGIDaemonProcess site
WSGIScriptAlias /app @DIR@/alice/app.wsgi process-group=site
<LocationMatch "^/(app|told)">
SSLVerifyClient require
SSLOptions +StdEnvVars +ExportCertData
SSLUserName SSL_CLIENT_S_DN_UID
</LocationMatch>
<Location /fake.php>
SSLOptions +FakeBasicAuth
CGIPassAuth On
</Location>
Redirect /old /new
Header always set Strict-Transport-Security max-age=1 env=HTTPS
"""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Server, Authority]]:
    world = World()
    try:
        authority = make_authority(world.folder / "keys")
        authority.issue("alice")
        authority.self_signed("site", "alice.test")
        files: dict[str, str | bytes] = {"app.wsgi": WSGI, "told.php": PHP, "fake.php": PHP, "index.html": "here\n"}
        yield world.server(world.virtual_host("alice", ALICE, EXTRA, files)), authority
    finally:
        world.close()


def curl(served: tuple[Server, Authority], path: str, *arguments: str, certificate: bool = True) -> str:
    """What curl prints of alice.test's answer."""
    server, authority = served
    command = [
        "curl",
        "-sS",
        "--cacert",
        str(authority.pem("site")),
        "--resolve",
        f"alice.test:{server.port}:127.0.0.1",
    ]
    if certificate:
        command += ["--cert", str(authority.pem("alice-chain")), "--key", str(authority.key("alice"))]
    done = subprocess.run(
        [*command, *map(str, arguments), f"https://alice.test:{server.port}{path}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("path", ["/told.php", "/app"])
def test_programs_know_who_the_client_is(served: tuple[Server, Authority], path: str) -> None:
    told = json.loads(curl(served, path))
    assert told["HTTPS"] == "on"
    assert told["SSL_TLS_SNI"] == "alice.test"
    assert told["SSL_CLIENT_CERT"] == served[1].pem("alice").read_text()
    assert told["REMOTE_USER"] == "al"
    if path == "/app":  # PEP 3333: bytes as ISO 8859-1
        assert told["SSL_CLIENT_S_DN_OU_1"].encode("latin-1").decode() == "Zw\u00e9i \u2713"
        assert told["wsgi.url_scheme"] == "https"
    else:
        assert told["SSL_CLIENT_S_DN_OU_1"] == "Zw\u00e9i \u2713"
    refused = curl(served, path, "-o", "/dev/null", "-w", "%{http_code}", certificate=False)
    assert refused == "403"


def test_a_certificate_is_a_user(served: tuple[Server, Authority]) -> None:
    assert json.loads(curl(served, "/fake.php"))["user"].startswith("/C=DE/O=Ex, ample")
    assert json.loads(curl(served, "/fake.php", certificate=False))["user"] is None
    forged = curl(served, "/fake.php", "-u", "/C=DE/O=x:password", "-o", "/dev/null", "-w", "%{http_code}")
    assert forged == "403"


def test_redirects_and_hsts(served: tuple[Server, Authority]) -> None:
    head = curl(served, "/old", "-i", certificate=False)
    assert f"\nLocation: https://alice.test:{served[0].port}/new" in head
    for _ in range(2):
        assert "\nStrict-Transport-Security: max-age=1" in curl(served, "/", "-i", certificate=False)
