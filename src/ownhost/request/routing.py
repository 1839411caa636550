"""The parts of a configuration that decide whose a request is: the assignments of a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ownhost.config.directive import Setting, Settings
from ownhost.config.model import Section, VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.http.limits import LIMIT_REQUEST_FIELD_SIZE, LIMIT_REQUEST_FIELDS, LIMIT_REQUEST_LINE, TIMEOUT
from ownhost.identity.assignment import ASSIGN_GROUP_ID_EXPR, ASSIGN_USER_ID, ASSIGN_USER_ID_EXPR, NICE_VALUE
from ownhost.identity.identity import UNASSIGNED, Assignment
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.errorlog import ERROR_LOG, ERROR_LOG_FORMAT, LOG_LEVEL
from ownhost.request.hosts import USE_CANONICAL_NAME, USE_CANONICAL_PHYSICAL_PORT
from ownhost.request.names import SERVER_ADMIN, SERVER_SOFTWARE, SERVER_TOKENS
from ownhost.request.target import ALLOW_ENCODED_SLASHES, MERGE_SLASHES

LONGEST_NAME = 255  # characters

IDENTITY: tuple[Setting[Any], ...] = (ASSIGN_USER_ID, ASSIGN_USER_ID_EXPR, ASSIGN_GROUP_ID_EXPR, NICE_VALUE)

# What a process is told about a server whose requests it does not serve: limits, and the place of
# its own messages.
_LOGGING = (
    *IDENTITY,
    DOCUMENT_ROOT,
    ALLOW_ENCODED_SLASHES,
    MERGE_SLASHES,
    SERVER_NAME,
    USE_CANONICAL_NAME,
    USE_CANONICAL_PHYSICAL_PORT,
    SERVER_ADMIN,
    SERVER_SOFTWARE,
    SERVER_TOKENS,
    ERROR_LOG,
    ERROR_LOG_FORMAT,
    LOG_LEVEL,
    TIMEOUT,
    LIMIT_REQUEST_LINE,
    LIMIT_REQUEST_FIELDS,
    LIMIT_REQUEST_FIELD_SIZE,
)


def fixed_assignment(settings: Settings) -> Assignment:
    """The identity that settings name without looking at a request: expressions do not count."""
    assignment = settings[ASSIGN_USER_ID] or UNASSIGNED
    nice = settings[NICE_VALUE]
    return replace(assignment, nice=nice) if nice else assignment


def is_fixed(server: VirtualHost) -> bool:
    """Whether all requests of a virtual host have one identity: no section sets another, and no expression does."""
    choices = choices_of(server)
    return not choices.computed and not any(True for _ in with_identities(server.sections))


@dataclass(frozen=True, slots=True)
class Choices:
    """The assignments that are possible in a virtual host."""

    assigned: frozenset[Assignment]
    nices: frozenset[int]
    any_user: bool
    any_group: bool

    @property
    def computed(self) -> bool:
        """Whether names come from expressions, so that they cannot be listed."""
        return self.any_user or self.any_group

    def listed(self) -> Iterator[Assignment]:
        """Those in the configuration: each pair of names with each nice value."""
        for assignment in sorted(self.assigned, key=repr):
            for nice in sorted(self.nices):
                yield replace(assignment, nice=nice)

    def allow(self, wanted: Assignment) -> bool:
        """Whether a request can come to this assignment at all."""
        return wanted.nice in self.nices and any(
            (wanted.user == one.user or (self.any_user and is_name(wanted.user)))
            and (wanted.group == one.group or (self.any_group and is_name(wanted.group)))
            for one in self.assigned
        )


def is_name(word: str | None) -> bool:
    """Whether an expression's value can be the name of a user or group: names only, as in mpm-itk."""
    return word is not None and is_word(word) and word[0] != "#"


def is_word(word: str) -> bool:
    """Whether it can be a user or group at all: a name, or "#number"."""
    return 0 < len(word) <= LONGEST_NAME and word.isprintable()


def choices_of(server: VirtualHost) -> Choices:
    """The assignments that are possible in a virtual host and its sections."""
    scopes = [server.settings, *(section.settings for section in with_identities(server.sections))]
    return Choices(
        frozenset(scope[ASSIGN_USER_ID] or UNASSIGNED for scope in scopes if ASSIGN_USER_ID in scope) | _base(server),
        frozenset(scope[NICE_VALUE] for scope in scopes),
        any(scope[ASSIGN_USER_ID_EXPR] is not None for scope in scopes),
        any(scope[ASSIGN_GROUP_ID_EXPR] is not None for scope in scopes),
    )


def _base(server: VirtualHost) -> frozenset[Assignment]:
    return frozenset((server.settings[ASSIGN_USER_ID] or UNASSIGNED,))


def with_identities(sections: Iterable[Section]) -> Iterator[Section]:
    """The sections that set identities, nested ones included."""
    for section in sections:
        if any(setting in section.settings for setting in IDENTITY):
            yield section
        yield from with_identities(section.sections)


def main_for_logging(server: VirtualHost, also: Iterable[Setting[Any]]) -> VirtualHost:
    """The main server as every process knows it: its limits, and the place of messages of no virtual host."""
    names = {setting.name for setting in (*_LOGGING, *also)}
    return VirtualHost(server.id, server.source, server.addresses, _only(server.settings, names))


def _only(settings: Settings, names: set[str]) -> Settings:
    return Settings({name: value for name, value in settings.values.items() if name in names})
