"""Where other programs read Apache's words, ours are the same, at the same level: asked of both, and of fail2ban."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ALICE, World
from oracle.servers import APACHE, MODULES
from waiting import eventually

LOADED = "mpm_prefork mpm_itk access_compat actions alias auth_basic authn_core authn_file authz_core authz_groupfile "
LOADED += "authz_host authz_owner authz_user autoindex cgi dir env headers mime"
LOADED += " proxy proxy_fcgi rewrite setenvif"
LINE = re.compile(
    r"\[[^\]]+\] \[(?P<module>\w+):(?P<level>\w+)\] \[pid [^\]]+\] (?:\(\d+\)[^:]+: )?\[client [\d.]+:(?P<port>\d+)\] "
    r"(?P<text>.*)"
)
CAUSE = re.compile(r"(?<=Could not open )(\w+ file: [^:]+): .*")  # which Apache says before the client
FILTERS = Path("/etc/fail2ban/filter.d")
CONFIGURATION = """\
ServerName server.test
ServerRoot @WORLD@
Listen 127.0.0.1:@PORT@
PidFile @OWN@/pid
ErrorLog @OWN@/error.log
LogLevel info
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
CustomLog @OWN@/access.log combined
TypesConfig /etc/mime.types
User www-data
Group www-data
ExtendedStatus On
LimitRequestLine 1000
LimitRequestFieldSize 1000
LimitRequestFields 10
<Directory />
AllowOverride None
Require all granted
</Directory>
<VirtualHost *:@PORT@>
ServerName crowded.test
DocumentRoot @ROOT@
AssignUserID "#50001" "#50001"
MaxClientsVHost 1
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName site.test
DocumentRoot @ROOT@
AssignUserID "#50001" "#50001"
<Directory @ROOT@>
Options FollowSymLinks
DirectoryIndex index.html
</Directory>
<Directory @ROOT@/cgi>
Options +ExecCGI
</Directory>
<Directory @ROOT@/links>
Options -FollowSymLinks
</Directory>
AddHandler cgi-script .cgi
<FilesMatch \\.php$>
SetHandler application/x-httpd-php
</FilesMatch>
php_admin_flag log_errors on
php_admin_flag display_errors off
php_admin_value error_reporting 32767
<Location /denied>
Require all denied
</Location>
<Location /compat>
Order deny,allow
Deny from all
</Location>
<LocationMatch "^/(login|wrong)">
AuthType Basic
AuthName login
AuthUserFile @ROOT@/.users
AuthGroupFile @ROOT@/.groups
Require user one
</LocationMatch>
<Location /login/group>
Require group makers
</Location>
<Location /login/no-group>
AuthGroupFile @ROOT@/.none
Require group makers
</Location>
<Location /login/owner>
Require file-owner
</Location>
<Location /login/any>
Require valid-user
</Location>
<Location /wrong/file>
AuthUserFile @ROOT@/.none
</Location>
<Location /wrong/type>
AuthType %{HTTP:X-Type}
</Location>
<Location /wrong/none>
AuthType None
</Location>
<Location /body>
LimitRequestBody 10
</Location>
RewriteEngine On
RewriteRule ^/forbidden - [F]
<Directory @ROOT@/loop>
RewriteEngine On
RewriteRule ^(.*)$ /loop/$1x [L]
</Directory>
</VirtualHost>
"""
FILES: dict[str, str | bytes] = {
    "index.html": "here",
    "a.txt": "a",
    "no.txt": "secret",
    "denied/x": "x",
    **dict.fromkeys(("login/x", "login/group", "login/no-group", "login/owner", "login/any"), "x"),
    ".users": "one:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\ntwo:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
    ".groups": "makers: one\n",
    "compat/x": "x",
    "empty/x": "x",
    "loop/x": "x",
    "links/x": "x",
    "body/x.txt": "x",
    "plain/a.cgi": "#!/bin/sh\n",
    "cgi/ok.cgi": "#!/bin/sh\nprintf 'one\\ntwo \\003\\\\ x\\nthree' >&2\nprintf 'Content-Type: text/plain\\n\\nx'\n",
    "cgi/long.cgi": "#!/usr/bin/python3\nimport sys\nsys.stderr.write('\\nbehind one')\nprint('A: b\\n\\nx')\n",
    "cgi/bad.cgi": "#!/bin/sh\necho nonsense\necho more\n",
    "cgi/none.cgi": "#!/bin/sh\n",
    "cgi/gone.cgi": "#!/no/such/interpreter\n",
    "log.php": "<?php error_log('one message'); echo 'x';",
    "many.php": "<?php error_log(\"two\\nlines\\x03\\\\\"); error_log('b'); trigger_error('w', E_USER_WARNING);"
    "trigger_error('n'); trigger_error('d', E_USER_DEPRECATED); trigger_error('e', E_USER_ERROR);",
    "uncaught.php": "<?php function f() { throw new Exception('boo'); } f();",
    "broken.php": "<?php if (",
}
HOST = b"Host: site.test\r\nConnection: close\r\n"


def get(path: str, fields: bytes = b"", method: str = "GET", body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + fields + HOST + b"\r\n" + body


def named(path: str, name: str, fields: bytes = b"") -> bytes:
    return get(path, b"Authorization: Basic " + base64.b64encode(name.encode()) + b"\r\n" + fields)


REQUESTS = {
    "no name": get("/login/x"),
    "a user": named("/login/x", "one:secret"),
    "a wrong password": named("/login/x", "one:wrong"),
    "no such user": named("/login/x", "th ree:secret"),
    "another user": named("/login/x", "two:secret"),
    "another scheme": get("/login/x", b"Authorization: Bearer x\r\n"),
    "a group": named("/login/group", "one:secret"),
    "another group": named("/login/group", "two:secret"),
    "no file of groups": named("/login/no-group", "one:secret"),
    "another's file": named("/login/owner", "one:secret"),
    "any user": named("/login/any", "two:secret"),
    "no file of users": named("/wrong/file", "one:secret"),
    "no such type": named("/wrong/type", "one:secret", b"X-Type: Other\r\n"),
    "no type": named("/wrong/none", "one:secret"),
    "missing": get("/none.html"),
    "missing, from a page": get("/none.html", b"Referer: http://r.test/x\r\n"),
    "missing PHP": get("/wp-login.php"),
    "missing CGI": get("/cgi/none2.cgi"),
    "missing home": get("/~user/x"),
    "a path behind a file": get("/a.txt/more"),
    "unreadable": get("/no.txt"),
    "Require": get("/denied/x"),
    "Deny": get("/compat/x"),
    "a link": get("/links/l"),
    "a link to nowhere": get("/dangling"),
    "no index": get("/empty/"),
    "no ExecCGI": get("/plain/a.cgi"),
    "what a program complains of": get("/cgi/ok.cgi"),
    "an empty line": get("/cgi/long.cgi"),
    "no head": get("/cgi/bad.cgi"),
    "nothing": get("/cgi/none.cgi"),
    "error_log()": get("/log.php", b"Referer: http://r.test/x\r\n"),
    "errors of PHP": get("/many.php"),
    "an exception": get("/uncaught.php"),
    "a parse error": get("/broken.php"),
    "forbidden by a rule": get("/forbidden"),
    "a method": get("/a.txt", method="FOO"),
    "a method in small letters": get("/a.txt", method="get"),
    "above the root": get("/../../etc/passwd"),
    "above the root, escaped": get("/%2e%2e/%2e%2e/etc/passwd"),
    "a bad escape": get("/%zz"),
    "an escaped slash": get("/a%2fb"),
    "a long line": get("/" + "a" * 2_000),
    "a long field": get("/", b"X: " + b"a" * 2_000 + b"\r\n"),
    "many fields": get("/", b"X: a\r\n" * 20),
    "an expectation": get("/", b"Expect: foo\r\n"),
    "a large body": get("/body/x.txt", b"Content-Length: 20\r\n", "POST", b"x" * 20),
    "a bad bot": get("/", b"User-Agent: Jorgee\r\n"),
}
# Stock filters of fail2ban, and how many of the lines above each reads as an attack.
COUNTS = {
    "apache-auth.conf": 11,
    "apache-badbots.conf": 1,
    "apache-botsearch[webroot=@ROOT@/]": 1,
    "apache-nohome.conf": 1,
    "apache-noscript.conf": 1,
    "apache-overflows.conf": 2,
    "apache-shellshock.conf": 0,
}


@dataclass
class Said:
    """One server's logs, and the ports from which it was asked."""

    folder: Path
    ports: dict[str, int]

    def lines(self, name: str) -> list[tuple[str, str, str]]:
        """Module, level and text of each line about a request."""
        found = (LINE.fullmatch(line) for line in (self.folder / "error.log").read_text().splitlines())
        return [
            (line["module"], line["level"], CAUSE.sub(r"\1", line["text"]))
            for line in found
            if line is not None and int(line["port"]) == self.ports[name]
        ]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Said, Said]]:
    """What Apache and Ownhost have said of the requests above."""
    assert os.geteuid() == 0, "these tests start real servers: run them as root (sudo ./scripts/test)"
    world = World()
    try:
        root = world.site("site", ALICE, FILES, mode=0o755)
        (root / "links/l").symlink_to(root / "a.txt")
        (root / "dangling").symlink_to(root / "nowhere")
        os.chown(root / "no.txt", 0, 0)
        shutil.chown(root / "login/owner", "www-data")
        (root / "login/owner").chmod(0o644)
        (root / "no.txt").chmod(0o600)
        yield _apache(world, root), _ownhost(world, root)
    finally:
        world.close()


