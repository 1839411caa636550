"""What would happen to a request, and why: the phases, run on a request that no client sent.

Nothing is served: programs are named, not run. If the caller is root, files are looked at as the
identity that would serve, in a process of its own. Otherwise they are looked at as the caller, and
modes tell what the identity could see.
"""

from __future__ import annotations

import json
import linecache
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urldefrag, urljoin

from ownhost.admin import causes, verdict
from ownhost.admin.access import rules_of
from ownhost.admin.asking import PORTS, Asked, ExplainError, Question, read_question, split_url
from ownhost.admin.explanation import Cause, Explanation, Hop, Message, Overridden, Said, restored
from ownhost.admin.programs import program_of
from ownhost.admin.quoting import line_at, title
from ownhost.config.directive import SETTINGS, Setting, Settings, Source
from ownhost.config.model import Config, Section
from ownhost.config.regex import PatternFailed
from ownhost.http.message import HTTPError, Response, let_go
from ownhost.identity import become
from ownhost.identity.accounts import is_assigned, look_up
from ownhost.identity.assignment import (
    ASSIGN_GROUP_ID_EXPR,
    ASSIGN_USER_ID,
    ASSIGN_USER_ID_EXPR,
    LIMIT_GID_RANGE,
    LIMIT_UID_RANGE,
    NICE_VALUE,
)
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.modules.mod_cgi import SCRIPT_LOG
from ownhost.modules.unixd import GROUP, USER
from ownhost.processes.supervisor.preparation import look_at_keys
from ownhost.request import serve
from ownhost.request.handlers import DEFAULT_HANDLER
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, wildcard
from ownhost.request.redirects import answer
from ownhost.request.request import Level, OtherIdentity, Phase, Request
from ownhost.request.resolve import resolve
from ownhost.request.road import Outcome, Step
from ownhost.request.routing import IDENTITY
from ownhost.request.sections import Match, Sections
from ownhost.request.site import Site

__all__ = ["ExplainError", "Question", "explain"]

MAX_HOPS = 10  # redirects that are followed
MAX_MOVES = 3  # identities to which a request is passed on
_SAME_METHOD = (307, 308)


def explain(config: Config, question: Question) -> Explanation:
    """Explain a request, and the targets of its redirects. Raises ExplainError."""
    for file in config.files:
        linecache.getlines(file)  # now, as other identities may not be able to read them
    found = _explain(config, question)
    found.verdict += _follow(config, question, found)
    return found


def _follow(config: Config, question: Question, found: Explanation) -> str:
    """Follow redirects within this configuration. Returns the verdict's words about their target, if any."""
    hops, seen, last = found.follows, [_key(question)], found
    while last.location and 300 <= last.status < 400:
        if len(hops) == MAX_HOPS:
            return f", and from there on and on, for more than {MAX_HOPS} redirects: browsers give up"
        try:
            before, question = question, _next(question, last)
            if not _is_ours(config, before, question):
                break
            if _key(question) in seen:
                hops.append(Hop(question.url, last.status, "asked for before"))
                count = "after one redirect" if len(hops) == 1 else f"after {len(hops)} redirects"
                return f", which leads back to itself {count}: browsers give up"
            seen.append(_key(question))
            last = _explain(config, question)
        except ExplainError:  # a target that is not a URL for a server leads nowhere
            break
        hops.append(Hop(question.url, last.status, last.verdict))
    return f"; there: {hops[-1].verdict}" if hops else ""


def _is_ours(config: Config, before: Question, after: Question) -> bool:
    """Whether a redirect stays with this server: at the same host, or at one that a server here has."""
    hosts = [split_url(one.url).hostname or "" for one in (before, after)]
    return hosts[0] == hosts[1] or any(
        wildcard(name).fullmatch(hosts[1])
        for server in config.servers
        for name in (server.settings[SERVER_NAME].host, *server.settings[SERVER_ALIASES])
    )


def _next(before: Question, found: Explanation) -> Question:
    """The browser's next request."""
    base = before.url if "://" in before.url else f"http://{before.url}"
    url = urldefrag(urljoin(base, found.location)).url
    method = before.method if found.status in _SAME_METHOD or before.method == "HEAD" else "GET"
    fields = [one for one in before.headers if not one.lower().startswith(("host:", "content-"))]
    return Question(url, fields, method, before.client)


def _key(question: Question) -> tuple[object, ...]:
    """The key by which two questions are equal."""
    parts = split_url(question.url)
    host = next((one[5:].strip() for one in question.headers if one.lower().startswith("host:")), parts.hostname)
    return question.method, parts.scheme, host, parts.port or PORTS[parts.scheme], parts.path or "/", parts.query


