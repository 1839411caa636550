"""Owners' programs while we measure: a PHP and a WSGI hello for each, and every server's configuration for them."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from string import Template

from servers import APACHE_COMMAND, NGINX_COMMAND, OWNHOST, Configure, Peer, Program
from sites import ALICE, APACHE_MODULES, BOB, MODULES, NGINX_CONF, NGINX_SERVER, SERVER, USERS, Owner

# With accounts: mod_wsgi wants them.
OWNERS = tuple(Owner(o.host, pwd.getpwnam(user).pw_uid) for o, user in zip((ALICE, BOB), USERS, strict=True))
PROCESSES = 4  # of a WSGI application, each taking one request at a time
HELLO_PHP = """<?php
header('Content-Type: text/plain');
echo posix_getuid(), "\\nhello\\n";
"""
HELLO_WSGI = """import os

def application(environ, start_response):
    body = b"%d\\nhello\\n" % os.getuid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
MOD_PHP = {**MODULES, "php_module": "libphp8.2.so"}
MOD_WSGI = {name: file for name, file in MODULES.items() if "mpm" not in name} | {
    "mpm_event_module": "mod_mpm_event.so",
    "wsgi_module": "mod_wsgi.so",
}

TO_PHP = Template(
    r"""location ~ \.php$$ {
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $$document_root$$fastcgi_script_name;
            fastcgi_pass "unix:$run/$host.socket";
        }"""
)
TO_WSGI = Template(
    """location /wsgi {
            include /etc/nginx/uwsgi_params;
            uwsgi_pass "unix:$run/$host.socket";
        }"""
)
FPM_POOL = Template(
    """\
[$host]
user = $id
group = $id
listen = $run/$host.socket
listen.owner = www-data
listen.group = www-data
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
"""
)
UWSGI = Template(
    """\
[uwsgi]
plugins = python3
uid = $id
gid = $id
socket = $run/$host.socket
chown-socket = www-data:www-data
wsgi-file = $sites/$host/hello.wsgi
master = true
processes = $processes
die-on-term = true
disable-logging = true
logto = $run/uwsgi.log
"""
)
VIRTUAL_HOST = Template(
    """
$outside
<VirtualHost 127.0.0.1:$port>
    ServerName $host
    DocumentRoot "$sites/$host"
    CustomLog "$run/$host.log" combined
    $inside
</VirtualHost>
"""
)
ASSIGN = 'AssignUserID "#$id" "#$id"'
WITH_PHP = """<FilesMatch "\\.php$$">
        SetHandler application/x-httpd-php
    </FilesMatch>"""
DAEMON = """WSGISocketPrefix "$run/wsgi"
WSGIDaemonProcess $host user=#$id group=#$id processes=$processes threads=1 home=$sites/$host"""
WITH_WSGI = """WSGIProcessGroup $host
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /wsgi "$sites/$host/hello.wsgi\""""


@dataclass(frozen=True)
class Kind:
    """A way to write programs: what is asked for, and who is compared. Ownhost is the last."""

    name: str
    path: str
    peers: tuple[Peer, ...]


def make_programs(sites: Path) -> None:
    """Make every owner's folder, with the programs in it: readable for all, as mod_wsgi wants it."""
    sites.mkdir(mode=0o755)
    for owner in OWNERS:
        folder = sites / owner.host
        folder.mkdir(mode=0o755)
        for name, text in (("hello.php", HELLO_PHP), ("hello.wsgi", HELLO_WSGI)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o644)
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.id, owner.id)


def _like_apache(modules: dict[str, str], outside: str, inside: str) -> Configure:
    """Apache's configuration, with something outside and inside of each virtual host."""

    def configure(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
        run.mkdir(mode=0o755)
        (run / "mime.types").write_text("text/plain txt\n")
        loads = "\n".join(f"LoadModule {name} {APACHE_MODULES / file}" for name, file in modules.items())
        text = SERVER.substitute(run=run, sites=sites, port=port, modules=loads)
        for owner in OWNERS:
            words = _words(run, sites, port, owner)
            parts = {"outside": Template(outside).substitute(words), "inside": Template(inside).substitute(words)}
            text += VIRTUAL_HOST.substitute(words, **parts)
        return (_write(run / "server.conf", text),)

    return configure


def _behind_nginx(location: Template) -> Configure:
    """nginx, in front of a socket for each owner."""

    def configure(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
        run.mkdir(mode=0o755)
        servers = ""
        for owner in OWNERS:
            words = _words(run, sites, port, owner)
            servers += NGINX_SERVER.substitute(words, location=location.substitute(words))
        return (_write(run / "nginx.conf", NGINX_CONF.substitute(run=run, servers=servers)),)

    return configure


def _nginx_and_fpm(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
    nginx = _behind_nginx(TO_PHP)(run, sites, port)
    pools = "".join(FPM_POOL.substitute(_words(run, sites, port, owner)) for owner in OWNERS)
    return *nginx, _write(run / "fpm.conf", f"[global]\nerror_log = {run}/fpm.log\n{pools}")


def _nginx_and_uwsgi(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
    nginx = _behind_nginx(TO_WSGI)(run, sites, port)
    owners = (_write(run / f"{o.host}.ini", UWSGI.substitute(_words(run, sites, port, o))) for o in OWNERS)
    return *nginx, *owners


def _words(run: Path, sites: Path, port: int, owner: Owner) -> dict[str, object]:
    return {"run": run, "sites": sites, "port": port, "host": owner.host, "id": owner.id, "processes": PROCESSES}


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


_UWSGI = ("/usr/bin/uwsgi", "--ini")
_FPM = ("/usr/sbin/php-fpm8.2", "--nodaemonize", "--fpm-config")
KINDS = (
    Kind(
        "PHP hello",
        "/hello.php",
        (
            Peer(
                Program("mpm_itk + mod_php", (APACHE_COMMAND,)), _like_apache(MOD_PHP, "", f"{ASSIGN}\n    {WITH_PHP}")
            ),
            Peer(Program("nginx + php-fpm", (NGINX_COMMAND, _FPM)), _nginx_and_fpm),
            Peer(OWNHOST, _like_apache(MOD_PHP, "", f"{ASSIGN}\n    {WITH_PHP}")),
        ),
    ),
    Kind(
        "WSGI hello",
        "/wsgi",
        (
            Peer(Program("Apache event + mod_wsgi", (APACHE_COMMAND,)), _like_apache(MOD_WSGI, DAEMON, WITH_WSGI)),
            Peer(Program("nginx + uWSGI", (NGINX_COMMAND, *(_UWSGI for _ in OWNERS))), _nginx_and_uwsgi),
            Peer(OWNHOST, _like_apache(MOD_WSGI, DAEMON, f"{ASSIGN}\n    {WITH_WSGI}")),
        ),
    ),
)
