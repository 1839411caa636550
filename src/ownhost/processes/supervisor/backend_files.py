"""What virtual hosts speak TLS with to servers behind them: files opened as root, once, and never read here.

Whether what is in them can be used is found out by a process that ends with the answer, as for a virtual host's own
keys.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ownhost.apps.backend_tls import read_credentials
from ownhost.config.directive import Problem, Settings, Source
from ownhost.config.model import Config, SectionKind, VirtualHost
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls_client import make_client_context
from ownhost.modules.ssl.proxy_directives import CERTIFICATES, ENGINE, FOLDERS, named_files, proxy_tls
from ownhost.processes import trusted
from ownhost.processes.descriptors import close_all
from ownhost.processes.keyfiles import different, files_in
from ownhost.processes.supervisor.keys import in_a_child

_SECRET = frozenset(setting.name for setting in CERTIFICATES)
_PROXIES = (SectionKind.PROXY, SectionKind.PROXY_MATCH)


@dataclass(frozen=True, slots=True)
class Scope:
    """Settings that requests may have: a virtual host's, or those of one of its <Proxy> sections laid over them."""

    settings: Settings
    origins: Mapping[str, Source]
    source: Source

    def problem(self, setting: str, message: str) -> Problem:
        """What is wrong, at the place that says so."""
        return Problem(self.origins.get(setting, self.source), message)


def scopes(server: VirtualHost) -> Iterator[Scope]:
    """A virtual host's, and those of its <Proxy> sections."""
    yield Scope(server.settings, server.origins, server.source)
    for section in server.sections:
        if section.kind in _PROXIES:
            origins = {**server.origins, **section.origins}
            yield Scope(server.settings.merged(section.settings), origins, section.source)


@dataclass(slots=True)
class BackendFiles:
    """All files and folders that SSLProxy... name, open."""

    opened: dict[str, list[int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    forbidden: list[Problem] = field(default_factory=list)  # what this process may not read: as root it might

    @classmethod
    def open(cls, config: Config) -> BackendFiles:
        """Open them, and have a process of its own find out which can be used."""
        files = cls()
        files._open_all(config)
        wrong = in_a_child(lambda: [_plain(problem) for problem in files._unusable(config)]) if _uses(config) else []
        files.problems += (Problem(Source(file, line), message) for file, line, message in wrong)
        return files

    def _open_all(self, config: Config) -> None:
        failed: dict[Problem, bool] = {}
        for server in config.servers:
            for scope in scopes(server):
                for setting, name in named_files(scope.settings):
                    if name in self.opened:
                        continue
                    try:
                        self.opened[name] = _open(name, is_folder=setting.name in FOLDERS)
                    except OSError as error:
                        reason = f"{setting.name} {name} cannot be read: {error.strerror}"
                        failed[scope.problem(setting.name, reason)] = isinstance(error, PermissionError)
        for problem, forbidden in failed.items():
            (self.forbidden if forbidden and os.geteuid() != 0 else self.problems).append(problem)

    def _unusable(self, config: Config) -> Iterable[Problem]:
        """What is wrong with the files that could be opened, each thing once."""
        found: dict[Problem, None] = {}
        for scope in (scope for server in config.servers for scope in scopes(server)):
            missing = any(name not in self.opened for _, name in named_files(scope.settings))
            if missing or not scope.settings[ENGINE]:
                continue
            tls = proxy_tls(scope.settings)
            try:
                make_client_context(tls.policy, read_credentials(tls, self.opened))
            except (OpenSSLError, OSError) as error:
                about = getattr(error, "about", "")
                found[scope.problem(about or ENGINE.name, f"{about or ENGINE.name}: {error}")] = None
        return found

    def named(self, server: VirtualHost, *, secret: bool) -> dict[str, Sequence[int]]:
        """Those that a virtual host names, as far as they are open; with keys only where `secret` says so."""
        found = [one for scope in scopes(server) for one in named_files(scope.settings)]
        keys = {name for setting, name in found if setting.name in _SECRET}
        return {name: self.opened[name] for _, name in found if name in self.opened and (secret or name not in keys)}

    def close(self) -> None:
        """Close them all."""
        for descriptors in self.opened.values():
            close_all(descriptors)


def _uses(config: Config) -> bool:
    return any(ENGINE in scope.settings for server in config.servers for scope in scopes(server))


def _plain(problem: Problem) -> tuple[str, int, str]:
    return problem.source.file, problem.source.line, problem.message


def _open(name: str, *, is_folder: bool) -> list[int]:
    """The descriptors of a file, or of those in a folder. Raises OSError."""
    if not is_folder:
        return [trusted.open_file(Path(name))]
    found: list[int] = []
    try:
        for inside in files_in(name):
            with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere
                found.append(trusted.open_file(Path(inside)))
    except BaseException:
        close_all(found)
        raise
    return different(found)