def _explain(config: Config, question: Question) -> Explanation:
    """Explain one request."""
    asked = read_question(config, question)
    server = asked.server
    found = Explanation(
        f"{asked.head.method} {asked.head.target}",
        f"{asked.head.host}:{asked.endpoints.local_port}",
        server.settings[SERVER_NAME].host or "the main server",
        str(server.source),
        asked.chosen,
        tls=asked.tls,
    )
    if asked.refused:
        found.connection, found.status = asked.refused, asked.status
        found.verdict = f"{asked.status}: {asked.refused}" if asked.status else asked.refused
        return found
    if server.fault is None:
        _Explainer(config, asked, found).run()
    else:
        verdict.judge_fault(found, server.fault)
    if not asked.named:
        what = f"no virtual host there goes by {asked.head.host or 'no name'}, so the first one answers"
        found.causes.append(Cause(what, found.declared, "add a ServerAlias to the one that is meant"))
    if asked.endpoints.secure:
        verdict.judge_certificate(found, asked.head.host, look_at_keys(config, server))
    return found


class _Watched(Settings):
    """Settings that remember which of them were looked at."""

    __slots__ = ("read",)

    def __init__(self, settings: Settings, read: set[str]) -> None:
        super().__init__(settings.values)
        self.read = read

    def __getitem__(self, setting: Setting[Any]) -> Any:
        self.read.add(setting.name)
        return super().__getitem__(setting)


class _Recorder(Sections):
    """Sections that remember which of them gave a request its settings, and which settings were read."""

    def __init__(self, sections: Sections, read: set[str]) -> None:
        self.__dict__.update(sections.__dict__)
        self.read = read
        self.given: list[tuple[Settings, Match]] = []

    def merge(self, match: Match) -> Settings:
        settings = _Watched(super().merge(match), self.read)
        self.given.append((settings, match))
        return settings

    def behind(self, settings: Settings) -> list[Section]:
        """The sections that gave settings to a request."""
        return next((match.sections for given, match in self.given if given is settings), [])


