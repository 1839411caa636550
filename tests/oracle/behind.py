"""The servers behind both, with what a configuration names of them: HTTP, some with TLS, FastCGI."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from backends import backend
from certificates import NOW, Authority
from fastcgi_server import fastcgi_server


@contextlib.contextmanager
def backends(world: Path) -> Iterator[dict[str, str]]:
    """Where they listen, while the block runs: what @BACKEND@, @TLS@ and so on stand for."""
    folder = world / "tls"
    contexts = _made(folder)
    with contextlib.ExitStack() as running:
        found = {"BACKEND": f"127.0.0.1:{running.enter_context(backend()).port}"}
        found["FCGI"] = f"127.0.0.1:{running.enter_context(fastcgi_server())}"
        for name, context in contexts.items():
            found[name] = str(running.enter_context(backend(context=context)).port)
        socket = folder / "socket"
        socket.unlink(missing_ok=True)
        running.enter_context(backend(str(socket), contexts["TLS"]))
        socket.chmod(0o777)
        yield found


def _made(folder: Path) -> dict[str, ssl.SSLContext]:
    """Certificates of localhost, by what is special about them, in contexts; and the files to check them with."""
    folder.mkdir(mode=0o755, exist_ok=True)
    authority = Authority()
    between = Authority("Between", authority)
    revoked = authority.issue("localhost")
    (folder / "authority.pem").write_text(authority.pem)
    (folder / "other.pem").write_text(Authority("Other").pem)
    (folder / "revoked.pem").write_text(authority.revoke(revoked))
    for name, issuer in (("client", authority), ("stranger", Authority("Stranger"))):
        client = issuer.issue(f"{name}.test")
        (folder / f"{name}.pem").write_text(client.chain + client.secret)
        (folder / f"{name}.pem").chmod(0o600)
    identities = {
        "TLS": authority.issue("localhost", "*.wild.test"),
        "EXPIRED": authority.issue("localhost", until=NOW - timedelta(hours=1)),
        "REVOKED": revoked,
        "CHAINED": between.issue("localhost"),
    }
    contexts = {}
    for name, identity in identities.items():
        certificate, key = identity.files(folder, name.lower())
        if name == "CHAINED":
            certificate.write_text(identity.chain + between.pem)
        contexts[name] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(folder / "authority.pem")  # whose clients' certificates it asks for
        context.verify_mode = ssl.CERT_OPTIONAL
    return contexts
