"""Apache and Ownhost, with the configuration of a case, or of many that are content with a virtual host."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import ALICE, Server, World
from oracle import cases
from oracle.behind import backends
from oracle.tree import probing
from waiting import eventually

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
LOADED = (
    "mpm_prefork access_compat actions alias authn_core authz_core authz_host autoindex cgi dir env headers mime proxy "
    "proxy_fcgi proxy_http proxy_scgi proxy_uwsgi proxy_wstunnel remoteip rewrite setenvif ssl socache_shmcb userdir "
    "vhost_alias"
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
@LISTEN@
ServerName server.test
User www-data
Group www-data
PidFile @OWN@/pid
ErrorLog @OWN@/error.log
LogLevel info
TypesConfig @WORLD@/mime.types
<Directory />
AllowOverride None
</Directory>
@PROBING@
@INCLUDE@
"""


Ports = tuple[int, int]  # Apache's and Ownhost's


@contextlib.contextmanager
def both(world: World, names: Iterable[str]) -> Iterator[dict[str, Ports]]:
    """The ports of each case at both servers, which serve until the block ends."""
    free = _free_ports()
    ports = {name: (next(free), next(free)) for name in names}
    with backends(world.folder) as behind, _apache(_written(world, "apache", 0, ports, behind)) as apache:
        server = Server(world.folder, 0, _written(world, "ownhost", 1, ports, behind))
        try:
            server.start()
            eventually(lambda: apache.poll() is not None or all(_listens(port) for port, _ in ports.values()), 20)
            assert apache.poll() is None, f"Apache ended: {apache.communicate()[1]!r}"
            yield ports
        finally:
            server.stop()


def _free_ports() -> Iterator[int]:
    """Ports of loopback that nothing listens on, below those that the kernel gives to clients."""
    for port in range(20_000, 30_000):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            yield port


def _written(world: World, server: str, which: int, both_ports: dict[str, Ports], behind: dict[str, str]) -> Path:
    """The configuration for one of the servers. Each case's is a file of its own, so that messages name the case."""
    ports = {name: pair[which] for name, pair in both_ports.items()}
    folder = world.folder / f"{server}-{min(ports.values())}"
    folder.mkdir(exist_ok=True)
    modules = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED.split()]
    values = {
        "MODULES": "\n".join([*modules, f"LoadModule mpm_itk_module {MODULES}/mpm_itk.so"]),
        "PROBING": probing(world.folder),
        "OWN": str(folder),
        "DIR": str(world.folder / "site"),
        "WORLD": str(world.folder),
        **behind,
    }
    for name, port in ports.items():
        body = cases.configuration(name)
        body = body if cases.has_own_server(name) else SITE.replace("@BODY@", body)
        (folder / f"{name}.conf").write_text(_filled(body, {**values, "PORT": str(port)}))
    listen = "\n".join(f"Listen 127.0.0.1:{port}" for port in ports.values())
    include = "\n".join(f"Include {folder}/{name}.conf" for name in ports)
    path = folder / "main.conf"
    path.write_text(_filled(SERVER, {**values, "LISTEN": listen, "INCLUDE": include}))
    return path


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


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
    return False
