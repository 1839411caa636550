"""ServerName: read here because a <VirtualHost> address without a port has the main ServerName's port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ownhost.config.arguments import number, single
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare
from ownhost.config.globs import is_glob


@dataclass(frozen=True, slots=True)
class ServerName:
    """A server's own name: what UseCanonicalName and %v show. "" and 0 if it is not set."""

    host: str = ""  # lower case
    port: int = 0
    scheme: str = ""

    def __str__(self) -> str:
        return self.host


def parse_server_name(call: Call) -> ServerName:
    """Parse [scheme://]host[:port]."""
    word = single(call)
    if is_glob(word):
        raise ArgumentError(f"expected a host name, not {word!r}; further names and wildcards belong in ServerAlias")
    scheme, separator, rest = word.partition("://")
    if not separator:
        scheme, rest = "", word
    host, colon, port = rest.partition(":")
    if not host:
        raise ArgumentError(f"expected a host name, not {word!r}")
    return ServerName(host.lower(), number(port, 1, 65535) if colon else 0, scheme.lower())


def readable_name(arguments: Sequence[str]) -> ServerName:
    """The readable part of a wrong ServerName: the host, if there is one."""
    word = arguments[0] if arguments else ""
    host = word.partition("://")[2].partition("/")[0] if "://" in word else word
    host = host.partition(":")[0].lower()
    return ServerName("" if is_glob(host) else host)


SERVER_NAME = Setting("ServerName", ServerName(), readable=readable_name)

declare(
    Directive(
        "ServerName",
        "core",
        "[scheme://]host[:port]",
        SERVERS,
        "The server's own host name. Requests for it are recognised by it.",
        parse_server_name,
        setting=SERVER_NAME,
    )
)
