"""Resolve: (virtual host, path) -> assignment. The same code runs in gates and in workers.

It decides by the names alone: a gate may not look into an owner's tree. Where the file system then says otherwise, the
worker refuses the request (`walk.check_identity`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ownhost.config.directive import Settings
from ownhost.config.model import Section, VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.http.limits import (
    LIMIT_REQUEST_FIELD_SIZE,
    LIMIT_REQUEST_FIELDS,
    LIMIT_REQUEST_LINE,
    TIMEOUT,
)
from ownhost.http.message import HTTPError
from ownhost.http.target import ALLOW_ENCODED_SLASHES, MERGE_SLASHES, clean_path
from ownhost.identity.assignment import ASSIGN_USER_ID
from ownhost.identity.identity import Assignment
from ownhost.request.errorlog import ERROR_LOG, ERROR_LOG_FORMAT, LOG_LEVEL
from ownhost.request.module import MODULES, Place, in_order
from ownhost.request.sections import Sections, target_of
from ownhost.request.translate import DOCUMENT_ROOT

# What a gate is told of a server, beside what modules need to find files: limits, and where its own messages go.
_ROUTING = (
    ASSIGN_USER_ID,
    DOCUMENT_ROOT,
    ALLOW_ENCODED_SLASHES,
    MERGE_SLASHES,
    SERVER_NAME,
    ERROR_LOG,
    ERROR_LOG_FORMAT,
    LOG_LEVEL,
    TIMEOUT,
    LIMIT_REQUEST_LINE,
    LIMIT_REQUEST_FIELDS,
    LIMIT_REQUEST_FIELD_SIZE,
)


def fixed_assignment(server: VirtualHost) -> Assignment | None:
    """What the virtual host itself says of its identity; None is the default."""
    return server.settings[ASSIGN_USER_ID]


def is_fixed(server: VirtualHost) -> bool:
    """Whether all requests of a virtual host have one identity: no section says another."""
    return next(iter(_assigned(server.sections)), None) is None


def assignments(server: VirtualHost) -> Iterable[Assignment | None]:
    """Every assignment that a virtual host makes: its own, and those of its sections."""
    yield fixed_assignment(server)
    yield from _assigned(server.sections)


def _assigned(sections: Iterable[Section]) -> Iterable[Assignment]:
    for section in sections:
        assignment = section.settings[ASSIGN_USER_ID]
        if assignment is not None:
            yield assignment
        yield from _assigned(section.sections)


def routing_view(server: VirtualHost) -> VirtualHost:
    """A virtual host with nothing but what choosing an identity needs: no SetEnv, no password, no key."""
    names = {setting.name for setting in _ROUTING}
    for module in MODULES.values():
        names |= {setting.name for setting in module.routing}
    return VirtualHost(
        server.id,
        server.source,
        server.addresses,
        _only(server.settings, names),
        {},
        _routing_sections(server.sections),
        server.hosts,
    )


def _only(settings: Settings, names: set[str]) -> Settings:
    return Settings({name: value for name, value in settings.values.items() if name in names})


def _routing_sections(sections: Iterable[Section]) -> list[Section]:
    kept = []
    for section in sections:
        inner = _routing_sections(section.sections)
        # An <If> that says no is what its <Else> stands behind.
        if inner or ASSIGN_USER_ID in section.settings or section.kind in ("If", "ElseIf", "Else"):
            settings = _only(section.settings, {ASSIGN_USER_ID.name})
            kept.append(Section(section.kind, section.pattern, section.source, section.regex, settings, {}, inner))
    return kept


class Router:
    """One server, made ready to choose identities and file names by."""

    def __init__(self, server: VirtualHost) -> None:
        self.settings = server.settings
        self.sections = Sections(server.settings, server.sections)
        self.locators = [module.locate for module in in_order(server) if module.locate is not None]
        self.fixed = is_fixed(server)

    def locate(self, uri: str) -> Place:
        """The file name that a cleaned URI stands for: what a module says, or below DocumentRoot."""
        for locator in self.locators:
            place = locator(self.settings, uri)
            if place is not None:
                return place
        return Place(self.settings[DOCUMENT_ROOT].rstrip("/") + uri)

    def clean(self, raw: str) -> str:
        """A path as sent, decoded and cleaned. Raises HTTPError."""
        encoded = self.settings[ALLOW_ENCODED_SLASHES]
        return clean_path(raw, encoded_slashes=encoded, merge_slashes=self.settings[MERGE_SLASHES])

    def assignment(self, raw: str) -> Assignment | None:
        """Who serves a path as sent; a path that is refused anyway is the virtual host's own."""
        own = self.settings[ASSIGN_USER_ID]
        if self.fixed:
            return own
        try:
            uri = self.clean(raw)
        except HTTPError:
            return own
        target = target_of(uri, self.locate(uri).filename, "GET", folder_too=True)
        return self.sections.merge(self.sections.match(target))[ASSIGN_USER_ID]
