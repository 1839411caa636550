"""An explanation, for a person: the verdict, its causes, and the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ownhost.admin.explanation import Cause, Explanation, Ruled, Said

_WIDTH = 13  # of the label before each line
_LONGEST = 60  # characters of a directive, after which places have their column


def lines(found: Explanation, *, everything: bool = False) -> Iterator[str]:
    """The lines. Without `everything`, settings are those that the request depended on."""
    yield found.verdict
    for cause in found.causes:
        yield from _cause(cause, found.verdict)
    yield ""
    yield found.request
    yield _line("virtual host", f"{found.virtual_host} ({found.declared}), for {found.host}: {found.chosen}")
    if found.tls:
        yield _line("TLS", found.tls)
    if found.identity:
        yield from _identity(found)
    for message in found.rewriting:
        yield _line("rewriting", message.text)
    yield from _listed("section", found.sections)
    for rule in found.access:
        yield from _rule(rule, 0)
    yield from _listed("setting", found.settings if everything else found.looked_at)
    for one in found.overridden:
        yield _line("overridden", f"{one.what}  {one.declared}, by {one.by.what}  {one.by.declared}")
    for name, value in found.environment.items() if everything else ():
        yield _line("variable", f"{name}={value}")
    for message in found.messages:
        yield _line("log", f"[{message.module}:{message.level}] {message.text}")
    yield from _end(found)


def _end(found: Explanation) -> Iterator[str]:
    if found.file:
        yield _line("file", found.file + (f" (and {found.path_info} behind it)" if found.path_info else ""))
    if found.handler:
        yield _line("handler", found.handler)
    if found.program is not None:
        yield _line("program", f"{found.program.what}: {found.program.command}")
    yield _line("status", (str(found.status) if found.status else "none") + _to(found.location))
    for hop in found.follows:
        yield _line("then", f"{hop.url}: {hop.verdict}")


def _to(location: str) -> str:
    return f" to {location}" if location else ""


def _cause(cause: Cause, verdict: str) -> Iterator[str]:
    """A cause. The verdict's own words are not repeated."""
    if cause.what not in verdict:
        yield _line("because", cause.what + (f"  {cause.declared}" if cause.declared else ""))
    elif cause.declared and cause.declared not in verdict:
        yield _line("because of", cause.declared)
    if cause.fix:
        yield _line("fix", cause.fix)


def _identity(found: Explanation) -> Iterator[str]:
    who = found.identity
    if "refused" in who:
        yield _line("identity", f"refused: {who['refused']}")
    else:
        groups = f", groups {' '.join(map(str, who['groups']))}" if who["groups"] else ""
        nice = f", nice {who['nice']}" if who["nice"] else ""
        yield _line("identity", f"{who['user']} {who['group']} (uid {who['uid']}, gid {who['gid']}{groups}{nice})")
    yield from _listed("given by", found.identity_from)


def _rule(rule: Ruled, depth: int) -> Iterator[str]:
    why = f", {rule.why}" if rule.why else ""
    place = f"  {rule.declared}" if rule.declared else ""
    yield _line("access", f"{'  ' * depth}{rule.rule}: {rule.verdict}{why}{place}")
    for inner in rule.rules:
        yield from _rule(inner, depth + 1)


def _line(title: str, text: str) -> str:
    return f"  {title:<{_WIDTH}} {text}"


def _listed(title: str, said: Sequence[Said]) -> Iterator[str]:
    width = min(max((len(one.what) for one in said), default=0), _LONGEST)
    for one in said:
        yield _line(title, f"{one.what:<{width}}  {one.declared}")
