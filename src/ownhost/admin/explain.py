"""What would happen to a request, and why: the phases, run on a request that no client sent.

Nothing is served: programs are named, not run. What looks at files does so as the identity that would serve, in a
process of its own, where the caller is root; else as the caller.
"""

from __future__ import annotations

import json
import linecache
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ownhost.config.addresses import numeric
from ownhost.config.directive import SETTINGS, Setting, Source
from ownhost.config.model import Config, Section, VirtualHost
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import FileBody, Head, HTTPError, Response
from ownhost.http.tls import VERSIONS, TLSFacts, TLSPolicy
from ownhost.identity import become
from ownhost.identity.accounts import look_up
from ownhost.identity.assignment import (
    ASSIGN_GROUP_ID_EXPR,
    ASSIGN_USER_ID,
    ASSIGN_USER_ID_EXPR,
    LIMIT_GID_RANGE,
    LIMIT_UID_RANGE,
    NICE_VALUE,
)
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.modules.mod_rewrite import REDIRECT
from ownhost.modules.ssl.directives import SSL_ENGINE, policy_of
from ownhost.modules.unixd import GROUP, USER
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, HostIndex
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.resolve import resolve
from ownhost.request.sections import Match, Sections, Target
from ownhost.request.serve import DEFAULT_HANDLER, respond
from ownhost.request.site import Site

LOOPBACK = "127.0.0.1"  # who asks, and is asked, unless said otherwise
CLIENT_PORT = 40_000


class ExplainError(Exception):
    """There is nothing to explain: the URL or a header field is none. One sentence."""


@dataclass(slots=True)
class Said:
    """A directive or section that had a say, and where it stands."""

    what: str
    declared: str


@dataclass(slots=True)
class Message:
    """What a phase had to say: a step of rewriting, or a line for the error log."""

    module: str
    level: str
    text: str


@dataclass(slots=True)
class Explanation:
    """All there is to say about a request. `status` and what follows it are empty where nobody may serve it."""

    request: str
    host: str
    virtual_host: str
    declared: str
    chosen: str
    identity: dict[str, Any] = field(default_factory=dict)
    identity_from: list[Said] = field(default_factory=list)
    rewriting: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    sections: list[Said] = field(default_factory=list)
    settings: list[Said] = field(default_factory=list)
    uri: str = ""
    file: str = ""
    path_info: str = ""
    handler: str = ""
    status: int = 0
    location: str = ""
    tls: str = ""  # what is spoken at the address; "" where that goes without saying
    environment: dict[str, str] = field(default_factory=dict)


