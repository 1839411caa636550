"""Files while we measure: one configuration for Apache and Ownhost, but for port and folder; nginx has its own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from servers import APACHE, NGINX, OWNHOST, Peer

FILE = "/file.txt"
LARGE, HUGE = "/100k.txt", "/10m.txt"
SIZES = {FILE: 1024, LARGE: 100 * 1024, HUGE: 10 * 1024 * 1024}  # bytes of the files that are asked for
APACHE_MODULES = Path("/usr/lib/apache2/modules")
MODULES = {
    "mpm_prefork_module": "mod_mpm_prefork.so",
    "mpm_itk_module": "mpm_itk.so",
    "authz_core_module": "mod_authz_core.so",
    "mime_module": "mod_mime.so",
    "dir_module": "mod_dir.so",
    "rewrite_module": "mod_rewrite.so",
    "remoteip_module": "mod_remoteip.so",
}


@dataclass(frozen=True)
class Owner:
    """Someone whose site is served; the uid and gid need no account."""

    host: str
    id: int


ALICE = Owner("alice.localhost", 50001)
BOB = Owner("bob.localhost", 50002)
IDLE = tuple(Owner(f"idle{number}.localhost", 50100 + number) for number in range(1, 21))
OWNERS = (ALICE, BOB, *IDLE)
SHARED = Owner("shared.localhost", 50003)  # where each user's folder is served as that user
USERS = ("games", "news")  # of Debian, with accounts and without rights

SERVER = Template(
    """\
ServerRoot "$run"
$modules
Listen 127.0.0.1:$port
Listen [::1]:$port
ServerName localhost
PidFile "$run/pid"
User www-data
Group www-data
TypesConfig "$run/mime.types"
ErrorLog "$run/error.log"
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
# Who comes from ::1 is a front proxy. Apache is told as much: without RemoteIPHeader that changes nothing there.
RemoteIPInternalProxy ::1

<Directory "/">
    AllowOverride None
    Require all denied
</Directory>
<Directory "$sites">
    AllowOverride None
    Options FollowSymLinks
    Require all granted
</Directory>
"""
)

VIRTUAL_HOST = Template(
    """
<VirtualHost 127.0.0.1:$port [::1]:$port>
    ServerName $host
    AssignUserID "#$id" "#$id"
    DocumentRoot "$sites/$host"
    CustomLog "$run/$host.log" combined
</VirtualHost>
"""
)

# mpm-itk's own example.
SHARED_HOST = Template(
    """
<VirtualHost 127.0.0.1:$port>
    ServerName $host
    DocumentRoot "$sites/$host"
    CustomLog "$run/$host.log" combined
    RewriteEngine on
    RewriteRule /~([a-z]+)/ - [E=ITKUID:$$1]
    AssignUserIDExpr %{reqenv:ITKUID}
</VirtualHost>
"""
)

NGINX_CONF = Template(
    """\
user www-data;
worker_processes auto;
pid "$run/nginx.pid";
error_log "$run/nginx-error.log";
events { worker_connections 768; }
http {
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    log_format owners '$$remote_addr - $$remote_user [$$time_local] "$$request" '
                      '$$status $$bytes_sent "$$http_referer" "$$http_user_agent"';
$servers
}
"""
)
NGINX_SERVER = Template(
    """\
    server {
        listen 127.0.0.1:$port;
        listen [::1]:$port;
        server_name $host;
        root "$sites/$host";
        access_log "$run/$host.log" owners;
        $location
    }
"""
)


def make_sites(sites: Path) -> None:
    """Make every owner's folder: mode 0700, files in it that begin with the owner's uid."""
    sites.mkdir(mode=0o755)
    for owner in OWNERS:
        _make_folder(sites / owner.host, owner.id, SIZES if owner is ALICE else (FILE,))
    for user in USERS:
        _make_folder(sites / SHARED.host / f"~{user}", pwd.getpwnam(user).pw_uid, (FILE,))


def _make_folder(folder: Path, uid: int, files: Iterable[str]) -> None:
    folder.mkdir(parents=True)
    for name in files:
        file = folder / name.lstrip("/")
        file.write_text(f"{uid}\n".ljust(SIZES[name], "."))
        os.chown(file, uid, uid)
        file.chmod(0o600)
    os.chown(folder, uid, uid)
    folder.chmod(0o700)


def readable_copy(run: Path, sites: Path) -> Path:
    """The owners' files once more, for nginx, which reads everybody's as one user. The folder's name."""
    copy = run / "sites"
    for owner in OWNERS:
        (copy / owner.host).mkdir(parents=True)
        for file in (sites / owner.host).iterdir():
            (copy / owner.host / file.name).write_bytes(file.read_bytes())
    return copy


def configure_nginx(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
    """nginx, with the settings for files that Debian's package has."""
    run.mkdir(mode=0o755)
    copy = readable_copy(run, sites)
    servers = "".join(
        NGINX_SERVER.substitute(run=run, sites=copy, port=port, host=owner.host, location="") for owner in OWNERS
    )
    file = run / "nginx.conf"
    file.write_text(NGINX_CONF.substitute(run=run, servers=servers))
    return (file,)


def configure(run: Path, sites: Path, port: int) -> tuple[Path, ...]:
    """Write the configuration of Apache or Ownhost into its own folder."""
    run.mkdir(mode=0o755)
    (run / "mime.types").write_text("text/plain txt\n")
    modules = "\n".join(f"LoadModule {name} {APACHE_MODULES / file}" for name, file in MODULES.items())
    text = SERVER.substitute(run=run, sites=sites, port=port, modules=modules)
    for owner in OWNERS:
        text += VIRTUAL_HOST.substitute(run=run, sites=sites, port=port, host=owner.host, id=owner.id)
    text += SHARED_HOST.substitute(run=run, sites=sites, port=port, host=SHARED.host)
    file = run / "server.conf"
    file.write_text(text)
    return (file,)


PEERS = (Peer(APACHE, configure), Peer(NGINX, configure_nginx), Peer(OWNHOST, configure))