class _Explainer:
    """One request on its way through the phases."""

    def __init__(self, config: Config, asked: Asked, found: Explanation) -> None:
        # A question must not write into the owner's logs.
        quiet = {name: value for name, value in asked.server.settings.values.items() if name != SCRIPT_LOG.name}
        self.server = replace(asked.server, settings=Settings(quiet))
        self.config = config
        self.asked = asked
        self.found = found
        self.read: set[str] = set()
        self.decided: list[tuple[object, str, Request]] = []  # a response or an error, whose, of which request
        self.ruled: list[Settings] = []  # of requests whose access rules were evaluated
        settings = config.main.settings
        self.default = Assignment(settings[USER], settings[GROUP])
        self.ranges = settings[LIMIT_UID_RANGE], settings[LIMIT_GID_RANGE]
        self.site = self.make_site()

    def make_site(self) -> Site:
        """The virtual host, ready to serve and to report."""
        site = Site(self.server, lambda _: True, lambda _: None, [self.hear])
        site.sections = self.sections = _Recorder(site.sections, self.read)
        site.settings = _Watched(site.settings, self.read)
        site.traces_rewrite = True
        return site

    def hear(self, step: Step, request: Request, outcome: Outcome) -> None:
        """Note which module decided, and for which request: it may be one for an index, or for an error's page."""
        if step.module == "core":
            return
        if step.phase is Phase.ACCESS:
            self.ruled.append(request.settings)
        if outcome is None or isinstance(outcome, OtherIdentity):
            return
        if not any(known is outcome for known, _, _ in self.decided):
            self.decided.append((outcome, step.module, request))

    def request(self) -> Request:
        """A fresh copy of the request: each look at it starts from the beginning."""
        self.read.clear()
        self.ruled.clear()
        self.decided.clear()
        self.found.rewriting.clear()
        self.found.messages.clear()
        request = Request(self.asked.head, self.asked.endpoints, self.site, time.time(), self.log)
        for arrive in self.site.arrivals:
            arrive(request)
        return request

    def log(self, level: Level, module: str, text: str) -> None:
        """Take a message: steps of rewriting, and lines for the error log."""
        message = Message(module, level.name.lower(), text)
        if module == "rewrite" and level > Level.DEBUG:
            self.found.rewriting.append(message)
        elif level <= Level.INFO:
            self.found.messages.append(message)

    def run(self) -> None:
        """Find its identity, then its result. If the file turns out to be another identity's, look as that one."""
        request = self.request()
        assignment = resolve(request)
        self.found.identity_from = list(self.identity_sources(request, assignment))
        for _ in range(MAX_MOVES):
            complete = assignment.complete(self.default)
            identity = look_up(complete, *self.ranges)
            self.found.identity = {"user": complete.user, "group": complete.group, "nice": complete.nice}
            if isinstance(identity, Refusal):
                self.found.identity["refused"] = identity.reason
                verdict.judge_refusal(self.found, identity)
                return
            self.found.identity |= {"uid": identity.uid, "gid": identity.gid, "groups": [*identity.groups]}
            if os.geteuid() == 0:
                self.found_as(identity)
            else:
                self.serve(identity)
            if not self.found.elsewhere:
                return
            assignment = Assignment(*self.found.elsewhere)
            self.found.elsewhere = []
        raise ExplainError("the request goes to and fro between identities: each finds the file to be another's")

    def identity_sources(self, request: Request, assignment: Assignment) -> Iterator[Said]:
        """The directives that the identity comes from."""
        settings = request.settings or self.server.settings
        origin = self.origins(settings)
        asked: list[tuple[Setting[Any], str | None]] = [
            (ASSIGN_USER_ID, None),
            (ASSIGN_USER_ID_EXPR, assignment.user),
            (ASSIGN_GROUP_ID_EXPR, assignment.group),
            (NICE_VALUE, None),
        ]
        for setting, value in asked:
            if setting in settings and settings[setting] is not None:
                source = origin(setting.name)
                result = f" (comes to {value!r})" if value is not None else ""
                yield Said(line_at(source, setting.name) + result, str(source))
        if settings[ASSIGN_USER_ID] is None:
            main = self.config.main
            for setting in (USER, GROUP):
                source = main.origins.get(setting.name, main.source)
                yield Said(line_at(source, setting.name), str(source))

    def origins(self, settings: Settings) -> Callable[[str], Source]:
        """The last place that set each of a request's settings, among the sections that apply and the server."""
        found = dict(self.server.origins)
        for section in self.sections.behind(settings):
            found |= section.origins
        return lambda name: found.get(name, self.server.source)

    def found_as(self, identity: Identity) -> None:
        """Go on in a process with the identity, and take over its result."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reading)
                become.become(identity)
                self.serve(identity)
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
        self.found = _take(self.found, json.loads(text))

    def serve(self, identity: Identity) -> None:
        """All phases except the program's own."""
        self.site.is_mine = lambda wanted: is_assigned(identity, wanted.complete(self.default))
        request = self.request()
        error = None
        try:
            resolve(request)
            response = answer(request)
            serve.finish(request, response)
        except OtherIdentity as elsewhere:
            wanted = elsewhere.assignment
            self.found.elsewhere = [wanted.user, wanted.group, wanted.nice]
            self.found.identity_from = list(self.identity_sources(request, wanted))
            return
        except HTTPError as raised:
            error, response = raised, serve.error_response(request, raised)
        except PatternFailed as failed:
            error = HTTPError(500, str(failed))
            response = serve.error_response(request, error)
        except Exception:
            error = HTTPError(500, f"a bug in Ownhost, please report it: {traceback.format_exc()}")
            response = serve.error_response(request, error)
        let_go(response.body)
        self.tell(request, response, error, identity)

    def tell(self, request: Request, response: Response, error: HTTPError | None, identity: Identity) -> None:
        """Report a request's result."""
        found, final = self.found, request.answered_by or request
        _, module, concerned = next((one for one in self.decided if one[0] is (error or response)), (None, "", request))
        found.status = response.status
        found.location = response.header("location") or ""
        found.uri, found.file, found.path_info = final.uri, final.filename, final.path_info
        found.handler = (final.handler or DEFAULT_HANDLER) if response.status < 300 else ""
        found.environment = dict(sorted(final.env.items()))
        subject = concerned if error else final
        looked_at = {name for name in self.read if SETTINGS[name] not in IDENTITY}
        sections = self.sections.behind(subject.settings)
        found.sections = [Said(title(section), str(section.source)) for section in sections]
        settings = subject.settings or self.server.settings
        origin = self.origins(settings)
        for name in sorted(settings.values, key=str.lower):
            said = Said(line_at(origin(name), name), str(origin(name)))
            found.settings.append(said)
            if name in looked_at:
                found.looked_at.append(said)
        found.overridden = list(self.overridden(sections, looked_at))
        if any(one is subject.settings for one in self.ruled):
            found.access = rules_of(subject)
        if response.deferred is not None:
            found.program = program_of(final, identity)
        assigned = ASSIGN_USER_ID in settings and settings[ASSIGN_USER_ID] is not None
        verdict.judge(found, causes.Outcome(subject, response, error, module, identity, assigned, origin))

    def overridden(self, sections: Sequence[Section], names: set[str]) -> Iterator[Overridden]:
        """The directives whose settings inner sections have overridden: without them nothing would differ."""
        for name in sorted(names):
            scopes = [(self.server.settings, self.server.origins)] if name in self.server.origins else []
            scopes += [(section.settings, section.origins) for section in sections if name in section.origins]
            merge = SETTINGS[name].merge
            result, source = None, None
            for settings, origins in reversed(scopes):
                value = settings.values[name]
                if source is None:
                    result, source = value, origins[name]
                elif merge(value, result) == result:
                    said, by = (Said(line_at(place, name), str(place)) for place in (origins[name], source))
                    yield Overridden(said.what, said.declared, by)
                else:
                    result = merge(value, result)


def _take(found: Explanation, values: dict[str, Any]) -> Explanation:
    """Take over what another process found, in the same object."""
    there = restored(Explanation, values)
    for name in Explanation.__slots__:
        setattr(found, name, getattr(there, name))
    return found
