"""Why a request ends in an error: each cause with its place in the configuration, and the smallest fix.

Each finder knows one kind of error, and ignores the others.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ownhost.admin.access import NO, deciding
from ownhost.admin.explanation import Cause, Explanation
from ownhost.admin.quoting import line_at
from ownhost.config.directive import Source
from ownhost.http.framing import reason
from ownhost.http.message import HTTPError, Response
from ownhost.identity.identity import Identity
from ownhost.identity.permissions import Obstacle, find_obstacle
from ownhost.modules.mod_alias import CGI, REDIRECTS, Redirect
from ownhost.modules.mod_dir import DIRECTORY_INDEX
from ownhost.modules.mod_mime import EXTENSIONS, SET_HANDLER
from ownhost.modules.mod_php import OFF_HANDLER, VALUES
from ownhost.modules.mod_wsgi import HANDLER as WSGI
from ownhost.modules.rewriting.config import REWRITE
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.links import OPTIONS, Option
from ownhost.request.redirects import MAX_REDIRECTS
from ownhost.request.request import Request
from ownhost.request.walk import AccessRefused

_REWRITES = re.compile(r"(\[perdir .*\] )?rewrite '")  # the step of a rule that changes something


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a walk through the phases, for the request at its end."""

    request: Request
    response: Response
    error: HTTPError | None
    module: str  # whose hook decided; "" if none did
    identity: Identity
    assigned: bool  # whether a directive gave the identity, and not User and Group
    origin: Callable[[str], Source]

    @property
    def lacks_handler(self) -> bool:
        """Whether the request ended because its handler is missing."""
        handlers = self.request.site.handlers
        return self.error is not None and self.error.status == 500 and self.request.handler not in handlers

    def place(self, name: str) -> str:
        """The place where a setting was set."""
        return str(self.origin(name))


def behind(found: Explanation, outcome: Outcome) -> list[Cause]:
    """The causes of an error. The first one gives the verdict's sentence."""
    for find in _FINDERS:
        causes = list(find(found, outcome))
        if causes:
            return causes
    return [Cause(_plain(outcome.error, found.status))]


def _plain(error: HTTPError | None, status: int) -> str:
    """An error's own words, without those for tools that read logs."""
    text = (error.reason if error is not None else "") or reason(status)
    code, colon, rest = text.partition(": ")
    return rest if colon and code.startswith("AH") and code[2:].isdigit() else text


