"""The TLS files of a virtual host: their names, and the credentials in them. Pure, except for the reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ownhost.config.directive import Problem, Setting, Settings
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
from ownhost.request.given_files import GivenFiles
from ownhost.request.hosts import SERVER_NAME

FOLDERS = frozenset((SSL_AUTHORITY_FOLDER.name, SSL_REVOCATION_FOLDER.name, SSL_NAMED_FOLDER.name))
_AUTHORITIES = (SSL_AUTHORITY_FILE, SSL_AUTHORITY_FOLDER, SSL_REVOCATION_FILE, SSL_REVOCATION_FOLDER)
_NAMED = (SSL_NAMED_FILE, SSL_NAMED_FOLDER)


class KeyProblem(Exception):
    """A virtual host cannot speak TLS. One sentence.

    `forbidden`: this process may not read a file, and as root it might. `passing`: a file could not be read, and
    perhaps can be later.
    """

    def __init__(
        self, server: VirtualHost, setting: str, message: str, *, forbidden: bool = False, passing: bool = False
    ) -> None:
        where = server.origins.get(setting, server.source)
        name = server.settings[SERVER_NAME].host or str(server.source)
        super().__init__(message)
        self.setting = setting
        self.problem = Problem(where, f"{message} (virtual host {name})")
        self.forbidden = forbidden
        self.passing = passing


def check_lines(server: VirtualHost) -> None:
    """Raise KeyProblem if a virtual host's own lines contradict each other, whatever is in the files."""
    certificates, keys = server.settings[SSL_CERTIFICATES], server.settings[SSL_KEYS]
    if not certificates:
        raise KeyProblem(server, SSL_ENGINE.name, "SSLEngine is on, and there is no SSLCertificateFile")
    if len(keys) > len(certificates):
        reason = f"SSLCertificateKeyFile {keys[len(certificates)]} has no SSLCertificateFile"
        raise KeyProblem(server, SSL_KEYS.name, reason)


def named(settings: Settings) -> Iterator[tuple[Setting[Any], str]]:
    """The files and folders that settings name, each with its setting."""
    for several in (SSL_CERTIFICATES, SSL_KEYS):
        yield from ((several, name) for name in settings[several])
    for one in (SSL_CHAIN, *_AUTHORITIES, *_NAMED):
        if settings[one]:
            yield one, settings[one]


def unreadable(files: Iterable[tuple[Setting[Any], str]], error: OSError) -> tuple[str, str]:
    """The setting of an unreadable file, and a sentence about it. The error has the file's name."""
    setting = next(one.name for one, name in files if name == error.filename)
    return setting, f"{setting} {error.filename} cannot be read: {error.strerror}"


def read_credentials(settings: Settings, files: GivenFiles) -> Credentials:
    """The content of the files. A certificate without a key of its own has it in its file. Raises OSError."""
    certificates, keys = settings[SSL_CERTIFICATES], settings[SSL_KEYS]
    chain = _read_all(settings, files, SSL_CHAIN)
    return Credentials(
        pairs=tuple(
            Pair(
                files.read(name) + b"\n" + (chain if place == 0 else b""),
                files.read(keys[place] if place < len(keys) else name),
            )
            for place, name in enumerate(certificates)
        ),
        authorities=_read_all(settings, files, *_AUTHORITIES),
        named_authorities=_read_all(settings, files, *_NAMED),
    )


def _read_all(settings: Settings, files: GivenFiles, *named: Setting[str]) -> bytes:
    return b"\n".join(files.read(settings[one]) for one in named if settings[one])
