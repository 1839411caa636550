"""The verdict on a request in one sentence, and its causes, each with the smallest thing that changes it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ownhost.admin.access import NO, deciding
from ownhost.admin.explanation import Cause, Explanation
from ownhost.admin.quoting import line_at
from ownhost.config.directive import Source
from ownhost.http.certificates import covers
from ownhost.http.framing import reason
from ownhost.http.message import HTTPError, Response
from ownhost.identity.assignment import LIMIT_GID_RANGE, LIMIT_UID_RANGE
from ownhost.identity.identity import Identity, Refusal
from ownhost.identity.permissions import Obstacle, Unseen, find_obstacle
from ownhost.modules.mod_alias import CGI, REDIRECTS, Redirect
from ownhost.modules.mod_dir import DIRECTORY_INDEX
from ownhost.modules.mod_wsgi import HANDLER as WSGI
from ownhost.modules.rewriting.config import REWRITE
from ownhost.processes.keyfiles import KeyProblem
from ownhost.request.errors import ERROR_DOCUMENTS
from ownhost.request.links import OPTIONS, Option
from ownhost.request.request import Request
from ownhost.request.serve import MAX_REDIRECTS
from ownhost.request.translate import DOCUMENT_ROOT
from ownhost.request.walk import AccessRefused

_REWRITES = re.compile(r"(\[perdir .*\] )?rewrite '")  # the step of a rule that changes something
UNCERTAIN = "as far as can be seen without root, "


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a walk through the phases came to, for the request that it ended with."""

    request: Request
    response: Response
    error: HTTPError | None
    module: str  # whose hook decided; "" where none did
    identity: Identity
    assigned: bool  # whether a directive gave the identity, and not User and Group
    origin: Callable[[str], Source]

    def place(self, name: str) -> str:
        """Where a setting was said."""
        return str(self.origin(name))


def judge(found: Explanation, outcome: Outcome) -> None:
    """Say what a client gets, and why."""
    if os.geteuid() != outcome.identity.uid and _judge_by_modes(found, outcome):
        return
    judge_by_status = _success if found.status < 300 else _redirect if found.location else _failure
    sentence = judge_by_status(found, outcome)
    found.verdict = f"{found.status}: {sentence}" if not found.location else f"{found.status} {sentence}"
    if not found.certain:
        found.verdict = UNCERTAIN + found.verdict
    if outcome.error is not None:
        _add_error_document(found, outcome)


def judge_refusal(found: Explanation, refusal: Refusal) -> None:
    """There is no such identity: nobody serves the request."""
    found.status = 500
    found.verdict = f"500: nobody may serve it: {refusal.reason}"
    for said in found.identity_from:
        found.causes.append(Cause(said.what, said.declared))
    fix = "make the account, or name another"
    for limit in (LIMIT_UID_RANGE.name, LIMIT_GID_RANGE.name):
        if limit in refusal.reason:
            fix = f"name another account, or change {limit}"
    found.causes = [*found.causes[-1:], *found.causes[:-1]]
    found.causes[0].fix = fix


# Without root


def _judge_by_modes(found: Explanation, outcome: Outcome) -> bool:
    """Say what is not known, as this process is not the identity that would serve. Whether that is all to say."""
    found.certain = False
    error = outcome.error
    refused = isinstance(error, AccessRefused)
    path = error.path if isinstance(error, AccessRefused) else outcome.request.filename
    if not path.startswith("/") or outcome.request.is_proxied:
        return False
    if found.program is not None:
        path = path.rpartition("/")[0]  # whether the file itself may be run is looked at already
    obstacle = find_obstacle(path, outcome.identity)
    if refused:
        found.messages = [one for one in found.messages if one.text != str(error)]
    if isinstance(obstacle, Unseen):
        name = obstacle.path
        found.status, found.handler = 0, ""
        found.verdict = f"not known without root: what is in {name} cannot be seen by uid {os.geteuid()}"
        found.causes.append(Cause(f"{obstacle.shown}; {_who(outcome.identity)} may enter it", "", _ASK))
        return True
    if isinstance(obstacle, Obstacle):
        found.status, found.handler, found.program, found.location = 403, "", None, ""
        found.verdict = f"{UNCERTAIN}403: {_stopped(found, outcome, obstacle)}"
        return True
    if refused:  # and the identity would not be
        found.status = 200
        found.verdict = f"{UNCERTAIN}200: {path} is sent as {outcome.identity.name}"
        found.causes.append(Cause(f"uid {os.geteuid()} may not read it, and {outcome.identity.name} may", "", _ASK))
        return True
    return False


_ASK = "ask again as root"


# What comes of it


