"""Resolve: which identity a request has.

The worker with the client asks, and so does the one that a request is relayed to.

Variables from the head, rewriting, the file name, its sections, and expressions decide, in Apache's
order. Only names count: the tree may be another user's. If the file system then says otherwise, the
request goes to the identity that it says (`walk.check_identity`).
"""

from __future__ import annotations

from ownhost.config.directive import Settings
from ownhost.config.regex import PatternFailed
from ownhost.http.message import HTTPError
from ownhost.identity.assignment import ASSIGN_GROUP_ID_EXPR, ASSIGN_USER_ID, ASSIGN_USER_ID_EXPR, NICE_VALUE
from ownhost.identity.identity import UNASSIGNED, Assignment
from ownhost.request import expressions
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance
from ownhost.request.routing import fixed_assignment, is_name
from ownhost.request.sections import target_of


def resolve(request: Request) -> Assignment:
    """The identity of a request. If it is answered or refused before that is known, the virtual host's own."""
    site = request.site
    own = fixed_assignment(site.settings)
    if site.fixed:
        return own
    try:
        request.outcome = advance(request, Phase.TRANSLATE)
        if request.outcome is not None:
            return own
        target = target_of(
            request.uri,
            request.filename,
            lambda condition: expressions.holds(condition, request),
            whole=True,
        )
        match = site.sections.match(target)
        if match.variables:
            request.env.update(match.variables)
        request.settings = site.sections.merge(match)
        pure = request.pure
        request.assignment = assigned(request, request.settings)
        request.pure = pure  # who serves is decided for every request; a response may be remembered
    except (HTTPError, PatternFailed) as error:
        request.outcome = error
        return own
    return request.assignment


def assigned(request: Request, settings: Settings) -> Assignment:
    """The assignment in merged settings. Raises HTTPError 500 if an expression gives no name."""
    user, group = settings[ASSIGN_USER_ID_EXPR], settings[ASSIGN_GROUP_ID_EXPR]
    if user is None and group is None:
        return fixed_assignment(settings)
    written = settings[ASSIGN_USER_ID] or UNASSIGNED
    return Assignment(
        written.user if user is None else _name(expressions.value(user, request), "AssignUserIDExpr", "user"),
        written.group if group is None else _name(expressions.value(group, request), "AssignGroupIDExpr", "group"),
        settings[NICE_VALUE],
    )


def _name(value: str, directive: str, kind: str) -> str:
    """The value of an expression, if it can be a name. The supervisor says whether there is such an account."""
    if not is_name(value):
        raise HTTPError(500, f"{directive} returned {value!r}, which is not a valid {kind} name", module="mpm_itk")
    return value
