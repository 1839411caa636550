"""What `ownhost explain` says comes true: each situation is explained, then asked of the real server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import ALICE, BOB, WWW, Answer, Server, World
from ownhost.admin.cli import main
from ownhost.modules import mod_php

CGI = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u\n"
ALICES: dict[str, str | bytes] = {
    "index.html": "index of alice\n",
    "a.html": "a of alice\n",
    "404.html": "nothing here\n",
    "secret.html": "not even for alice\n",
    "d/index.html": "index of d\n",
    "empty/x.txt": "x\n",
    "shut/x.html": "x\n",
    "hello.cgi": CGI,
    "dos.cgi": CGI.replace("\n", "\r\n", 1),
    "gone.cgi": CGI.replace("/bin/sh", "/bin/no-such-shell"),
    "env.cgi": CGI.replace("/bin/sh", "/usr/bin/env no-such-program"),
    "plain.cgi": CGI,
    "bare.cgi": b"\1\2\3\4",
    "uid.php": "<?php echo posix_geteuid();",
    "shut.php": "<?php echo 1;",
    "off/uid.php": "<?php echo 1;",
    "off/hello.cgi": CGI,
    "forced/a.txt": "text\n",
    "inner/front.html": "front\n",
    "wsgi/app.wsgi": "",
    "wsgi/shut.wsgi": "",
}
BODY = """\
AddHandler cgi-script .cgi
AddHandler application/x-httpd-php .php
AddType text/html .html
DirectoryIndex index.html
@ALICE@
@BOB@
<VirtualHost 127.0.0.1:@PORT@>
ServerName plain.test
DocumentRoot @DIR@/alice
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
ServerName nobody.test
DocumentRoot @DIR@/alice
AssignUserID no-such-user "#50001"
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
ServerName root.test
DocumentRoot @DIR@/alice
AssignUserID root root
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
ServerName faulty.test
DocumentRoot @DIR@/alice
AssignUserID "#50001" "#50001"
KeepAlive perhaps
NoSuchDirective on
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
ServerName nowhere.test
DocumentRoot @DIR@/no/such/folder
</VirtualHost>
"""
ALICES_HOST = """\
ErrorDocument 404 /404.html
<Directory @DIR@/alice>
    Options +ExecCGI
</Directory>
<Directory @DIR@/alice/off>
    Options -ExecCGI
    php_admin_flag engine off
</Directory>
<Directory @DIR@/alice/inner>
    RewriteEngine on
    RewriteCond %{REQUEST_URI} !front
    RewriteRule ^(?!round) /inner/front.html
    RewriteRule ^round(.*) /inner/round$1x
</Directory>
<Location /ten>
    Require ip 10.0.0.0/8
</Location>
<Location /not-me>
    <RequireAll>
        Require all granted
        Require not ip 127.0.0.1
    </RequireAll>
</Location>
<Location /post>
    Require method POST
</Location>
<Location /old-style>
    Order Deny,Allow
    Deny from all
    Allow from 10.0.0.1
</Location>
<Location /old-style-open>
    Order Allow,Deny
    Allow from 127.0.0.1
</Location>
<Files forbidden.html>
    Require all denied
</Files>
<Location /forced>
    SetHandler cgi-script
</Location>
<Location /static>
    SetHandler cgi-script
    <If "true">
        SetHandler none
    </If>
</Location>
<Location /lua>
    SetHandler lua-script
</Location>
<Location /nobodys>
    SetHandler nobodys
</Location>
AliasMatch ^/(?:lua|nobodys)/(.*) @DIR@/alice/$1
Alias /static @DIR@/alice
Redirect permanent /old http://alice.test:@PORT@/a.html
Redirect /l1 http://alice.test:@PORT@/l2
Redirect /l2 http://alice.test:@PORT@/l1
Redirect gone /gone
RewriteEngine on
RewriteRule ^/rewritten$ /a.html
RewriteRule ^/sent$ /a.html [R=307]
RewriteRule ^/no$ - [F]
ProxyPass /dead unix:@DIR@/alice/none.sock|http://localhost/
WSGIScriptAlias /wsgi @DIR@/alice/wsgi/app.wsgi
WSGIScriptAlias /wsgi-shut @DIR@/alice/wsgi/shut.wsgi
"""
BOBS_HOST = """\
<Files hers.cgi>
    AssignUserID "#50001" "#50001"
