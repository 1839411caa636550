"""The verdict on a request, in one sentence."""

from __future__ import annotations

import os

from ownhost.admin.causes import Outcome, behind, explain_obstacle, redirect_of, rule_behind, who_is
from ownhost.admin.explanation import Cause, Explanation
from ownhost.admin.quoting import line_at
from ownhost.config.model import Fault
from ownhost.http.certificates import covers
from ownhost.identity.assignment import LIMIT_GID_RANGE, LIMIT_UID_RANGE
from ownhost.identity.identity import Refusal
from ownhost.identity.permissions import Obstacle, Unseen, find_obstacle
from ownhost.processes.supervisor.preparation import Looked
from ownhost.request.errors import ERROR_DOCUMENTS
from ownhost.request.walk import AccessRefused

UNCERTAIN = "as far as can be seen without root, "
_ASK = "ask again as root"


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
    """There is no such identity: no user serves the request."""
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


def judge_fault(found: Explanation, fault: Fault) -> None:
    """The virtual host has errors, and answers nothing else."""
    first, *more = fault.problems
    also = f", and {len(more)} more" if more else ""
    found.status = 500
    found.verdict = f"500: its virtual host has an error in it: {first.message}{also}"
    causes = [Cause(problem.message, str(problem.source)) for problem in fault.problems]
    causes[0].fix = "fix it: nothing of a virtual host with an error is served; ownhost check lists all errors"
    found.causes += causes


# Without root


def _judge_by_modes(found: Explanation, outcome: Outcome) -> bool:
    """Say what is not known, as this process does not have the identity that would serve.

    Returns whether that is all.
    """
    found.certain = False
    error = outcome.error
    refused = isinstance(error, AccessRefused)
    path = error.path if isinstance(error, AccessRefused) else outcome.request.filename
    if not path.startswith("/") or outcome.request.is_proxied:
        return False
    if found.program is not None:
        path = path.rpartition("/")[0]  # whether the file itself may be run is checked already
    obstacle = find_obstacle(path, outcome.identity)
    if refused:
        found.messages = [one for one in found.messages if one.text != str(error)]
    if isinstance(obstacle, Unseen):
        name = obstacle.path
        found.status, found.handler = 0, ""
        found.verdict = f"not known without root: what is in {name} cannot be seen by uid {os.geteuid()}"
        found.causes.append(Cause(f"{obstacle.shown}; {who_is(outcome.identity)} may enter it", "", _ASK))
        return True
    if isinstance(obstacle, Obstacle):
        found.status, found.handler, found.program, found.location = 403, "", None, ""
        found.verdict = f"{UNCERTAIN}403: {explain_obstacle(found, outcome, obstacle)}"
        return True
    if refused:  # and the identity would not be
        found.status = 200
        found.verdict = f"{UNCERTAIN}200: {path} is sent as {outcome.identity.name}"
        found.causes.append(Cause(f"uid {os.geteuid()} may not read it, and {outcome.identity.name} may", "", _ASK))
        return True
    return False


# The result


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
        return f"{program.what} {joined}, as {name}: {program.command}; its response is not known before it runs"
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
        found.causes += [one for one in behind(found, outcome) if one.declared or one.fix]
        place = outcome.place(ERROR_DOCUMENTS.name)
        found.causes.append(Cause(f"ErrorDocument {outcome.error.status} is a URL", place))
    elif outcome.module == "mod_dir":
        found.causes.append(
            Cause(f"{request.filename} is a folder, and the request has no slash at its end (DirectorySlash)")
        )
    elif outcome.module == "mod_alias":
        one = redirect_of(request)
        if one is not None and one.source is not None:
            found.causes.append(Cause(line_at(one.source, "Redirect"), str(one.source)))
    elif outcome.module == "mod_rewrite":
        found.causes.append(rule_behind(found, outcome, changed=True))
    return f"to {found.location}"


def _failure(found: Explanation, outcome: Outcome) -> str:
    if found.status == 304:
        return f"the client's copy of {found.file} is still valid (conditional request)"
    causes = behind(found, outcome)
    found.causes += [one for one in causes if one.declared or one.fix]  # else the verdict says it all
    return causes[0].what


def _add_error_document(found: Explanation, outcome: Outcome) -> None:
    document = outcome.request.settings[ERROR_DOCUMENTS].get(outcome.error.status) if outcome.error else None
    if document is not None and document.kind in ("path", "text") and not found.location:
        what = f"the page is ErrorDocument {document.value}" if document.kind == "path" else "the page is a text"
        found.causes.append(Cause(what, outcome.place(ERROR_DOCUMENTS.name)))


# TLS


def judge_certificate(found: Explanation, host: str, looked: Looked) -> None:
    """Say why a TLS client does not get that far."""
    if looked.unseen is not None:
        found.certain = False
        found.causes.append(Cause(f"not looked at: {looked.unseen.message}", str(looked.unseen.source), _ASK))
    elif looked.problem is not None:
        found.connection = f"the TLS handshake fails: {looked.problem.message}"
        found.causes.insert(0, Cause(looked.problem.message, str(looked.problem.source)))
        found.verdict = found.connection
    elif looked.names and host and not any(covers(name, host) for name in looked.names):
        what = f"the certificate is for {', '.join(looked.names)}, not for {host}: browsers warn of it"
        found.causes.append(Cause(what, "", f"get one for {host}, too"))
        found.verdict += f"; but {what}"