def _kernel(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    error = outcome.error
    if not isinstance(error, AccessRefused):
        return
    obstacle = find_obstacle(error.path, outcome.identity)
    if isinstance(obstacle, Obstacle):
        yield Cause(explain_obstacle(found, outcome, obstacle))
    else:
        yield Cause(f"{error.path}: the kernel refuses access to {who_is(outcome.identity)}, and no mode says why")


def explain_obstacle(found: Explanation, outcome: Outcome, obstacle: Obstacle) -> str:
    """Add who is stopped where by the kernel, and a fix. Returns the verdict's words for it."""
    identity = outcome.identity
    fix = f"`{obstacle.command(identity)}`"
    owner = obstacle.status.st_uid
    if not outcome.assigned and owner not in (0, identity.uid):
        names = " ".join(f'"{name}"' if name.startswith("#") else name for name in (obstacle.owner, obstacle.group))
        fix = f"serve it as {obstacle.owner}: AssignUserID {names}; or {fix}"
    elif owner == 0 and not obstacle.status.st_mode & 0o011:
        fix = f"keep the site out of root's folders; or {fix}"
    who = who_is(identity)
    found.causes.append(Cause(f"{obstacle.shown}; {who} may not {obstacle.verb} it", "", fix))
    return f"{identity.name} may not {obstacle.verb} {obstacle.path}"


def who_is(identity: Identity) -> str:
    """A name with its numbers."""
    groups = f", groups {' '.join(map(str, identity.groups))}" if identity.groups else ""
    return f"{identity.name} (uid {identity.uid}, gid {identity.gid}{groups})"


def _access(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    lines = list(deciding(found.access, NO))
    if not lines or outcome.module not in ("mod_authz_core", "mod_access_compat"):
        return
    client = outcome.request.endpoints.client
    first = f"{lines[0].rule} ({lines[0].declared})" if lines[0].declared else lines[0].rule
    yield Cause(f"the access rules do not let {client} in: {first}")
    for line in lines:
        yield Cause(f"{line.rule}: no" + (f", {line.why}" if line.why else ""), line.declared)


def _no_exec(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    if request.handler in (CGI, WSGI) and Option.EXEC_CGI not in request.settings[OPTIONS] and found.status == 403:
        place = outcome.place(OPTIONS.name) if OPTIONS in request.settings else ""
        yield Cause(f"Options ExecCGI is off for {request.filename}", place, "Options +ExecCGI in its <Directory>")


def _engine_off(_found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    if request.handler == OFF_HANDLER:
        place = outcome.origin(VALUES.name)
        said = str(place) if "engine" in line_at(place, "") else ""
        what = f"PHP's engine is off for {request.filename}, and its source is not sent"
        yield Cause(what, said, "php_admin_flag engine on")


def _no_handler(_found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    if request.stat is None or not request.handler or not outcome.lacks_handler:
        return
    setting = SET_HANDLER if request.settings[SET_HANDLER] == request.handler else EXTENSIONS
    place = outcome.place(setting.name) if setting in request.settings else ""
    what = f"there is no handler {request.handler} here, and {request.filename} may be a program: it is not sent"
    yield Cause(what, place, "name a handler that is here, or SetHandler none")


def _redirected(_found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    if outcome.module == "mod_alias" and (one := redirect_of(outcome.request)) is not None:
        yield Cause(f"{outcome.request.uri} is answered so by Redirect", str(one.source or ""))


def _ruled_out(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    if outcome.module == "mod_rewrite" and outcome.error is not None and not outcome.error.reason:
        rule = rule_behind(found, outcome, changed=False)
        yield Cause(f"a rule refuses it: {rule.what}", rule.declared)


def _missing(_found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    request, error = outcome.request, outcome.error
    if error is None or error.status != 404 or request.stat is not None or not request.filename:
        return
    missing = request.filename.rstrip("/")
    yield Cause(f"{missing} does not exist", "", _near(missing))
    root = request.document_root or request.site.settings[DOCUMENT_ROOT]
    if f"{root.rstrip('/')}/".startswith(f"{missing}/"):
        yield Cause(f"DocumentRoot {root} does not exist", outcome.place(DOCUMENT_ROOT.name), "make it, or correct it")


def _near(path: str) -> str:
    """The existing name most like a missing one, as a suggestion."""
    folder, _, name = path.rpartition("/")
    try:
        names = [entry.name for entry in Path(folder or "/").iterdir()]
    except OSError:
        return ""
    same = [one for one in names if one.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"{folder} has {near[0]}: did you mean that?" if near else ""


def _no_index(_found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    if outcome.error is None or outcome.error.module != "autoindex":
        return
    names = request.settings[DIRECTORY_INDEX]
    folder = request.filename
    where = outcome.place(DIRECTORY_INDEX.name) if DIRECTORY_INDEX in request.settings else ""
    yield Cause(f"{folder} has no {' or '.join(names) or 'index'}, and no listing is made of it")
    yield Cause(f"DirectoryIndex {' '.join(names) or 'disabled'}", where, "put one there, or name another file")
    off = outcome.place(OPTIONS.name) if OPTIONS in request.settings else ""
    yield Cause("Options: Indexes, which would have it listed, is off", off)


def _loop(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    if sum("[INTERNAL REDIRECT]" in step.text for step in found.rewriting) < MAX_REDIRECTS:
        return
    rule = rule_behind(found, outcome, changed=True)
    what = f"the rules lead to themselves, more than {MAX_REDIRECTS} times: {rule.what}"
    yield Cause(what, rule.declared, "end with [END], or have a RewriteCond say when the rule is not meant")


def rule_behind(found: Explanation, outcome: Outcome, *, changed: bool) -> Cause:
    """The last rule that was applied, from the steps; `changed`: only one that changed something."""
    pattern = applied = ""
    for step in found.rewriting:
        if "applying pattern '" in step.text:
            applied = step.text.partition("applying pattern '")[2].rpartition("' to uri")[0]
        if not changed or _REWRITES.match(step.text):
            pattern = applied
    rules = (*outcome.request.settings[REWRITE].rules, *outcome.request.site.settings[REWRITE].rules)
    source = next((rule.source for rule in rules if rule.pattern == pattern), None)
    if source is None:
        return Cause(f"RewriteRule {pattern}".rstrip(), outcome.place(REWRITE.name))
    return Cause(line_at(source, f"RewriteRule {pattern}"), str(source))


def redirect_of(request: Request) -> Redirect | None:
    """The Redirect for a request. Those of servers come first, as in their phase."""
    for said in (request.site.settings[REDIRECTS], request.settings[REDIRECTS]):
        if said.here is not None:
            return said.here
        for one in said.listed:
            if one.location(request.uri) is not None:
                return one
    return None


_FINDERS: tuple[Callable[[Explanation, Outcome], Iterator[Cause]], ...] = (
    _kernel,
    _access,
    _no_exec,
    _engine_off,
    _no_handler,
    _redirected,
    _ruled_out,
    _missing,
    _no_index,
    _loop,
)
