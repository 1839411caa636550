"""Which keys fit, and what the supervisor holds of them: descriptors, never a byte.

The files are opened once, when the server starts, so that all workers have the same ones until it starts again. Whether
they fit, and whose names the certificates have, is found out by a process that ends with the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownhost.config.directive import Problem, Source
from ownhost.config.model import Config, VirtualHost
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls import make_context
from ownhost.identity import landlock, prctl, seccomp
from ownhost.modules.ssl.directives import SSL_CERTIFICATES, SSL_ENGINE, SSL_KEYS, policy_of
from ownhost.processes import trusted
from ownhost.processes.faulty import tls_problem
from ownhost.processes.keyfiles import MAX_FILE, KeyFiles, KeyProblem, open_keys, read_credentials

if TYPE_CHECKING:
    from cryptography import x509

# By server id: the names that its certificates are for; file, line and message of what keeps it from speaking TLS.
Verdicts = dict[str, tuple[list[str], list[Any]]]


def tls_servers(config: Config) -> list[VirtualHost]:
    """The servers that speak TLS."""
    return [server for server in config.servers if server.settings[SSL_ENGINE]]


def examine(server: VirtualHost, files: KeyFiles) -> list[str]:
    """The names that a virtual host's certificates are for. Raises KeyProblem where anything does not fit."""
    try:
        credentials = read_credentials(files)
        make_context(policy_of(server), credentials)
    except (OpenSSLError, OSError) as error:
        if isinstance(error, OpenSSLError) and error.about:
            raise KeyProblem(server, error.about, f"{error.about}: {error}") from None
        names = ", ".join(dict.fromkeys((*server.settings[SSL_CERTIFICATES], *server.settings[SSL_KEYS])))
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"{names}: {error}") from None
    found: dict[str, None] = {}
    certificates: tuple[str, ...] = server.settings[SSL_CERTIFICATES]
    for name, pair in zip(certificates, credentials.pairs, strict=True):
        found.update(dict.fromkeys(_examine_certificate(server, name, pair.certificate)))
    return list(found)


def _examine_certificate(server: VirtualHost, name: str, pem: bytes) -> list[str]:
    certificate = _load_certificate(server, name, pem)
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name} expired on {until}: renew it")
    if certificate.not_valid_before_utc > now:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name} is not valid before {since}")
    return names_in(certificate)


def _load_certificate(server: VirtualHost, name: str, pem: bytes) -> x509.Certificate:
    from cryptography import x509  # here: no process that serves needs it for this

    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name}: {error}") from None


def names_in(certificate: x509.Certificate) -> list[str]:
    """The host names that a certificate is for."""
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except x509.ExtensionNotFound:
        return [str(one.value) for one in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]


def examined(server: VirtualHost) -> tuple[list[str], KeyProblem | None]:
    """The names that a virtual host's certificates are for, and what keeps it from speaking TLS: read here and now."""
    try:
        files = open_keys(server)
        try:
            return examine(server, files), None
        finally:
            files.close()
    except KeyProblem as error:
        return [], error


def certificates(server: VirtualHost) -> Iterator[tuple[str, x509.Certificate]]:
    """A server's certificates by their files' names, valid or not, as far as this process may read them."""
    for name, pem in _readable(server):
        with contextlib.suppress(KeyProblem):
            yield name, _load_certificate(server, name, pem)


def _readable(server: VirtualHost) -> Iterator[tuple[str, bytes]]:
    for name in server.settings[SSL_CERTIFICATES]:
        with contextlib.suppress(OSError), open(trusted.open_file(Path(name)), "rb") as file:
            yield name, file.read(MAX_FILE)


@dataclass(slots=True)
class Keys:
    """All virtual hosts' keys, as the supervisor holds them: open, and never read."""

    files: dict[int, KeyFiles] = field(default_factory=dict)  # server id -> descriptors
    names: dict[int, list[str]] = field(default_factory=dict)  # server id -> what its certificates are for
    broken: dict[int, Problem] = field(default_factory=dict)  # server id -> why it cannot speak TLS
    forbidden: set[int] = field(default_factory=set)  # of those: where this process may not read a file
    protocols: dict[int, tuple[str, ...]] = field(default_factory=dict)  # server id -> what ALPN may choose

    @classmethod
    def open(cls, config: Config) -> Keys:
        """Open every key, and have a process of its own find out which fit."""
        keys = cls()
        for server in tls_servers(config):
            fault = tls_problem(server)
            if fault is not None:
                keys.broken[server.id] = fault
                continue
            try:
                keys.files[server.id] = open_keys(server)
            except KeyProblem as error:
                keys.broken[server.id] = error.problem
                if error.forbidden:
                    keys.forbidden.add(server.id)
        verdicts: Verdicts = in_a_child(lambda: keys._verdicts(config)) if keys.files else {}
        for id_ in keys.files:
            source = config.servers[id_].source
            unknown = [source.file, source.line, "its keys could not be looked at"]
            keys.names[id_], problem = verdicts.get(str(id_), ([], unknown))
            if problem:
                file, line, message = problem
                keys.broken[id_] = Problem(Source(file, line), message)
        return keys

    def _verdicts(self, config: Config) -> Verdicts:
        found: Verdicts = {}
        for id_, files in self.files.items():
            source = config.servers[id_].source
            try:
                found[str(id_)] = examine(config.servers[id_], files), []
            except KeyProblem as error:
                source, message = error.problem.source, error.problem.message
                found[str(id_)] = [], [source.file, source.line, message]
            except Exception as error:
                found[str(id_)] = [], [source.file, source.line, f"its keys cannot be used: {error}"]
        return found

    def close(self) -> None:
        """Close them all."""
        for files in self.files.values():
            files.close()


def in_a_child(work: Callable[[], Any]) -> Any:
    """The result of `work`, done by a child that is gone afterwards, with all that it read. It may do little else."""
    from cryptography import x509

    assert x509 is not None  # loaded before the filter: nothing can be behind it
    seccomp.compiled(seccomp.EXAMINER)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            prctl.set_no_new_privs()
            landlock.restrict(landlock.NOTHING)
            seccomp.install(seccomp.EXAMINER)
            with open(writing, "w") as pipe:
                json.dump(work(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text or "{}")