def _configuration(world: World, name: str, root: Path) -> tuple[Path, str]:
    own = world.folder / name
    own.mkdir()
    text = CONFIGURATION.replace("@OWN@", str(own)).replace("@ROOT@", str(root)).replace("@WORLD@", str(world.folder))
    return own, text


def _ownhost(world: World, root: Path) -> Said:
    own, text = _configuration(world, "ownhost", root)
    server = world.server(text, preamble=False)
    said = Said(own, _ask(server.port))
    eventually(lambda: "refusing client" in (own / "error.log").read_text())
    eventually(lambda: "Jorgee" in (own / "access.log").read_text())
    server.stop()
    return said


def _apache(world: World, root: Path) -> Said:
    own, text = _configuration(world, "apache", root)
    port = _free_port()
    modules = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED.split() if name != "mpm_itk"]
    modules += [f"LoadModule mpm_itk_module {MODULES}/mpm_itk.so", f"LoadModule php_module {MODULES}/libphp8.2.so"]
    (own / "main.conf").write_text("\n".join((*modules, text.replace("@PORT@", str(port)))))
    process = subprocess.Popen(
        [APACHE, "-f", own / "main.conf", "-DFOREGROUND"], stdin=subprocess.DEVNULL, process_group=0
    )
    try:
        eventually(lambda: process.poll() is not None or _listens(port), 20)
        return Said(own, _ask(port))
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _ask(port: int) -> dict[str, int]:
    """Send each request on a connection of its own, and one beside another to the crowded site; the ports used."""
    ports = {}
    for name, data in REQUESTS.items():
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            ports[name] = sock.getsockname()[1]
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                while sock.recv(65_536):
                    pass
    crowded = b"GET / HTTP/1.1\r\nHost: crowded.test\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.sendall(crowded)
        assert one.recv(65_536)
        with socket.create_connection(("127.0.0.1", port), 10) as two:
            two.sendall(crowded)
            assert b" 503 " in two.recv(65_536)
    return ports


@pytest.mark.parametrize("name", REQUESTS)
def test_the_words_are_apaches(both: tuple[Said, Said], name: str) -> None:
    theirs, ours = (said.lines(name) for said in both)
    assert ours == theirs


def test_a_crowded_virtual_host(both: tuple[Said, Said]) -> None:
    for said in both:
        text = (said.folder / "error.log").read_text()
        assert re.search(r"\[mpm_itk:warn\] .*MaxClientsVhost reached for crowded\.test:\d+, refusing client\.", text)


def matched(log: Path, filter_: str) -> int:
    """How many lines a filter of fail2ban matches."""
    done = subprocess.run(["fail2ban-regex", log, filter_], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) matched", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1])


@pytest.mark.parametrize("name", COUNTS)
def test_stock_filters_of_fail2ban(both: tuple[Said, Said], name: str) -> None:
    logs = "access.log" if name == "apache-badbots.conf" else "error.log"
    root = both[0].folder.parent / "site"
    filter_ = name.replace("@ROOT@", str(root)) if "[" in name else str(FILTERS / name)
    theirs, ours = (matched(said.folder / logs, filter_) for said in both)
    assert (theirs, ours) == (COUNTS[name], COUNTS[name])
