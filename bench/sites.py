"""What is served while we measure: one configuration, for both servers word for word but for port and folder."""

from __future__ import annotations

import os
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


def make_sites(sites: Path) -> None:
    """Make every owner's folder: mode 0700, one file in it that begins with the owner's uid."""
    sites.mkdir(mode=0o755)
    for owner in OWNERS:
        folder = sites / owner.host
        folder.mkdir()
        file = folder / FILE.lstrip("/")
        file.write_text(f"{owner.id}\n".ljust(SIZE, "."))
        for path in (folder, file):
            os.chown(path, owner.id, owner.id)
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
    file = run / "server.conf"
    file.write_text(text)
    return file
