"""The files of a virtual host's certificates and keys: opened as root, read by the workers of their owner alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownhost.config.directive import Problem, Setting
from ownhost.config.model import VirtualHost
from ownhost.http.tls import Credentials, Pair
from ownhost.modules.ssl.directives import (
    SSL_AUTHORITY_FILE,
    SSL_AUTHORITY_FOLDER,
    SSL_CERTIFICATES,
    SSL_CHAIN,
    SSL_ENGINE,
    SSL_KEYS,
    SSL_NAMED_FILE,
    SSL_NAMED_FOLDER,
    SSL_REVOCATION_FILE,
    SSL_REVOCATION_FOLDER,
)
from ownhost.processes import trusted
from ownhost.request.hosts import SERVER_NAME

MAX_FILE = 16 << 20  # bytes


class KeyProblem(Exception):
    """A virtual host cannot speak TLS. One sentence."""

    def __init__(self, server: VirtualHost, setting: str, message: str, *, forbidden: bool = False) -> None:
        where = server.origins.get(setting, server.source)
        name = server.settings[SERVER_NAME].host or str(server.source)
        super().__init__(message)
        self.problem = Problem(where, f"{message} (virtual host {name})")
        self.forbidden = forbidden  # this process may not read a file: as root it might


@dataclass(slots=True)
class KeyFiles:
    """Descriptors of what one virtual host needs for TLS."""

    certificates: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)  # in the same order; a certificate's own where the key is in its file
    chain: list[int] = field(default_factory=list)
    authorities: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)

    def mapped(self, change: Callable[[int], int]) -> KeyFiles:
        """The same with other numbers."""
        return KeyFiles(
            *([change(one) for one in ones] for ones in (self.certificates, self.keys, self.chain)),
            *([change(one) for one in ones] for ones in (self.authorities, self.named)),
        )

    def all(self) -> Iterator[int]:
        """Every descriptor, once."""
        yield from dict.fromkeys((*self.certificates, *self.keys, *self.chain, *self.authorities, *self.named))

    def close(self) -> None:
        """Close them all."""
        for descriptor in self.all():
            os.close(descriptor)


def open_keys(server: VirtualHost) -> KeyFiles:
    """Open what a virtual host needs. Raises KeyProblem."""
    settings = server.settings
    certificates, keys = settings[SSL_CERTIFICATES], settings[SSL_KEYS]
    if not certificates:
        raise KeyProblem(server, SSL_ENGINE.name, "SSLEngine is on, and there is no SSLCertificateFile")
    if len(keys) > len(certificates):
        reason = f"SSLCertificateKeyFile {keys[len(certificates)]} has no SSLCertificateFile"
        raise KeyProblem(server, SSL_KEYS.name, reason)
    files = KeyFiles()
    try:
        for place, name in enumerate(certificates):
            files.certificates.append(_open(server, SSL_CERTIFICATES, name))
            if place < len(keys):
                files.keys.append(_open(server, SSL_KEYS, keys[place]))
            else:
                files.keys.append(files.certificates[-1])
        files.chain += _open_all(server, SSL_CHAIN, None)
        files.authorities += _open_all(server, SSL_AUTHORITY_FILE, SSL_AUTHORITY_FOLDER)
        files.authorities += _open_all(server, SSL_REVOCATION_FILE, SSL_REVOCATION_FOLDER)
        files.named += _open_all(server, SSL_NAMED_FILE, SSL_NAMED_FOLDER)
    except BaseException:
        files.close()
        raise
    return files


def _open(server: VirtualHost, setting: Setting[Any], name: str) -> int:
    try:
        return trusted.open_file(Path(name))
    except OSError as error:
        raise _unreadable(server, setting, name, error) from None


def _unreadable(server: VirtualHost, setting: Setting[Any], name: str, error: OSError) -> KeyProblem:
    forbidden = isinstance(error, PermissionError)
    reason = f"{setting.name} {name} cannot be read: {error.strerror}"
    return KeyProblem(server, setting.name, reason, forbidden=forbidden)


def _open_all(server: VirtualHost, file: Setting[str], folder: Setting[str] | None) -> list[int]:
    names = [server.settings[file]] if server.settings[file] else []
    found = [_open(server, file, name) for name in names]
    if folder is None or not server.settings[folder]:
        return found
    try:
        names = files_in(server.settings[folder])
    except OSError as error:
        raise _unreadable(server, folder, server.settings[folder], error) from None
    return [*found, *different([_open(server, folder, name) for name in names])]


def files_in(folder: str) -> list[str]:
    """The files in a folder of certificates. Raises OSError."""
    return [str(entry) for entry in sorted(Path(folder).iterdir()) if not entry.is_dir()]


def different(opened: Iterable[int]) -> list[int]:
    """Descriptors without those of a file that another one is of, which are closed.

    A folder of certificates has each file a second time, under the hash that OpenSSL looks for.
    """
    found: dict[tuple[int, int], int] = {}
    for one in opened:
        status = os.fstat(one)
        if found.setdefault((status.st_dev, status.st_ino), one) != one:
            os.close(one)
    return list(found.values())


def read_credentials(files: KeyFiles) -> Credentials:
    """Read what was opened. Raises OSError."""
    chain = _read(files.chain)
    return Credentials(
        pairs=tuple(
            Pair(_read([certificate]) + b"\n" + (chain if place == 0 else b""), _read([key]))
            for place, (certificate, key) in enumerate(zip(files.certificates, files.keys, strict=True))
        ),
        authorities=_read(files.authorities),
        named_authorities=_read(files.named),
    )


def _read(descriptors: Sequence[int]) -> bytes:
    # Several processes share one place in a file: each names its own.
    return b"\n".join(os.pread(descriptor, MAX_FILE, 0) for descriptor in descriptors)
