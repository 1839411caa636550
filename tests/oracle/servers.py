"""Apache and Ownhost, with the configuration of a case, or of many that are content with a virtual host."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness import ALICE, Server, World
from oracle import cases
from oracle.behind import backends
from oracle.client import Answer, ask, connected
from oracle.compare import LONGEST
from oracle.decoded import decoded
from oracle.recorded import Answers
from oracle.tree import probing
from waiting import eventually

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
LOADED = (
    "mpm_prefork access_compat actions alias allowmethods asis auth_basic authn_core authn_file authz_core "
    "authz_groupfile authz_host authz_owner authz_user autoindex brotli cgi deflate dir env expires filter headers "
    "mime negotiation proxy proxy_fcgi proxy_http proxy_scgi proxy_uwsgi proxy_wstunnel remoteip rewrite setenvif "
    "speling ssl socache_shmcb userdir vhost_alias"
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


@dataclass(frozen=True)
class Served:
    """A server of some cases, with a port for each, and what is this run's own in its answers."""

    ports: Mapping[str, int]  # by the names of cases
    behind: Mapping[str, str]  # what is behind it, as configurations name it
    folder: Path  # of all files

    def answers(self, name: str, connect: Callable[[int], socket.socket] = connected) -> Answers:
        """What it answers to a case, with `@WORLD@`, `@PORT@` and so on for what is this run's own."""
        port = self.ports[name]
        places = {address.rpartition(":")[2]: place for place, address in self.behind.items()}
        places |= {str(port): "PORT", str(self.folder): "WORLD"}
        own = re.compile("|".join(rf"(?<!\d){one}(?!\d)" if one.isdigit() else re.escape(one) for one in places))

        def neutral(answer: Answer) -> Answer:
            body = answer.body if len(answer.body) <= LONGEST else b""
            said = "\0".join((*answer.fields.values(), body.decode("latin-1")))
            *values, text = own.sub(lambda match: f"@{places[match[0]]}@", said).split("\0", len(answer.fields))
            fields = dict(zip(answer.fields, values, strict=True))
            return replace(answer, fields=fields, body=text.encode("latin-1") if body else answer.body)

        asked = (ask(port, requests, connect) for requests in cases.connections(name))
        return [[neutral(decoded(answer)) for answer in answers] for answers in asked]


@contextlib.contextmanager
def both(world: World, names: Collection[str]) -> Iterator[tuple[Served, Served]]:
    """Apache and Ownhost, which serve until the block ends."""
    free = free_ports()
    with backends(world.folder) as behind, apache(world.folder, names, free, behind) as theirs:
        ours = Served(dict(zip(names, free, strict=False)), behind, world.folder)
        server = Server(world.folder, 0, written(ours, "ownhost"))
        try:
            server.start()
            yield theirs, ours
        finally:
            server.stop()


@contextlib.contextmanager
def apache(folder: Path, names: Collection[str], free: Iterator[int], behind: dict[str, str]) -> Iterator[Served]:
    """Apache, which serves until the block ends."""
    served = Served(dict(zip(names, free, strict=False)), behind, folder)
    with _apache(written(served, "apache")) as process:
        eventually(lambda: process.poll() is not None or all(map(_listens, served.ports.values())), 20)
        assert process.poll() is None, f"Apache ended: {process.communicate()[1]!r}"
        yield served


def free_ports() -> Iterator[int]:
    """Ports of loopback that nothing listens on, below those that the kernel gives to clients."""
    for port in range(20_000, 30_000):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            yield port


def written(served: Served, server: str) -> Path:
    """The configuration for one of the servers. Each case's is a file of its own, so that messages name the case."""
    folder = served.folder / f"{server}-{min(served.ports.values())}"
    folder.mkdir(exist_ok=True)
    modules = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED.split()]
    values = {
        "MODULES": "\n".join([*modules, f"LoadModule mpm_itk_module {MODULES}/mpm_itk.so"]),
        "PROBING": probing(served.folder),
        "OWN": str(folder),
        "DIR": str(served.folder / "site"),
        "WORLD": str(served.folder),
        **served.behind,
    }
    for name, port in served.ports.items():
        body = cases.configuration(name)
        if not cases.has_own_server(name):
            access = f"AccessFileName {cases.access_file(name)}\n" if cases.htaccess(name) else ""
            body = SITE.replace("@BODY@", access + body)
        (folder / f"{name}.conf").write_text(_filled(body, {**values, "PORT": str(port)}))
    listen = "\n".join(f"Listen 127.0.0.1:{port}" for port in served.ports.values())
    include = "\n".join(f"Include {folder}/{name}.conf" for name in served.ports)
    path = folder / "main.conf"
    path.write_text(_filled(SERVER, {**values, "LISTEN": listen, "INCLUDE": include}))
    return path


def _filled(text: str, values: Mapping[str, str]) -> str:
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
