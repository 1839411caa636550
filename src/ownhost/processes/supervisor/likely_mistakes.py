"""Likely mistakes in a valid configuration: one sentence each, with a suggestion."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ownhost.config import known
from ownhost.config.directive import Problem, Setting, Source
from ownhost.config.model import Config, Section, SectionKind, VirtualHost
from ownhost.http.certificates import covers
from ownhost.modules.log_config import LOG_FORMATS, logs_of
from ownhost.modules.mod_alias import ALIASES
from ownhost.modules.mod_remoteip import HEADER, PROXIES, PROXY_PROTOCOL, Proxies
from ownhost.modules.mod_vhost_alias import VIRTUAL_DOCUMENT_ROOT
from ownhost.modules.rewriting.config import REWRITE
from ownhost.modules.ssl.directives import SSL_CERTIFICATES
from ownhost.processes.supervisor.keys import Keys, Seen
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, HostIndex, own_names

# A certificate expires soon. Short-lived ones (six days) are renewed later than others.
SOON = timedelta(days=14)
LAST_PART = 3  # of its lifetime, if that is less
_NEVER_A_PATH = re.compile(r"\^[A-Za-z0-9_]")  # the beginning of a LocationMatch that lacks the slash
_NEVER_IN_FOLDER = re.compile(r"\^/(?![?*{|])")  # a RewriteRule that begins with a slash, which is never there


def notes(config: Config, may_look: Callable[[str], bool]) -> list[Problem]:
    """All remarks, each once, except those on certificates. `may_look`: at which paths in the file system."""
    found = [note for find in _NOTES for note in find(config)]
    found += [note for look in _LOOKS for note in look(config, may_look)]
    return list(dict.fromkeys(found))


def _missing_roots(config: Config, may_look: Callable[[str], bool]) -> Iterator[Problem]:
    """A DocumentRoot that does not exist. One that only its owner can see is not checked."""
    for server in config.servers:
        source = server.origins.get(DOCUMENT_ROOT.name)
        if source is None or server.settings[VIRTUAL_DOCUMENT_ROOT] is not None:
            continue
        root = server.settings[DOCUMENT_ROOT]
        if not may_look(root):
            continue
        try:
            os.stat(root)
        except (FileNotFoundError, NotADirectoryError):
            yield Problem(source, f"DocumentRoot {root} does not exist{_near(root)}: make it, or correct the path")
        except OSError:
            continue
        else:
            if not Path(root).is_dir():
                yield Problem(source, f"DocumentRoot {root} is not a folder: name the folder that it is in")


def _shadowed(config: Config) -> Iterator[Problem]:
    """Virtual hosts whose names earlier ones have, too."""
    index = HostIndex.build(config.servers)
    for server in config.virtual_hosts:
        tables = [index.tables[address.host, address.port] for address in server.addresses]
        names = dict.fromkeys((*own_names(server, config.main), *server.settings[SERVER_ALIASES]))
        if not tables or any(table.default == server.id for table in tables):
            continue
        asked = {name: {table.find(name) for table in tables} for name in names}
        taken = {name: config.servers[min(ids - {server.id})] for name, ids in asked.items() if ids != {server.id}}
        if taken and not any(server.id in ids for ids in asked.values()):
            name, first = next(iter(taken.items()))
            inherited = "" if _says_name(config, server) else ", which has no ServerName,"
            what = f"this virtual host{inherited} gets no requests: {first.source} goes by {name}, too, and comes first"
            yield Problem(server.source, f"{what}; give each a ServerName of its own")
            continue
        for name, first in taken.items():
            what = f"requests for {name} go to {first.source}, which goes by that name, too, and comes first"
            yield Problem(server.source, f"{what}; take it out of one of them")


def _says_name(config: Config, server: VirtualHost) -> bool:
    """Whether a virtual host has a ServerName of its own."""
    return server.origins.get(SERVER_NAME.name) not in (None, config.main.origins.get(SERVER_NAME.name))


def _unknown_formats(config: Config) -> Iterator[Problem]:
    """A nickname without a LogFormat: Apache takes it as the format itself, and so does Ownhost."""
    for server in config.servers:
        formats = LOG_FORMATS.default | server.settings[LOG_FORMATS]
        for log in logs_of(server):
            if log.source and log.format and "%" not in log.format and log.format not in formats:
                hint = known.suggestion(log.format, [name for name in formats if name])
                yield Problem(
                    log.source,
                    f"there is no LogFormat {log.format}: each line of this log is that word, and nothing else{hint}",
                )


def _sections(config: Config) -> Iterator[Section]:
    """All sections, inner ones too; the main server's, which virtual hosts inherit, once."""
    pending = list({id(section): section for server in config.servers for section in server.sections}.values())
    for section in pending:
        yield section
        pending += section.sections


