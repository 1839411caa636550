"""What is served while we measure: one configuration, for both servers word for word but for port and folder."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from string import Template

FILE = "/file.txt"
SIZE = 1024  # bytes of the file that is asked for
APACHE_MODULES = Path("/usr/lib/apache2/modules")
MODULES = {
    "mpm_prefork_module": "mod_mpm_prefork.so",
    "mpm_itk_module": "mpm_itk.so",
    "authz_core_module": "mod_authz_core.so",
    "mime_module": "mod_mime.so",
    "dir_module": "mod_dir.so",
    "rewrite_module": "mod_rewrite.so",
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
<VirtualHost 127.0.0.1:$port>
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


def make_sites(sites: Path) -> None:
    """Make every owner's folder: mode 0700, one file in it that begins with the owner's uid."""
    sites.mkdir(mode=0o755)
    for owner in OWNERS:
        _make_folder(sites / owner.host, owner.id)
    for user in USERS:
        _make_folder(sites / SHARED.host / f"~{user}", pwd.getpwnam(user).pw_uid)


def _make_folder(folder: Path, uid: int) -> None:
    folder.mkdir(parents=True)
    file = folder / FILE.lstrip("/")
    file.write_text(f"{uid}\n".ljust(SIZE, "."))
    for path in (folder, file):
        os.chown(path, uid, uid)
    folder.chmod(0o700)
    file.chmod(0o600)


def make_configuration(run: Path, sites: Path, port: int) -> Path:
    """Write the configuration of one server into its own folder. The file's name."""
    run.mkdir(mode=0o755)
    (run / "mime.types").write_text("text/plain txt\n")
    modules = "\n".join(f"LoadModule {name} {APACHE_MODULES / file}" for name, file in MODULES.items())
    text = SERVER.substitute(run=run, sites=sites, port=port, modules=modules)
    for owner in OWNERS:
        text += VIRTUAL_HOST.substitute(run=run, sites=sites, port=port, host=owner.host, id=owner.id)
    text += SHARED_HOST.substitute(run=run, sites=sites, port=port, host=SHARED.host)
    file = run / "server.conf"
    file.write_text(text)
    return file