def explain(config: Config, url: str, headers: Sequence[str], method: str, client: str) -> Explanation:
    """Explain a request. Raises ExplainError."""
    parts = _split(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    head = _head(config.main, parts, headers, method)
    server, local, chosen = _choose(config, parts.hostname or "", head.host, port)
    found = Explanation(
        f"{method} {head.target}",
        f"{head.host}:{port}",
        server.settings[SERVER_NAME].host or "the main server",
        str(server.source),
        chosen,
    )
    endpoints = Endpoints(client or LOOPBACK, CLIENT_PORT, local, port, secure=parts.scheme == "https")
    engine = server.settings[SSL_ENGINE]
    if engine and not endpoints.secure:
        found.status, found.tls = 400, "nothing but TLS is spoken here (SSLEngine): use https:// instead"
        return found
    if endpoints.secure:
        found.tls = _spoken(policy_of(server)) if engine else "none is spoken here: SSLEngine is off"
    if endpoints.secure and engine:
        endpoints.known = _facts(policy_of(server), head.host)
    _Explainer(config, server, head, endpoints, found).run()
    return found


def _spoken(policy: TLSPolicy) -> str:
    """The versions, and whether clients are asked for certificates."""
    asked = {"none": "are not asked for", "optional": "are asked for", "require": "are required"}[policy.verify]
    return f"{' or '.join(_versions(policy))}; clients' certificates {asked}"


def _versions(policy: TLSPolicy) -> list[str]:
    return [name for name in VERSIONS if name in policy.versions]


def _facts(policy: TLSPolicy, host: str) -> TLSFacts:
    """The connection that an up-to-date client without a certificate would have."""
    return TLSFacts(_versions(policy)[-1], "TLS_AES_256_GCM_SHA384", 256, host, resumed=False, algorithm_bits=256)


def _split(url: str) -> SplitResult:
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ExplainError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ExplainError(f"expected a URL such as http://alice.example/path, not {url!r}")
    return parts


def _choose(config: Config, asked: str, host: str, port: int) -> tuple[VirtualHost, str, str]:
    """The virtual host, the local address that a client would have come to, and why it is that one."""
    index = HostIndex.build(config.servers)
    local = _local_address(index, asked, host, port)
    names = index.names(local, port)
    server = config.servers[names.find(host)]
    if server.id == 0:
        return server, local, f"no virtual host is at {local}:{port}: the main server"
    if host == server.settings[SERVER_NAME].host:
        return server, local, "its ServerName"
    if server.id != names.default or host in server.settings[SERVER_ALIASES]:
        return server, local, "its ServerAlias"
    return server, local, f"the first at {local}:{port}, as no other goes by that name"


def _local_address(index: HostIndex, asked: str, host: str, port: int) -> str:
    """The URL's own address, where it has one; else that of the virtual hosts which know the name; else loopback."""
    if numeric(asked):
        return asked
    for (address, at), names in index.tables.items():
        if address and at in (port, 0) and host in names.exact:
            return address
    return next((address for address, at in index.tables if address and at in (port, 0)), LOOPBACK)


def _head(main: VirtualHost, parts: SplitResult, headers: Sequence[str], method: str) -> Head:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = [f"Host: {parts.netloc.rpartition('@')[2]}"]
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise ExplainError(f"expected a header field such as 'Cookie: a=b', not {header!r}")
        if name.strip().lower() == "host":
            fields.pop(0)
        fields.append(f"{name.strip()}: {value.strip()}")
    text = "\r\n".join((f"{method} {target} HTTP/1.1", *fields, "", ""))
    try:
        return parse_head(text.encode("utf-8"), head_limits(main.settings))
    except HTTPError as error:
        raise ExplainError(f"that is no request, and answered with {error.status}: {error.reason}") from None


class _Recorder(Sections):
    """Sections that remember what matched last."""

    def __init__(self, sections: Sections) -> None:
        self.__dict__.update(sections.__dict__)
        self.last = Match()

    def match(self, target: Target) -> Match:
        self.last = super().match(target)
        return self.last


class _Handlers(dict[str, Any]):
    """Handlers that are named, not run; but for those that only read a file, or go on with another URI."""

    def get(self, name: str, default: Any = None) -> Any:
        known = super().get(name, default)
        return known if name in (DEFAULT_HANDLER, REDIRECT) or known is None else lambda _: Response(200)


class _Explainer:
    """One request on its way."""

    def __init__(
        self, config: Config, server: VirtualHost, head: Head, endpoints: Endpoints, found: Explanation
    ) -> None:
        self.config = config
        self.server = server
        self.found = found
        self.site = Site(server, lambda _: True, lambda _: None)
        self.sections = self.site.sections = _Recorder(self.site.sections)
        self.site.handlers = _Handlers(self.site.handlers)
        self.site.traces_rewrite = True
        self.head = head
        self.endpoints = endpoints

    def request(self) -> Request:
        """The request, anew: each look at it begins at the beginning."""
        return Request(self.head, self.endpoints, self.site, time.time(), self.log)

    def log(self, level: Level, module: str, text: str) -> None:
        """Take a message: steps of rewriting, and what the error log would have."""
        message = Message(module, level.name.lower(), text)
        if module == "rewrite":
            self.found.rewriting.append(message)
        elif level <= Level.INFO:
            self.found.messages.append(message)

    def run(self) -> None:
        """Whose it is, then what it comes to."""
        request = self.request()
        assignment = resolve(request)
        self.found.identity_from = list(self.identity_sources(request, assignment))
        settings = self.config.main.settings
        default = Assignment(settings[USER], settings[GROUP])
        complete = assignment.complete(default)
        identity = look_up(complete, settings[LIMIT_UID_RANGE], settings[LIMIT_GID_RANGE])
        self.found.identity = {"user": complete.user, "group": complete.group, "nice": complete.nice}
        self.found.rewriting.clear()
        self.found.messages.clear()
        if isinstance(identity, Refusal):
            self.found.identity["refused"] = identity.reason
            self.found.status = 500
            return
        self.found.identity |= {"uid": identity.uid, "gid": identity.gid, "groups": [*identity.groups]}
        if os.geteuid() == 0:
            self.found_as(identity)
        else:
            self.serve()

    def identity_sources(self, request: Request, assignment: Assignment) -> Iterator[Said]:
        """The directives that the identity comes from."""
        settings = request.settings or self.server.settings
        asked: list[tuple[Setting[Any], str | None]] = [
            (ASSIGN_USER_ID, None),
            (ASSIGN_USER_ID_EXPR, assignment.user),
            (ASSIGN_GROUP_ID_EXPR, assignment.group),
            (NICE_VALUE, None),
        ]
        for setting, value in asked:
            if setting in settings and settings[setting] is not None:
                source = self.origin(setting)
                result = f" (comes to {value!r})" if value is not None else ""
                yield Said(_line(source, setting.name) + result, str(source))
        if settings[ASSIGN_USER_ID] is None:
            main = self.config.main
            for setting in (USER, GROUP):
                source = main.origins.get(setting.name, main.source)
                yield Said(_line(source, setting.name), str(source))

    def origin(self, setting: Setting[Any]) -> Source:
        """Where a setting was said last, of the sections that matched and the server."""
        for section in reversed(self.sections.last.sections):
            if setting.name in section.origins:
                return section.origins[setting.name]
        return self.server.origins.get(setting.name, self.server.source)

    def found_as(self, identity: Identity) -> None:
        """Go on in a process that is the identity, and take what it found."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reading)
                become.become(identity)
                self.serve()
                with open(writing, "w") as pipe:
                    json.dump(asdict(self.found), pipe)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        with open(reading) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        if not text:
            raise ExplainError("the process that looks at the files ended early; what it said is above")
        _fill(self.found, json.loads(text))

    def serve(self) -> None:
        """All phases but the program's own."""
        request = self.request()
        response = respond(request)
        final = request.answered_by or request
        found = self.found
        if isinstance(response.body, FileBody):
            os.close(response.body.fd)
        found.status = response.status
        found.location = response.header("location") or ""
        found.uri, found.file, found.path_info = final.uri, final.filename, final.path_info
        found.handler = (final.handler or DEFAULT_HANDLER) if response.status < 300 else ""
        found.environment = dict(sorted(final.env.items()))
        found.sections = [Said(_title(section), str(section.source)) for section in self.sections.last.sections]
        found.settings = [
            Said(_line(self.origin(SETTINGS[name]), name), str(self.origin(SETTINGS[name])))
            for name in sorted((final.settings or self.server.settings).values, key=str.lower)
        ]


def _fill(found: Explanation, values: Mapping[str, Any]) -> None:
    """Take over what another process found."""
    for name, value in values.items():
        if name in ("rewriting", "messages"):
            value = [Message(**one) for one in value]
        elif name in ("sections", "settings", "identity_from"):
            value = [Said(**one) for one in value]
        setattr(found, name, value)


def _title(section: Section) -> str:
    return f"<{section.kind} {section.pattern}>" if section.pattern else f"<{section.kind}>"


def _line(source: Source, name: str) -> str:
    """A directive as it stands in its file; its name where it stands in none."""
    text = linecache.getline(source.file, source.line).strip()
    return text or name


def lines(found: Explanation) -> Iterator[str]:
    """The explanation, for a person to read."""
    yield found.request
    yield f"  virtual host  {found.virtual_host} ({found.declared}), for {found.host}: {found.chosen}"
    if found.tls:
        yield f"  TLS           {found.tls}"
    who = found.identity
    if not who:
        yield f"  status        {found.status}"
        return
    if "refused" in who:
        yield f"  identity      refused: {who['refused']}"
    else:
        groups = f", groups {' '.join(map(str, who['groups']))}" if who["groups"] else ""
        nice = f", nice {who['nice']}" if who["nice"] else ""
        yield f"  identity      {who['user']} {who['group']} (uid {who['uid']}, gid {who['gid']}{groups}{nice})"
    yield from _listed("given by", found.identity_from)
    for message in found.rewriting:
        yield f"  rewriting     {message.text}"
    yield from _listed("section", found.sections)
    yield from _listed("setting", found.settings)
    for name, value in found.environment.items():
        yield f"  variable      {name}={value}"
    for message in found.messages:
        yield f"  log           [{message.module}:{message.level}] {message.text}"
    if found.file:
        yield f"  file          {found.file}" + (f" (and {found.path_info} behind it)" if found.path_info else "")
    if found.handler:
        yield f"  handler       {found.handler}"
    yield f"  status        {found.status}" + (f" to {found.location}" if found.location else "")


def _listed(title: str, said: Sequence[Said]) -> Iterator[str]:
    width = max((len(one.what) for one in said), default=0)
    for one in said:
        yield f"  {title:<13} {one.what:<{min(width, 60)}}  {one.declared}"