def _unmatched_locations(config: Config) -> Iterator[Problem]:
    """A Location whose path does not begin with a slash, as all paths of requests do."""
    for section in _sections(config):
        pattern = section.pattern
        if section.kind is SectionKind.LOCATION and not pattern.startswith(("/", "*", "?", "[")):
            if "://" not in pattern:
                yield Problem(section.source, f"<Location {pattern}> matches nothing; write <Location /{pattern}>")
        elif section.kind is SectionKind.LOCATION_MATCH and _NEVER_A_PATH.match(pattern):
            better = f"^/{pattern[1:]}"
            yield Problem(section.source, f"<LocationMatch {pattern}> matches nothing; write <LocationMatch {better}>")


def _misspelt_directories(config: Config, may_look: Callable[[str], bool]) -> Iterator[Problem]:
    """A Directory that does not exist, beside one with a similar name."""
    for section in _sections(config):
        if section.kind is not SectionKind.DIRECTORY or section.regex is not None or not may_look(section.pattern):
            continue
        if near := _near(section.pattern):
            path = section.pattern.rstrip("/")
            yield Problem(section.source, f"<Directory {path}> is for a folder that does not exist{near}")


def _near(path: str) -> str:
    """A suggestion for a path that does not exist."""
    folder, _, name = path.rstrip("/").rpartition("/")
    try:
        if not name or Path(path).exists():
            return ""
        names = [entry.name for entry in Path(folder or "/").iterdir() if entry.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f" (did you mean {folder}/{near[0]}?)" if near else ""


def _unmatched_rules(config: Config) -> Iterator[Problem]:
    """Rules of a folder whose pattern begins with the slash, which paths do not have there."""
    for section in _sections(config):
        if section.kind is not SectionKind.DIRECTORY or REWRITE not in section.settings:
            continue
        for rule in section.settings[REWRITE].rules:
            if rule.source and not rule.negated and _NEVER_IN_FOLDER.match(rule.pattern):
                what = f"RewriteRule {rule.pattern} matches nothing: in a <Directory>, paths come without the slash"
                yield Problem(rule.source, f"{what} in front; write ^{rule.pattern[2:]}")


def _unlike_aliases(config: Config) -> Iterator[Problem]:
    """An Alias with a slash at the end of its path, and none at the end of its folder."""
    scopes = [server.settings for server in config.servers] + [section.settings for section in _sections(config)]
    for settings in scopes:
        for alias in settings[ALIASES].listed:
            target = alias.target
            if not alias.source or not isinstance(target, str) or not alias.prefix.endswith("/"):
                continue
            if alias.prefix != "/" and not target.endswith("/"):
                what = f"{alias.prefix}x leads to {target}x: end both {alias.prefix} and {target} with a slash, or none"
                yield Problem(alias.source, what)


def of_certificates(config: Config, keys: Keys) -> Iterator[Problem]:
    """Certificates for other names, or near their end, as far as they were checked."""
    for server in keys.sound:
        source = server.origins.get(SSL_CERTIFICATES.name, server.source)
        for seen in keys.of(server):
            yield from _nearly_over(source, seen)
        names = [name for seen in keys.of(server) for name in seen.names]
        if names:
            yield from _other_names(config, server, source, names)


def _nearly_over(source: Source, seen: Seen) -> Iterator[Problem]:
    since, until = (datetime.fromtimestamp(at, UTC) for at in (seen.since, seen.until))
    left = until - datetime.now(UTC)
    if timedelta(0) < left < min(SOON, (until - since) / LAST_PART):
        days = f"{left.days} days" if left.days != 1 else "1 day"
        when = f"in {days}, on {until:%Y-%m-%d}" if left.days else f"within a day, at {until:%Y-%m-%d %H:%M} UTC"
        yield Problem(source, f"SSLCertificateFile {seen.file} expires {when}: renew it")


def _other_names(config: Config, server: VirtualHost, source: Source, certified: list[str]) -> Iterator[Problem]:
    own = [server.settings[SERVER_NAME].host] if _says_name(config, server) else []
    wanted = [name for name in (*own, *server.settings[SERVER_ALIASES]) if "?" not in name]
    missing = [name for name in dict.fromkeys(wanted) if not any(covers(one, name) for one in certified)]
    if missing:
        what = f"the certificate is for {', '.join(certified)}, and not for {', '.join(missing)}"
        yield Problem(source, f"{what}: browsers warn of it; have it made for all names")


def _unlisted_proxies(config: Config) -> Iterator[Problem]:
    """Directives that wait for a proxy's word about its client, without a listed proxy.

    Apache believes all, Ownhost none.
    """
    for server in config.servers:
        asked: tuple[tuple[Setting[Any], Proxies, str], ...] = (
            (HEADER, server.settings[PROXIES], ""),
            (PROXY_PROTOCOL, config.main.settings[PROXIES], ", outside of all virtual hosts"),
        )
        for setting, proxies, where in asked:
            source = server.origins.get(setting.name)
            if source is not None and server.settings[setting] and not proxies.listed:
                what = f"{setting.name}: no proxy is listed, so no client is believed"
                yield Problem(source, f"{what}; list proxies with RemoteIPTrustedProxy or RemoteIPInternalProxy{where}")


_NOTES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    _shadowed,
    _unknown_formats,
    _unmatched_locations,
    _unmatched_rules,
    _unlike_aliases,
    _unlisted_proxies,
)
_LOOKS = (_missing_roots, _misspelt_directories)
