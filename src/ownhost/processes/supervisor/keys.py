"""Which keys fit, as far as the supervisor knows: descriptors, and examiners' reports. It reads none itself.

Root's files are opened once, when the server starts, so that all workers have the same until it
starts again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ownhost.config.directive import Problem
from ownhost.config.model import Config, VirtualHost
from ownhost.modules.ssl.directives import SSL_CERTIFICATES, SSL_ENGINE
from ownhost.processes.faulty import tls_problem
from ownhost.processes.keyfiles import FOLDERS, KeyProblem, check_lines, named
from ownhost.processes.messages import Certified, Unusable
from ownhost.processes.supervisor.named_files import NamedFiles


def tls_servers(config: Config) -> list[VirtualHost]:
    """The servers that speak TLS."""
    return [server for server in config.servers if server.settings[SSL_ENGINE]]


@dataclass(frozen=True, slots=True)
class Seen:
    """The content of a certificate, from an examiner."""

    file: str
    since: int  # seconds since 1970: when it is valid
    until: int
    names: tuple[str, ...]  # its names


@dataclass(slots=True)
class Keys:
    """All virtual hosts' keys. `files` are their files, open."""

    files: NamedFiles = field(default_factory=NamedFiles)
    sound: list[VirtualHost] = field(default_factory=list)  # without errors so far: examiners decide
    certificates: dict[int, list[Seen]] = field(default_factory=dict)  # by server id
    broken: dict[int, Problem] = field(default_factory=dict)  # server id -> why it cannot speak TLS
    forbidden: set[int] = field(default_factory=set)  # of those: those with a file that this process may not read
    passing: set[int] = field(default_factory=set)  # of those: those that their workers may find repaired
    protocols: dict[int, tuple[str, ...]] = field(default_factory=dict)  # server id -> what ALPN may choose

    @property
    def names(self) -> dict[int, list[str]]:
        """The names that each server's certificates are for."""
        return {
            server.id: list(dict.fromkeys(name for seen in self.of(server) for name in seen.names))
            for server in self.sound
        }

    @classmethod
    def open(cls, servers: Iterable[VirtualHost], files: NamedFiles) -> Keys:
        """Open the TLS files of these servers for clients."""
        keys = cls(files)
        for server in servers:
            fault = tls_problem(server)
            if fault is not None:
                keys.broken[server.id] = fault
                continue
            try:
                keys._open(server)
            except KeyProblem as error:
                keys.broken[server.id] = error.problem
                if error.forbidden:
                    keys.forbidden.add(server.id)
            else:
                keys.sound.append(server)
        return keys

    def _open(self, server: VirtualHost) -> None:
        check_lines(server)
        for setting, name in named(server.settings):
            self.files.open(name, is_folder=setting.name in FOLDERS)
            error = self.files.failed.get(name)
            if error is not None:
                reason = f"{setting.name} {name} cannot be read: {error.strerror}"
                raise KeyProblem(server, setting.name, reason, forbidden=isinstance(error, PermissionError))

    def take(self, server: VirtualHost, said: Certified | Unusable) -> None:
        """Record an examiner's report about a server. It comes from an owner's process: invalid reports are ignored."""
        if isinstance(said, Unusable):
            problem = KeyProblem(server, said.setting, said.reason)
            self.broken[server.id] = problem.problem
            if said.passing:
                self.passing.add(server.id)
            return
        files = server.settings[SSL_CERTIFICATES]
        if 0 <= said.place < len(files) and not any(seen.file == files[said.place] for seen in self.of(server)):
            names = tuple(name for name in said.names.split("\n") if name.isprintable())
            seen = Seen(files[said.place], said.since, said.until, names)
            self.certificates.setdefault(server.id, []).append(seen)

    def of(self, server: VirtualHost) -> list[Seen]:
        """What is known about a server's certificates."""
        return self.certificates.get(server.id, [])

    def opened(self, server: VirtualHost) -> dict[str, list[int]]:
        """The descriptors of a server's files that root opened."""
        return self.files.of(name for _, name in named(server.settings))
