"""http_core: variables with which a configuration adapts the protocol to faulty clients.

Debian's setenvif.conf sets them for browsers of the 1990s (env.html, "Special Purpose Environment
Variables").
"""

from __future__ import annotations

from dataclasses import replace

from ownhost.http.message import Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request

NO_KEEP_ALIVE = "nokeepalive"
DOWNGRADE = "downgrade-1.0"  # treat a request as HTTP/1.0
FORCE_RESPONSE = "force-response-1.0"  # answer HTTP/1.0 with HTTP/1.0, not with 1.1


def finish(request: Request, response: Response) -> None:
    """Obey the variables, after all modules have set theirs."""
    env, head = request.env, request.head
    if DOWNGRADE in env and head.minor > 0:
        request.head = head = replace(head, minor=0)
        response.close = response.close or "keep-alive" not in head.values.get("connection", "").lower()
    if FORCE_RESPONSE in env:
        request.pure = False
        if head.protocol == "HTTP/1.0":
            response.minor, response.close = 0, True
    if NO_KEEP_ALIVE in env:
        response.close = True


register(Module(name="http_core", identifier="http_module", finish=finish))
