"""A php-fpm started by hand as an owner, and a FastCGI client for it: what launcher and worker do, in a few lines."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness import ALICE, World
from ownhost import modules
from ownhost.apps.app import FOLDER, SOCKET, App
from ownhost.apps.php import app_of, php_environment
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.request.request import Endpoints, Phase, Request
from ownhost.request.road import advance
from ownhost.request.site import Site
from waiting import eventually

BEGIN, PARAMS, STDIN, STDOUT, STDERR = 1, 4, 5, 6, 7


@dataclass
class Answer:
    """What came back."""

    status: int
    fields: list[str]
    body: bytes
    errors: bytes


@dataclass
class Fpm:
    """A php-fpm that runs."""

    folder: Path
    process: subprocess.Popen[bytes]
    open: list[socket.socket] = field(default_factory=list)

    def send(self, variables: dict[str, str], body: bytes = b"") -> socket.socket:
        """A request, on a connection of its own."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(str(self.folder / "socket"))
        self.open.append(sock)
        begin = record(BEGIN, struct.pack(">HB5x", 1, 0))
        params = b"".join(pair(name.encode(), value.encode()) for name, value in variables.items())
        stdin = (record(STDIN, body[start : start + 0xFFF8]) for start in range(0, len(body), 0xFFF8))
        with contextlib.suppress(BrokenPipeError):  # a script may end before it has read what it was sent
            sock.sendall(b"".join((begin, record(PARAMS, params), record(PARAMS, b""), *stdin, record(STDIN, b""))))
        return sock

    def ask(self, variables: dict[str, str], body: bytes = b"") -> Answer:
        """A request and its answer, whole."""
        parts = {STDOUT: b"", STDERR: b""}
        with contextlib.suppress(ConnectionResetError):
            for kind, content in records(self.send(variables, body)):
                if kind in parts:
                    parts[kind] += content
        head, _, content = parts[STDOUT].partition(b"\r\n\r\n")
        fields = head.decode("latin-1").split("\r\n")
        status = next((int(line.split()[1]) for line in fields if line.startswith(("Status:", "HTTP/"))), 200)
        return Answer(status, fields, content, parts[STDERR])

    @property
    def log(self) -> str:
        return (self.folder.parent / "stderr").read_text()


def record(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name: bytes, value: bytes) -> bytes:
    lengths = (bytes([len(x)]) if len(x) < 128 else struct.pack(">I", len(x) | 1 << 31) for x in (name, value))
    return b"".join((*lengths, name, value))


def records(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    with sock, sock.makefile("rb") as stream:
        while head := stream.read(8):
            _, kind, _, length, padding = struct.unpack(">BBHHBx", head)
            content = stream.read(length)
            stream.read(padding)
            yield kind, content


@contextlib.contextmanager
def started(app: App, uid: int = ALICE) -> Iterator[Fpm]:
    """The app, run as a uid that has no account, in an empty environment, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="ownhost-test-") as outer:
        os.chmod(outer, 0o711)
        folder = Path(outer, "own")
        folder.mkdir(0o700)
        for name, content in app.files:
            (folder / name).write_text(filled(content, folder))
        for path in (folder, *folder.iterdir()):
            os.chown(path, uid, uid)
        command = [filled(word, folder) for word in app.command]
        with open(Path(outer, "stderr"), "wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=app.folder,
                env={"PATH": "/usr/bin:/bin", **dict(app.environment)},
                user=uid,
                group=uid,
                extra_groups=[],
            )
        fpm = Fpm(folder, process)
        try:
            eventually(lambda: process.poll() is not None or (folder / "socket").exists(), 10)
            assert process.poll() is None, fpm.log
            yield fpm
        finally:
            process.terminate()
            process.wait(10)
            for sock in fpm.open:
                sock.close()


def filled(text: str, folder: Path) -> str:
    return text.replace(SOCKET, str(folder / "socket")).replace(FOLDER, str(folder))


def make_site(world: World, root: Path, configuration: str = "") -> Site:
    """The main server of a configuration, over a folder."""
    modules.load()
    path = world.folder / "php.conf"
    path.write_text(
        f'Listen 127.0.0.1:9998\nUser "#{ALICE}"\nGroup "#{ALICE}"\nServerName h.test\nDocumentRoot {root}\n'
        f'<FilesMatch "\\.php$">\nSetHandler application/x-httpd-php\n</FilesMatch>\n{configuration}'
    )
    return Site(read(str(path)).main, lambda _: True, lambda _: None)


def make_request(site: Site, target: str, fields: str = "", method: str = "GET") -> Request:
    """A request as far as its handler."""
    head = f"{method} {target} HTTP/1.1\r\nHost: h.test\r\n{fields}\r\n".encode()
    endpoints = Endpoints("127.0.0.1", 1234, "127.0.0.1", 9998)
    parsed = parse_head(head, head_limits(site.settings))
    request = Request(parsed, endpoints, site, time.time(), lambda *_: None)
    assert advance(request, Phase.FIXUPS) is None
    return request


def variables(request: Request, **more: str) -> dict[str, str]:
    """RFC 3875's variables, about as any program is given them, then made PHP's."""
    script_name = request.uri.removesuffix(request.path_info)
    base = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": request.head.target,
        "QUERY_STRING": request.query or "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "h.test",
        "DOCUMENT_ROOT": request.filename.removesuffix(script_name),
        "SCRIPT_NAME": script_name,
        **more,
    }
    if request.path_info:
        base |= {"PATH_INFO": request.path_info, "PATH_TRANSLATED": base["DOCUMENT_ROOT"] + request.path_info}
    return php_environment(base, request)


@contextlib.contextmanager
def serving(world: World, root: Path, target: str, configuration: str = "") -> Iterator[tuple[Fpm, Request]]:
    """The php-fpm for one request, and that request."""
    request = make_request(make_site(world, root, configuration), target)
    with started(app_of(request)) as fpm:
        yield fpm, request


def ask(world: World, root: Path, target: str, configuration: str = "") -> Answer:
    """One request's answer, out of a php-fpm for it alone."""
    with serving(world, root, target, configuration) as (fpm, request):
        return fpm.ask(variables(request))