</Files>
"""
APPLICATION = """\
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.geteuid()).encode()]
"""


@dataclass(frozen=True)
class Case:
    """A request, and what is expected of both: status, and what the verdict or a cause says."""

    host: str
    path: str
    status: int
    says: str
    method: str = "GET"
    fields: dict[str, str] = field(default_factory=dict)
    uid: int = ALICE


CASES = [
    Case("alice.test", "/a.html", 200, "/alice/a.html is sent as #50001, text/html"),
    Case("alice.test", "/", 200, "/alice/index.html is sent"),
    Case("alice.test", "/d/", 200, "/alice/d/index.html is sent"),
    Case("alice.test", "/d", 301, "the request has no slash at its end"),
    Case("alice.test", "/empty/", 403, "has no index.html, and no listing is made"),
    Case("alice.test", "/none.html", 404, "/alice/none.html does not exist"),
    Case("alice.test", "/A.html", 404, "did you mean that?"),
    Case("alice.test", "/none.html", 404, "the page is ErrorDocument /404.html"),
    Case("alice.test", "/secret.html", 403, "secret.html is 0000 #50001:#50001; #50001 (uid 50001, gid 50001) may not"),
    Case("alice.test", "/shut/x.html", 403, "chmod u+x "),
    Case("alice.test", "/bobs/index.html", 403, "/bob is 0700 #50002:#50002; #50001 (uid 50001"),
    Case("alice.test", "/ten/", 403, "Require ip 10.0.0.0/8: no, the client is 127.0.0.1"),
    Case("alice.test", "/not-me", 403, "Require not ip 127.0.0.1: no"),
    Case("alice.test", "/post", 403, "Require method POST: no, the method is GET"),
    Case("alice.test", "/old-style", 403, "Deny from all: no"),
    Case("alice.test", "/old-style-open", 404, "/alice/old-style-open does not exist"),
    Case("alice.test", "/forbidden.html", 403, "Require all denied: no"),
    Case("alice.test", "/old", 301, "Redirect permanent /old"),
    Case("alice.test", "/l1", 302, "leads back to itself after 2 redirects"),
    Case("alice.test", "/gone", 410, "is answered so by Redirect"),
    Case("alice.test", "/rewritten", 200, "/alice/a.html is sent"),
    Case("alice.test", "/sent", 307, "RewriteRule ^/sent$ /a.html [R=307]"),
    Case("alice.test", "/no", 403, "RewriteRule ^/no$ - [F]"),
    Case("alice.test", "/inner/x", 200, "/alice/inner/front.html is sent"),
    Case("alice.test", "/inner/round", 500, "the rules lead to themselves"),
    Case("alice.test", "/off/hello.cgi", 403, "Options ExecCGI is off for"),
    Case("alice.test", "/hello.cgi", 200, "a CGI program answers, as #50001"),
    Case("alice.test", "/dos.cgi", 500, "end as on Windows"),
    Case("alice.test", "/gone.cgi", 500, "its interpreter /bin/no-such-shell does not exist"),
    Case("alice.test", "/env.cgi", 500, "/usr/bin/env finds no no-such-program"),
    Case("alice.test", "/plain.cgi", 500, "may not run it"),
    Case("alice.test", "/bare.cgi", 500, "neither a binary nor begins with #!"),
    Case("alice.test", "/forced/a.txt", 500, "may not run it"),
    Case("alice.test", "/static/a.html", 200, "/alice/a.html is sent"),
    Case("alice.test", "/uid.php", 200, "PHP answers, as #50001"),
    Case("alice.test", "/off/uid.php", 403, "PHP's engine is off for"),
    Case("alice.test", "/lua/a.html", 500, "there is no handler lua-script here"),
    Case("alice.test", "/nobodys/a.html", 200, "/alice/a.html is sent"),
    Case("alice.test", "/shut.php", 403, "shut.php is 0000"),
    Case("alice.test", "/none.php", 404, "none.php does not exist"),
    Case("alice.test", "/dead/x", 503, "there is no socket"),
    Case("alice.test", "/wsgi/x", 200, "a WSGI application answers, as #50001"),
    Case("alice.test", "/wsgi-shut", 500, "shut.wsgi is 0000"),
    Case("alice.test", "/a.html", 405, "does not accept the DELETE method", method="DELETE"),
    Case("alice.test", "/a.html", 304, "still valid", fields={"If-None-Match": "*"}),
    Case("alice.test", "/a.html", 206, "a part of", fields={"Range": "bytes=0-1"}),
    Case("bob.test", "/", 200, "/bob/index.html is sent as #50002", uid=BOB),
    Case("bob.test", "/hers.cgi", 403, "#50001 may not enter", uid=ALICE),
    Case("bob.test", "/hers.cgi/more", 403, "#50001 may not enter", uid=ALICE),
    Case("plain.test", "/a.html", 403, 'serve it as #50001: AssignUserID "#50001" "#50001"; or `chmod o+x ', uid=WWW),
    Case("nobody.test", "/", 500, "there is no user named 'no-such-user'"),
    Case("root.test", "/", 500, "LimitUIDRange"),
    Case("faulty.test", "/", 500, "500: its virtual host has an error in it: KeepAlive: expected On or Off"),
    Case("faulty.test", "/", 500, "unknown directive NoSuchDirective"),
    Case("nowhere.test", "/x", 404, "/no does not exist", uid=WWW),
    Case("other.test", "/", 200, "/alice/index.html is sent"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    world = World()
    try:
        hosts = {
            "@ALICE@": world.virtual_host("alice", ALICE, ALICES_HOST, ALICES),
            "@BOB@": world.virtual_host("bob", BOB, BOBS_HOST, {"index.html": "bob\n", "hers.cgi": CGI}),
        }
        root = world.folder / "alice"
        (root / "wsgi" / "app.wsgi").write_text(APPLICATION)
        (root / "bobs").symlink_to(world.folder / "bob")
        for name, mode in (
            ("secret.html", 0),
            ("shut", 0),
            ("plain.cgi", 0o600),
            ("shut.php", 0),
            ("wsgi/shut.wsgi", 0),
        ):
            (root / name).chmod(mode)
        (root / "bare.cgi").chmod(0o700)
        body = BODY
        for mark, text in hosts.items():
            body = body.replace(mark, text)
        yield world.server(body)
    finally:
        world.close()


def explained(server: Server, case: Case) -> dict[str, Any]:
    fields = [word for name, value in case.fields.items() for word in ("-H", f"{name}: {value}")]
    port = "" if ":" in case.host else f":{server.port}"
    url = f"http://{case.host}{port}{case.path}"
    command = ["explain", url, "-f", str(server.config), "--json", "--method", case.method, *fields]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def asked(server: Server, case: Case) -> Answer:
    client = server.client()
    try:
        host = f"{case.host}:{server.port}"
        client.request(case.method, case.path, headers={"Host": host, "Connection": "close", **case.fields})
        response = client.getresponse()
        response.whole()
        return response
    finally:
        client.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.host}{case.path} {case.status}")
def test_what_is_explained_is_what_is_answered(server: Server, case: Case) -> None:
    found = explained(server, case)
    response = asked(server, case)
    content: bytes = response.content
    assert (found["status"], response.status) == (case.status, case.status), found["verdict"]
    assert found["verdict"].startswith(str(case.status)), found["verdict"]
    assert found["location"] == (response.getheader("Location") or "")
    said = "\n".join([found["verdict"], *(f"{one['what']} | {one['fix']}" for one in found["causes"])])
    assert case.says.replace("@FILE@", str(server.config)) in said
    if "uid" in found["identity"]:
        assert found["identity"]["uid"] == case.uid
        assert any(process.uid == case.uid for process in server.processes("worker"))
    if found["program"] and not found["program"]["trouble"]:
        assert int(content) == case.uid
    elif response.status in (200, 206):
        file = Path(found["file"])
        assert file.read_bytes().startswith(content)
        assert (file.stat().st_uid, file.stat().st_mode & 0o077) == (case.uid, 0), "whoever read it is the owner"


def test_a_port_that_nobody_listens_on(server: Server) -> None:
    found = explained(server, Case("alice.test:9", "/", 0, ""))
    assert found["status"] == 0
    assert found["verdict"] == (f"connection refused: nothing listens on port 9; listening: 127.0.0.1:{server.port}")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9))


def test_every_cause_names_its_place(server: Server) -> None:
    found = explained(server, Case("alice.test", "/ten/", 403, ""))
    place = found["causes"][0]["declared"]
    file, line = place.rsplit(":", 1)
    assert Path(file).read_text().splitlines()[int(line) - 1].strip() == "Require ip 10.0.0.0/8"
    assert place in found["verdict"]


@pytest.mark.parametrize(
    ("asker", "host", "path", "status", "says"),
    [
        (BOB, "plain.test", "/a.html", 403, "as far as can be seen without root, 403: #50080 may not enter"),
        (BOB, "alice.test", "/a.html", 0, "not known without root: what is in "),
        (BOB, "alice.test", "/old", 301, "301 to http://alice.test"),
        (BOB, "bob.test", "/", 200, "200: "),
        (ALICE, "bob.test", "/", 0, "not known without root: what is in "),
        (ALICE, "plain.test", "/hello.cgi", 403, "as far as can be seen without root, 403: "),
        (ALICE, "alice.test", "/bobs/index.html", 403, "403: #50001 may not enter"),
        (WWW, "nowhere.test", "/x", 404, "/no does not exist"),
        (BOB, "nobody.test", "/", 500, "there is no user named"),
    ],
)
def test_without_root_it_says_what_it_could_not_see(
    server: Server, asker: int, host: str, path: str, status: int, says: str
) -> None:
    found = as_user(asker, lambda: explained(server, Case(host, path, status, says)))
    assert found["status"] == status, found["verdict"]
    assert says in found["verdict"]
    if asker in (found["identity"].get("uid"), None):
        assert found["certain"]


def as_user(uid: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What another user finds out."""
    work()  # as root, so that everything is imported that not everybody may read
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        with contextlib.suppress(BaseException), open(writing, "w") as pipe:
            json.dump(work(), pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return dict(json.loads(text))


def test_php_that_is_not_installed_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mod_php, "newest_server", lambda: "")
    found = explained(server, Case("alice.test", "/uid.php", 500, ""))
    assert found["status"] == 500
    assert "no php-fpm is installed" in found["verdict"]
