"""The TLS files of virtual hosts for servers behind them: opened as root if root may, and never read here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ownhost.config.directive import Problem
from ownhost.config.model import Config, VirtualHost
from ownhost.modules.ssl.proxy_directives import CERTIFICATES, ENGINE, FOLDERS, named_files, scopes
from ownhost.processes.messages import Unusable
from ownhost.processes.supervisor.named_files import NamedFiles

_SECRET = frozenset(setting.name for setting in CERTIFICATES)


@dataclass(slots=True)
class BackendFiles:
    """All files and folders that SSLProxy... name."""

    files: NamedFiles = field(default_factory=NamedFiles)
    problems: list[Problem] = field(default_factory=list)
    forbidden: list[Problem] = field(default_factory=list)  # files that this process may not read: as root it might

    @classmethod
    def open(cls, config: Config, files: NamedFiles) -> BackendFiles:
        """Open them."""
        found = cls(files)
        failed: dict[Problem, bool] = {}
        for scope in (scope for server in config.servers for scope in scopes(server)):
            for setting, name in named_files(scope.settings):
                files.open(name, is_folder=setting.name in FOLDERS)
                error = files.failed.get(name)
                if error is not None:
                    reason = f"{setting.name} {name} cannot be read: {error.strerror}"
                    failed[scope.problem(setting.name, reason)] = isinstance(error, PermissionError)
        for problem, forbidden in failed.items():
            (found.forbidden if forbidden and os.geteuid() != 0 else found.problems).append(problem)
        return found

    def to_examine(self, server: VirtualHost) -> tuple[int, ...]:
        """The scopes of a server that an examiner should try: those with TLS whose files are all right."""
        return tuple(
            place
            for place, scope in enumerate(scopes(server))
            if scope.settings[ENGINE] and not any(name in self.files.failed for _, name in named_files(scope.settings))
        )

    def take(self, server: VirtualHost, said: Unusable) -> None:
        """Record what an examiner says about a server; each thing once."""
        known = list(scopes(server))
        if 0 < said.scope <= len(known):
            problem = known[said.scope - 1].problem(said.setting, said.reason)
            if problem not in self.problems:
                self.problems.append(problem)

    def opened(self, server: VirtualHost, *, secret: bool = True) -> dict[str, Sequence[int]]:
        """The descriptors of the files that a server names, if root opened them; with keys only for `secret`."""
        found = [one for scope in scopes(server) for one in named_files(scope.settings)]
        keys = {name for setting, name in found if setting.name in _SECRET}
        return dict(self.files.of(name for _, name in found if secret or name not in keys))
