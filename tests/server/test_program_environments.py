"""What programs find in their environment: who they are, and nothing of what the server was started with."""

from __future__ import annotations

import json
import pwd

import pytest

from harness import ALICE, Server, World
from ownhost.identity.daemon_environment import PATH

SECRET = "OWNHOST_TEST_SECRET"
WSGI = """
import json, os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(dict(os.environ)).encode()]
"""
PHP = """<?php
$names = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'OWNHOST_TEST_SECRET'];
echo json_encode(array_filter(array_combine($names, array_map('getenv', $names)), 'is_string'));
"""
CGI = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n/usr/bin/env\n"
FILES: dict[str, str | bytes] = {"app.wsgi": WSGI, "env.php": PHP, "env.cgi": CGI}
SAID = """
WSGIDaemonProcess site lang=de_DE.UTF-8
WSGIScriptAlias /app {root}/app.wsgi process-group=site
AddHandler application/x-httpd-php .php
<Directory {root}>
    Options +ExecCGI
    AddHandler cgi-script .cgi
</Directory>
"""


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Server:
    """games has an account; alice is a number. The server's own environment has a secret in it."""
    monkeypatch.setenv(SECRET, "root's")
    hosts = []
    for name, uid in (("games", pwd.getpwnam("games").pw_uid), ("alice", ALICE)):
        hosts.append(world.virtual_host(name, uid, SAID.format(root=world.folder / name), FILES))
    return world.server("".join(hosts))


def told(server: Server, host: str, path: str) -> dict[str, str]:
    response = server.get(f"{host}.test", path)
    assert response.status == 200, server.log()
    return dict(json.loads(response.content))


@pytest.mark.parametrize(("path", "lang"), [("/app", "de_DE.UTF-8"), ("/env.php", "C.UTF-8")])
def test_processes_that_stay_know_who_they_are(server: Server, path: str, lang: str) -> None:
    games = pwd.getpwnam("games")
    found = told(server, "games", path)
    found.pop("LC_CTYPE", None)  # Python's own doing
    assert found == {"PATH": PATH, "HOME": games.pw_dir, "USER": "games", "LOGNAME": "games", "LANG": lang}
    assert told(server, "alice", path).items() >= {"PATH": PATH, "HOME": "/", "LANG": lang}.items()
    assert "USER" not in told(server, "alice", path)


def test_a_cgi_program_finds_what_cgi_says_and_a_path(server: Server) -> None:
    lines = server.get("games.test", "/env.cgi").content.decode().splitlines()
    assert f"PATH={PATH}" in lines
    assert not [line for line in lines if line.startswith((SECRET, "HOME=", "USER=", "LANG="))]
