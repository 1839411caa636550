"""The output of `ownhost vhosts`: servers, their names, the users who serve them, and the lines that say so."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ownhost.config.directive import Problem, Source
from ownhost.config.model import Config, Section, VirtualHost
from ownhost.identity.accounts import look_up
from ownhost.identity.assignment import ASSIGN_USER_ID, LIMIT_GID_RANGE, LIMIT_UID_RANGE
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.modules.unixd import GROUP, USER
from ownhost.processes.faulty import is_ownerless
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME

LookUp = Callable[[Assignment], Identity | Refusal]

HEADERS = ("ADDRESSES", "NAME", "ALIASES", "USER", "GROUP", "UID", "GID", "DECLARED AT", "IDENTITY FROM")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who serves: user and group as configured, and their ids.

    `uid` and `gid` are None if the kernel or LimitUIDRange would refuse: `refused` says why.
    `declared` is None if nothing is configured, and User and Group have their defaults.
    """

    user: str
    group: str
    uid: int | None
    gid: int | None
    refused: str
    declared: Source | None


@dataclass(frozen=True, slots=True)
class OwnedSection:
    """A section that chooses an identity of its own."""

    section: str
    declared: Source
    owner: Owner


@dataclass(frozen=True, slots=True)
class Host:
    """A server: the main one, without addresses of its own, or a virtual host."""

    main: bool
    addresses: list[str]
    name: str
    aliases: list[str]
    declared: Source
    owner: Owner
    sections: list[OwnedSection]
    faults: list[str]  # why it is answered with 500, each with its place


def hosts(config: Config) -> list[Host]:
    """All servers of a configuration: the main server, then the virtual hosts in order of appearance.

    A section that virtual hosts inherit from the main server is listed only there.
    """
    settings = config.main.settings

    default = Assignment(settings[USER], settings[GROUP])

    @functools.cache
    def find(assignment: Assignment) -> Identity | Refusal:
        return look_up(assignment.complete(default), settings[LIMIT_UID_RANGE], settings[LIMIT_GID_RANGE])

    inherited = {section.source for section in config.main.sections}
    result = [_host(config, config.main, config.main.sections, find)]
    for server in config.virtual_hosts:
        own = [section for section in server.sections if section.source not in inherited]
        result.append(_host(config, server, own, find))
    return result


def _host(config: Config, server: VirtualHost, sections: list[Section], find: LookUp) -> Host:
    if is_ownerless(config.main, server):
        owner = Owner("", "", None, None, str(server.fault), None)
        return _entry(config, server, owner, [])
    assignment = server.settings[ASSIGN_USER_ID]
    declared = server.origins.get(ASSIGN_USER_ID.name)
    if assignment is None:
        assignment = Assignment(config.main.settings[USER], config.main.settings[GROUP])
        declared = config.main.origins.get(USER.name)
    return _entry(config, server, _owner(assignment, declared, find), list(_owned(sections, find)))


def _entry(config: Config, server: VirtualHost, owner: Owner, sections: list[OwnedSection]) -> Host:
    return Host(
        main=server is config.main,
        addresses=[str(address) for address in server.addresses],
        name=server.settings[SERVER_NAME].host,
        aliases=[*server.settings[SERVER_ALIASES]],
        declared=server.source,
        owner=owner,
        sections=sections,
        faults=[str(problem) for problem in server.fault.problems] if server.fault else [],
    )


def _owned(sections: Iterable[Section], find: LookUp) -> Iterator[OwnedSection]:
    for section in sections:
        assignment = section.settings[ASSIGN_USER_ID]
        if assignment is not None:
            declared = section.origins.get(ASSIGN_USER_ID.name, section.source)
            title = f'<{section.kind} "{section.pattern}">'
            yield OwnedSection(title, section.source, _owner(assignment, declared, find))
        yield from _owned(section.sections, find)


def _owner(assignment: Assignment, declared: Source | None, find: LookUp) -> Owner:
    user, group = assignment.user or "", assignment.group or ""
    match find(assignment):
        case Refusal(reason=reason):
            return Owner(user, group, None, None, reason, declared)
        case Identity(uid=uid, gid=gid):
            return Owner(user, group, uid, gid, "", declared)


def refusals(hosts: Iterable[Host]) -> list[Problem]:
    """Each assignment without an identity, once, with its place."""
    found = {}
    for host in hosts:
        for declared, owner in [(host.declared, host.owner), *((s.declared, s.owner) for s in host.sections)]:
            if owner.refused and not (owner is host.owner and host.faults):
                problem = Problem(owner.declared or declared, f"no identity: {owner.refused}")
                found[str(problem)] = problem
    return list(found.values())


def lines(hosts: Iterable[Host]) -> Iterator[tuple[str, ...]]:
    """A line for each server, and one below it for each of its sections that chooses an identity."""
    for host in hosts:
        addresses = "main server" if host.main else ", ".join(host.addresses)
        yield addresses, host.name, " ".join(host.aliases), *_owner_cells(host.owner, host.declared)
        for section in host.sections:
            yield "", f"  {section.section}", "", *_owner_cells(section.owner, section.declared)


def _owner_cells(owner: Owner, declared: Source) -> tuple[str, ...]:
    ids = ("refused", "refused") if owner.refused else (str(owner.uid), str(owner.gid))
    return owner.user, owner.group, *ids, str(declared), str(owner.declared or "default")
