"""Servers that speak TLS, and clients of theirs: Python's ssl, curl, openssl s_client."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from certificates import Authority, Identity
from harness import Answer, Server, World, answer


class Sites:
    """Virtual hosts with certificates of one authority. Keys are root's alone, and owners never see the folder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.authority = Authority()
        self.keys = world.folder / "keys"
        self.keys.mkdir(mode=0o700)
        self.authority_file = world.folder / "authority.pem"
        self.authority_file.write_text(self.authority.pem)
        self.identities: dict[str, Identity] = {}

    def certificate(self, name: str, *names: str, kind: str = "ec") -> str:
        """The directives for a certificate of NAME.test and more names, new unless there is one."""
        file = name if kind == "ec" else f"{name}-{kind}"
        if file not in self.identities:
            made = self.identities[file] = self.authority.issue(f"{name}.test", *names, kind=kind)
            made.files(self.keys, file)
        return f"SSLCertificateFile @DIR@/keys/{file}.crt\nSSLCertificateKeyFile @DIR@/keys/{file}.key\n"

    def virtual_host(
        self,
        name: str,
        uid: int,
        extra: str = "",
        files: Mapping[str, str | bytes] | None = None,
        certificate: str | None = None,
    ) -> str:
        """An owner's tree, and the <VirtualHost> that serves it as NAME.test over TLS."""
        lines = self.certificate(name) if certificate is None else certificate
        return self.world.virtual_host(name, uid, f"SSLEngine on\n{lines}{extra}", files)

    def context(self, **settings: object) -> ssl.SSLContext:
        """A client that trusts the authority, as to names too."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    def careless(self) -> ssl.SSLContext:
        """A client that takes any certificate."""
        context = self.context(check_hostname=False)
        context.verify_mode = ssl.CERT_NONE
        return context

    def connect(
        self, server: Server, name: str | None = "alice.test", context: ssl.SSLContext | None = None, **more: object
    ) -> ssl.SSLSocket:
        """A connection whose handshake is done."""
        context = context or (self.context() if name else self.careless())
        sock = server.connect()
        try:
            return context.wrap_socket(sock, server_hostname=name, **more)  # type: ignore[arg-type]
        except BaseException:
            sock.close()
            raise

    def get(
        self,
        server: Server,
        host: str = "alice.test",
        path: str = "/",
        name: str | None = "",
        context: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own, made for `name` (the host's, if it is "")."""
        with self.connect(server, host if name == "" else name, context) as sock:
            return ask(sock, host, path, "GET", None, Connection="close", **headers)


def ask(
    sock: socket.socket, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
) -> Answer:
    """One request on a connection that may stay open. The body is in `.content`."""
    fields = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    sock.sendall(head.encode() + b"\r\n" + (body or b""))
    return answer(sock, method)


def s_client(server: Server, *arguments: str, say: str = "", timeout: float = 20) -> str:
    """What `openssl s_client` says, on both outputs. `say` is sent; an empty one ends it after the handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *arguments]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, input=say.encode(), capture_output=True, timeout=timeout, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")
    raise AssertionError("s_client did not end")


def curl(
    sites: Sites, server: Server, host: str, path: str, *arguments: str | Path
) -> subprocess.CompletedProcess[bytes]:
    """curl, to a host of the server's."""
    where = ["--cacert", str(sites.authority_file), "--resolve", f"{host}:{server.port}:127.0.0.1"]
    command = ["curl", "-sS", *where, *map(str, arguments), f"https://{host}:{server.port}{path}"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def exchange(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """What comes back while DATA is sent, as many bytes, in one thread: an SSL object is not for two at once."""
    sock.setblocking(False)
    unsent = memoryview(data)
    received = bytearray()
    while len(received) < len(data):
        idle = True
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            unsent = unsent[sock.send(unsent[:65536]) :] if unsent else unsent
            idle = not unsent
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            part = sock.recv(65536)
            assert part, f"the end after {len(received):,} of {len(data):,} bytes"
            received += part
            idle = False
        if idle:
            ready = select.select([sock], [sock] if unsent else [], [], 20)
            assert any(ready), f"nothing for 20 s after {len(received):,} of {len(data):,} bytes"
    sock.setblocking(True)
    return bytes(received)
