"""The values of %{NAME} in rules: server variables, and those with a prefix (ENV:, HTTP:, SSL:).

Values are text: header fields and queries are decoded.
"""

from __future__ import annotations

from ownhost.http.wire import unwire
from ownhost.request.request import Request
from ownhost.request.variables import VARIABLES, of_mod_ssl

SHORTEST = 4  # characters of a name


def header_of(name: str) -> str:
    """The request field that a variable shows; "" for any other variable."""
    kind, _, field = name.partition(":")
    if kind.upper() == "HTTP":
        return field
    variable = VARIABLES.get(name.upper())
    return variable.header if variable else ""


def value_of(request: Request, name: str) -> str:
    """The value of a variable; "" if there is none."""
    kind, colon, rest = name.partition(":")
    if colon:
        request.pure = False
        return _prefixed(request, kind.upper(), rest)
    variable = VARIABLES.get(name.upper())
    if variable is None or len(name) < SHORTEST:
        return ""
    if not variable.pure:
        request.pure = False
    return variable.get(request)


def _prefixed(request: Request, kind: str, name: str) -> str:
    if kind == "HTTP":
        return unwire(request.head.values.get(name.lower(), ""))
    if kind == "ENV":
        note = request.notes.get(name)
        return request.env.get(name, "") if note is None else note
    return of_mod_ssl(request, name) if kind == "SSL" else ""
