"""An examiner.

NAME        finds out whether an owner's TLS files can be used, and perhaps his logs; ends with the answer
TRUSTS      the supervisor; nothing that it reads
RUNS AS     the owner, if the files are in his folders, else User; no capabilities; an allow-list of system
            calls
TALKS TO    the supervisor: it is told what to check, and reports in words
ENDS WHEN   it has reported all, or takes longer than the supervisor waits

It opens files in its owner's folders itself, and gets descriptors of files that root opened.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ownhost.apps import backend_tls
from ownhost.config.model import VirtualHost
from ownhost.http import certificates
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls import Credentials, make_context
from ownhost.http.tls_client import make_client_context
from ownhost.identity import landlock, seccomp
from ownhost.modules.ssl.directives import SSL_CERTIFICATES, SSL_KEYS, policy_of
from ownhost.modules.ssl.proxy_directives import ENGINE, named_files, proxy_tls, scopes
from ownhost.processes import ownlog
from ownhost.processes.keyfiles import KeyProblem, named, read_credentials, unreadable
from ownhost.processes.messages import Certified, Channel, Message, Unusable
from ownhost.processes.slices import ExaminerSlice, receive_slice
from ownhost.request.given_files import MOST_BYTES, GivenFiles

if TYPE_CHECKING:
    from cryptography import x509

MEMORY = 4 * MOST_BYTES + (1 << 30)  # bytes of addresses
PROCESSOR = 5  # seconds
LONGEST_TEXT = 2_000  # characters of a reason
MOST_NAMES = 30_000  # characters of a certificate's names together


def main(channel: Channel) -> NoReturn:
    """Check everything, and report what was seen: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    assert isinstance(slice_, ExaminerSlice)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    logs = [str(Path(log).parent) for log in chain.from_iterable(slice_.logs.values())]
    landlock.restrict(landlock.reading_only(logs))
    seccomp.install(seccomp.EXAMINER)
    files = GivenFiles.numbered(slice_.opened, descriptors)
    for server in slice_.servers:
        if server.id in slice_.tls:
            for said in examine(server, files):
                channel.send(said)
        for said in examine_backends(server, slice_.backends.get(server.id, ()), files):
            channel.send(said)
        for log in slice_.logs.get(server.id, ()):
            if trouble := ownlog.trouble(log):
                channel.send(Unusable(server.id, -1, log, trouble[:LONGEST_TEXT], passing=True))
    raise SystemExit(0)


def rehearse() -> None:
    """Prepare the filter, and load the library that reads certificates."""
    seccomp.compiled(seccomp.EXAMINER)
    certificates.load()


def examine(server: VirtualHost, files: GivenFiles) -> Iterator[Message]:
    """The content of a virtual host's certificates, then perhaps why it cannot speak TLS."""
    try:
        credentials = _read(server, files)
        yield from _certified(server, credentials)
        _try(server, credentials)
    except KeyProblem as problem:
        yield Unusable(server.id, 0, problem.setting, str(problem)[:LONGEST_TEXT], problem.passing)
    except Exception as error:
        reason = f"its keys cannot be used: {error}"[:LONGEST_TEXT]
        yield Unusable(server.id, 0, SSL_CERTIFICATES.name, reason, passing=False)


def _read(server: VirtualHost, files: GivenFiles) -> Credentials:
    try:
        return read_credentials(server.settings, files)
    except OSError as error:
        raise KeyProblem(server, *unreadable(named(server.settings), error), passing=True) from None


def _try(server: VirtualHost, credentials: Credentials) -> None:
    """Raise KeyProblem if something does not fit."""
    names: tuple[str, ...] = server.settings[SSL_CERTIFICATES]
    try:
        make_context(policy_of(server), credentials)
    except OpenSSLError as error:
        if error.about:
            raise KeyProblem(server, error.about, f"{error.about}: {error}") from None
        both = ", ".join(dict.fromkeys((*names, *server.settings[SSL_KEYS])))
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"{both}: {error}") from None
    for name, pair in zip(names, credentials.pairs, strict=True):
        _check_time(server, name, _load(server, name, pair.certificate))


def _check_time(server: VirtualHost, name: str, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name} expired on {until}: renew it")
    if certificate.not_valid_before_utc > now:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name} is not valid before {since}")


def _load(server: VirtualHost, name: str, pem: bytes) -> x509.Certificate:
    from cryptography import x509  # here: loaded by `rehearse`

    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise KeyProblem(server, SSL_CERTIFICATES.name, f"SSLCertificateFile {name}: {error}") from None


def _certified(server: VirtualHost, credentials: Credentials) -> Iterator[Certified]:
    """The names and times of each certificate, as far as it can be read."""
    names: tuple[str, ...] = server.settings[SSL_CERTIFICATES]
    for place, (name, pair) in enumerate(zip(names, credentials.pairs, strict=True)):
        with contextlib.suppress(KeyProblem, ValueError):
            found = _load(server, name, pair.certificate)
            since, until = (int(at.timestamp()) for at in (found.not_valid_before_utc, found.not_valid_after_utc))
            yield Certified(server.id, place, since, until, "\n".join(_names(found))[:MOST_NAMES])


def _names(certificate: x509.Certificate) -> list[str]:
    """The host names that a certificate is for."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [str(one.value) for one in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return list(found.get_values_for_type(x509.DNSName))


def examine_backends(server: VirtualHost, places: tuple[int, ...], files: GivenFiles) -> Iterator[Message]:
    """Why it cannot speak TLS with servers behind it, in the scopes that are asked for."""
    for place, scope in enumerate(scopes(server)):
        if place not in places:
            continue
        tls = proxy_tls(scope.settings)
        try:
            make_client_context(tls.policy, backend_tls.read_credentials(tls, files))
        except OSError as error:
            setting, reason = unreadable(named_files(scope.settings), error)
            yield Unusable(server.id, place + 1, setting, reason[:LONGEST_TEXT], passing=True)
        except OpenSSLError as error:
            about = error.about or ENGINE.name
            yield Unusable(server.id, place + 1, about, f"{about}: {error}"[:LONGEST_TEXT], passing=False)