def _success(found: Explanation, outcome: Outcome) -> str:
    name = outcome.identity.name
    program = found.program
    if program is not None and program.trouble:
        found.status = program.status
        found.handler = ""
        found.causes.append(Cause(program.trouble, "", program.fix))
        return f"{program.what} cannot answer: {program.trouble}"
    if program is not None:
        joined = "is asked" if program.what == "another server" else "answers"
        return f"{program.what} {joined}, as {name}: {program.command}; what it says is not known before it does"
    if outcome.response.deferred is not None:
        return f"the handler {found.handler} answers, as {name}"
    if outcome.request.stat is None or outcome.request.method in ("OPTIONS", "TRACE"):
        return f"the server itself answers {outcome.request.method}"
    kind = f", {outcome.request.content_type}" if outcome.request.content_type else ""
    part = {206: "a part of ", 204: "nothing of "}.get(found.status, "")
    return f"{part}{found.file} is sent as {name}{kind}"


def _redirect(found: Explanation, outcome: Outcome) -> str:
    request = outcome.request
    if outcome.error is not None:
        found.causes += [one for one in _failures(found, outcome) if one.declared or one.fix]
        place = outcome.place(ERROR_DOCUMENTS.name)
        found.causes.append(Cause(f"ErrorDocument {outcome.error.status} is a URL", place))
    elif outcome.module == "mod_dir":
        found.causes.append(Cause(f"{request.filename} is a folder, and is asked for without a slash (DirectorySlash)"))
    elif outcome.module == "mod_alias":
        one = _redirect_of(request)
        if one is not None and one.source is not None:
            found.causes.append(Cause(line_at(one.source, "Redirect"), str(one.source)))
    elif outcome.module == "mod_rewrite":
        found.causes.append(_rule_behind(found, outcome, changed=True))
    return f"to {found.location}"


def _failure(found: Explanation, outcome: Outcome) -> str:
    if found.status == 304:
        return f"what the client has of {found.file} is as new (conditional request)"
    causes = list(_failures(found, outcome))
    found.causes += [one for one in causes if one.declared or one.fix]  # else the verdict says it all
    return causes[0].what


