"""Apache and Ownhost, with the configuration of a case."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from harness import ALICE, Server, World, eventually, free_port
from oracle import cases
from oracle.tree import probing

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
LOADED = (
    "mpm_prefork access_compat alias authn_core authz_core authz_host autoindex dir env headers mime rewrite setenvif "
    "userdir vhost_alias"
)
SITE = f"""\
<VirtualHost *:@PORT@>
ServerName site.test
DocumentRoot @DIR@
AssignUserID "#{ALICE}" "#{ALICE}"
<Directory @DIR@>
Require all granted
</Directory>
@BODY@
</VirtualHost>
"""
SERVER = """\
ServerRoot @WORLD@
@MODULES@
Listen 127.0.0.1:@PORT@
ServerName server.test
User www-data
Group www-data
PidFile @WORLD@/@NAME@.pid
ErrorLog @WORLD@/@NAME@.log
LogLevel info
TypesConfig @WORLD@/mime.types
<Directory />
AllowOverride None
</Directory>
@PROBING@
@BODY@
"""


def written(world: World, case: str, name: str, port: int) -> Path:
    """The configuration of a case, in a file for one of the servers."""
    body = cases.configuration(case)
    if "<VirtualHost" not in body:
        body = SITE.replace("@BODY@", body)
    modules = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED.split()]
    values = {
        "BODY": body,
        "MODULES": "\n".join([*modules, f"LoadModule mpm_itk_module {MODULES}/mpm_itk.so"]),
        "PROBING": probing(world.folder),
        "NAME": name,
        "DIR": str(world.folder / "site"),
        "WORLD": str(world.folder),
        "PORT": str(port),
    }
    text = SERVER
    for key in ("BODY", *values):
        text = text.replace(f"@{key}@", values[key])
    path = world.folder / f"{name}.conf"
    path.write_text(text)
    return path


@contextlib.contextmanager
def both(world: World, case: str) -> Iterator[tuple[int, int]]:
    """The ports of Apache and of Ownhost, which serve until the block ends."""
    ports = free_port(), free_port()
    ours = Server(world.folder, ports[1], written(world, case, "ownhost", ports[1]))
    with _apache(written(world, case, "apache", ports[0])) as theirs:
        try:
            ours.start()
            eventually(lambda: theirs.poll() is not None or _listens(ports[0]), 20)
            assert theirs.poll() is None, f"Apache ended: {theirs.communicate()[1]!r}"
            yield ports
        finally:
            ours.stop()


@contextlib.contextmanager
def _apache(configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [APACHE, "-f", configuration, "-DFOREGROUND"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # it ends its whole group
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    time.sleep(0.05)
    return False