def _failures(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    """Why a request ends in an error: the first is the verdict's."""
    request, error = outcome.request, outcome.error
    if isinstance(error, AccessRefused):
        yield from _kernel(found, outcome, error)
    elif outcome.module in ("mod_authz_core", "mod_access_compat"):
        yield from _access(found, outcome)
    elif request.handler in (CGI, WSGI) and Option.EXEC_CGI not in request.settings[OPTIONS] and found.status == 403:
        place = outcome.place(OPTIONS.name) if OPTIONS in request.settings else ""
        yield Cause(f"Options ExecCGI is off for {request.filename}", place, "Options +ExecCGI in its <Directory>")
    elif outcome.module == "mod_alias" and (one := _redirect_of(request)) is not None:
        yield Cause(f"{request.uri} is answered so by Redirect", str(one.source or ""))
    elif outcome.module == "mod_rewrite" and error is not None and not error.reason:
        rule = _rule_behind(found, outcome, changed=False)
        yield Cause(f"a rule refuses it: {rule.what}", rule.declared)
    elif error is not None and error.status == 404 and request.stat is None and request.filename:
        yield from _missing(outcome)
    elif error is not None and error.status == 403 and request.is_folder and outcome.module == "mod_dir":
        yield from _no_index(outcome)
    elif sum("[INTERNAL REDIRECT]" in step.text for step in found.rewriting) >= MAX_REDIRECTS:
        yield _loop(found, outcome)
    else:
        yield Cause(_plain(error, found.status))


def _plain(error: HTTPError | None, status: int) -> str:
    """An error's own words, without those that are for tools that read logs."""
    text = (error.reason if error is not None else "") or reason(status)
    code, colon, rest = text.partition(": ")
    return rest if colon and code.startswith("AH") and code[2:].isdigit() else text


# Causes


def _kernel(found: Explanation, outcome: Outcome, error: AccessRefused) -> Iterator[Cause]:
    obstacle = find_obstacle(error.path, outcome.identity)
    if isinstance(obstacle, Obstacle):
        yield Cause(_stopped(found, outcome, obstacle))
    else:
        yield Cause(f"{error.path}: the kernel refuses access to {_who(outcome.identity)}, and no mode says why")


def _stopped(found: Explanation, outcome: Outcome, obstacle: Obstacle) -> str:
    """Add whom the kernel stops where, and how that can be changed; the verdict's words for it."""
    identity = outcome.identity
    fix = f"`{obstacle.command(identity)}`"
    owner = obstacle.status.st_uid
    if not outcome.assigned and owner not in (0, identity.uid):
        names = " ".join(f'"{name}"' if name.startswith("#") else name for name in (obstacle.owner, obstacle.group))
        fix = f"serve it as {obstacle.owner}: AssignUserID {names}; or {fix}"
    elif owner == 0 and not obstacle.status.st_mode & 0o011:
        fix = f"keep the site out of root's folders; or {fix}"
    who = _who(identity)
    found.causes.append(Cause(f"{obstacle.shown}; {who} may not {obstacle.verb} it", "", fix))
    return f"{identity.name} may not {obstacle.verb} {obstacle.path}"


def _who(identity: Identity) -> str:
    groups = f", groups {' '.join(map(str, identity.groups))}" if identity.groups else ""
    return f"{identity.name} (uid {identity.uid}, gid {identity.gid}{groups})"


def _access(found: Explanation, outcome: Outcome) -> Iterator[Cause]:
    lines = list(deciding(found.access, NO))
    if not lines:
        yield Cause(_plain(outcome.error, found.status))
        return
    client = outcome.request.endpoints.client
    first = f"{lines[0].rule} ({lines[0].declared})" if lines[0].declared else lines[0].rule
    yield Cause(f"the access rules do not let {client} in: {first}")
    for line in lines:
        yield Cause(f"{line.rule}: no" + (f", {line.why}" if line.why else ""), line.declared)


def _missing(outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    missing = request.filename.rstrip("/")
    yield Cause(f"{missing} does not exist", "", _near(missing))
    root = request.document_root or request.site.settings[DOCUMENT_ROOT]
    if f"{root.rstrip('/')}/".startswith(f"{missing}/"):
        yield Cause(f"DocumentRoot {root} does not exist", outcome.place(DOCUMENT_ROOT.name), "make it, or correct it")


def _near(path: str) -> str:
    """The name beside a missing one that is most like it, as something to try."""
    folder, _, name = path.rpartition("/")
    try:
        names = [entry.name for entry in Path(folder or "/").iterdir()]
    except OSError:
        return ""
    same = [one for one in names if one.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"{folder} has {near[0]}: did you mean that?" if near else ""


def _no_index(outcome: Outcome) -> Iterator[Cause]:
    request = outcome.request
    names = request.settings[DIRECTORY_INDEX]
    folder = request.filename
    where = outcome.place(DIRECTORY_INDEX.name) if DIRECTORY_INDEX in request.settings else ""
    yield Cause(f"{folder} has no {' or '.join(names) or 'index'}, and no listing is made of it")
    yield Cause(f"DirectoryIndex {' '.join(names) or 'disabled'}", where, "put one there, or name another file")
    if Option.INDEXES in request.settings[OPTIONS]:
        yield Cause("Options Indexes: no listings are made here yet", outcome.place(OPTIONS.name))


def _loop(found: Explanation, outcome: Outcome) -> Cause:
    rule = _rule_behind(found, outcome, changed=True)
    what = f"the rules lead to themselves, more than {MAX_REDIRECTS} times: {rule.what}"
    return Cause(what, rule.declared, "end with [END], or have a RewriteCond say when the rule is not meant")


def _rule_behind(found: Explanation, outcome: Outcome, *, changed: bool) -> Cause:
    """The last rule that was applied, as the steps have it; `changed`: that was applied and changed something."""
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


def _redirect_of(request: Request) -> Redirect | None:
    """The Redirect that is for a request: those of servers are asked first, as its own phase does."""
    for said in (request.site.settings[REDIRECTS], request.settings[REDIRECTS]):
        if said.here is not None:
            return said.here
        for one in said.listed:
            if one.location(request.uri) is not None:
                return one
    return None


def _add_error_document(found: Explanation, outcome: Outcome) -> None:
    document = outcome.request.settings[ERROR_DOCUMENTS].get(outcome.error.status) if outcome.error else None
    if document is not None and document.kind in ("path", "text") and not found.location:
        what = f"the page is ErrorDocument {document.value}" if document.kind == "path" else "the page is a text"
        found.causes.append(Cause(what, outcome.place(ERROR_DOCUMENTS.name)))


# TLS


def judge_certificate(found: Explanation, host: str, names: Sequence[str], problem: KeyProblem | None) -> None:
    """Say what keeps a client of TLS from getting so far."""
    if problem is not None and problem.forbidden and os.geteuid() != 0:
        found.certain = False
        found.causes.append(Cause(f"not looked at: {problem}", str(problem.problem.source), _ASK))
    elif problem is not None:
        found.connection = f"the TLS handshake fails: {problem}"
        found.causes.insert(0, Cause(str(problem), str(problem.problem.source)))
        found.verdict = found.connection
    elif names and host and not any(covers(name, host) for name in names):
        what = f"the certificate is for {', '.join(names)}, not for {host}: browsers warn of it"
        found.causes.append(Cause(what, "", f"get one for {host}, too"))
        found.verdict += f"; but {what}"
