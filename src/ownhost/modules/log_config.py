"""mod_log_config: access logs.

LogFormat names formats. CustomLog and TransferLog say where lines of which format go. A virtual
host with logs of its own does not write to the main server's. GlobalLog is always written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ownhost.config.arguments import words
from ownhost.config.directive import (
    SERVER_ONLY,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Setting,
    Source,
    append,
    declare,
    outer_then_inner,
)
from ownhost.config.expression import Condition
from ownhost.config.expression_parser import parse_condition
from ownhost.config.model import VirtualHost
from ownhost.config.regex import PatternFailed
from ownhost.http.message import Response
from ownhost.modules.logformat import CODES, compile_format, constant_start
from ownhost.request import bugs
from ownhost.request.errorlog import LogTarget, parse_target
from ownhost.request.exchange import Exchange
from ownhost.request.expressions import holds
from ownhost.request.module import Module, register

COMMON = '%h %l %u %t "%r" %>s %b'


@dataclass(frozen=True, slots=True)
class CustomLog:
    """One access log. `format` is a nickname or a format; `condition` is NAME, !NAME, an expression or ""."""

    target: LogTarget
    format: str | None
    condition: str | Condition = ""
    source: Source | None = field(default=None, compare=False)


def _merge_formats(outer: dict[str, str], inner: dict[str, str]) -> dict[str, str]:
    return {**outer, **inner}


# "" is the format of a LogFormat without a nickname, for the TransferLogs after it.
LOG_FORMATS: Setting[dict[str, str]] = Setting("LogFormat", {"": COMMON, "common": COMMON}, _merge_formats)
CUSTOM_LOGS: Setting[tuple[CustomLog, ...]] = Setting("CustomLog", ())
GLOBAL_LOGS: Setting[tuple[CustomLog, ...]] = Setting("GlobalLog", (), outer_then_inner)


def parse_format(call: Call) -> dict[str, str]:
    """A format and its nickname."""
    found = words(1, 2)(call)
    if len(found) == 2:
        if "%" in found[1]:
            raise ArgumentError(f"expected a nickname without % after the format, not {found[1]!r}")
        compile_format(found[0])
        return {found[1]: found[0]}
    if "%" in found[0]:
        compile_format(found[0])
    return {"": found[0]}


def parse_custom_log(call: Call) -> CustomLog:
    """A place, a format or its nickname, and a condition."""
    found = words(2, 3)(call)
    condition = _parse_log_condition(found[2], call.source) if len(found) == 3 else ""
    if "%" in found[1]:
        compile_format(found[1])
    return CustomLog(parse_target(call, found[0]), found[1], condition, call.source)


def _parse_log_condition(word: str, source: Source) -> str | Condition:
    kind, equals, condition = word.partition("=")
    if kind.lower() == "expr" and equals:
        return parse_condition(condition, source)
    if kind.lower() != "env" or not equals or condition in ("", "!"):
        raise ArgumentError(f"expected env=NAME, env=!NAME or expr=expression, not {word!r}")
    return condition


def _is_logged(condition: str | Condition, exchange: Exchange) -> bool:
    """Whether an exchange is to be logged. An invalid request has no variables, and is always logged.

    So is one for which the condition fails.
    """
    request = exchange.request
    if isinstance(condition, str):
        return (request is not None and condition.lstrip("!") in request.env) != condition.startswith("!")
    if request is None:
        return True
    try:
        return holds(condition, request, _sent(exchange), sent=True)
    except PatternFailed as error:
        bugs.report(request.log, error)
        return True


def _sent(exchange: Exchange) -> Response:
    """The response as it was sent, with the fields of its framing."""
    return Response(exchange.response.status, exchange.response_headers)


def parse_transfer_log(call: Call) -> CustomLog:
    """A place; the format is the last LogFormat without a nickname."""
    (place,) = words(1, 1)(call)
    return CustomLog(parse_target(call, place), None)


def _fold_formats(before: dict[str, str] | None, formats: dict[str, str]) -> dict[str, str]:
    return {**(before or {}), **formats}


declare(
    Directive(
        name="LogFormat",
        module="mod_log_config",
        syntax="format|nickname [nickname]",
        where=SERVERS,
        default=f'"{COMMON}"'.replace('\\"', '"'),
        help="Names a format for access logs.",
        parse=parse_format,
        setting=LOG_FORMATS,
        fold=_fold_formats,
        words=(CODES,),
    )
)
declare(
    Directive(
        name="CustomLog",
        module="mod_log_config",
        syntax="file|pipe format|nickname [env=[!]environment-variable|expr=expression]",
        where=SERVERS,
        help="An access log: where, in which format, for which requests.",
        parse=parse_custom_log,
        setting=CUSTOM_LOGS,
        fold=append,
        words=(CODES,),
    )
)
declare(
    Directive(
        name="GlobalLog",
        module="mod_log_config",
        syntax="file|pipe format|nickname [env=[!]environment-variable|expr=expression]",
        where=SERVER_ONLY,
        help="An access log that virtual hosts with their own logs write as well.",
        parse=parse_custom_log,
        setting=GLOBAL_LOGS,
        fold=append,
        words=(CODES,),
    )
)
declare(
    Directive(
        name="TransferLog",
        module="mod_log_config",
        syntax="file|pipe",
        where=SERVERS,
        help="An access log in the last format that LogFormat set without a nickname.",
        parse=parse_transfer_log,
        setting=CUSTOM_LOGS,
        fold=append,
    )
)


def logs_of(server: VirtualHost) -> tuple[CustomLog, ...]:
    """Every access log of a virtual host."""
    return (*server.settings[CUSTOM_LOGS], *server.settings[GLOBAL_LOGS])


def _format_of(log: CustomLog, formats: dict[str, str]) -> str:
    """The format of a log, looked up among those with names."""
    name = "" if log.format is None else log.format
    if name == "":
        # LogFormat NICKNAME makes an earlier format the default.
        return formats.get(formats[""], formats[""])
    return formats.get(name, name)


def starts_of_lines(server: VirtualHost, target: LogTarget) -> list[str]:
    """The fixed start of a virtual host's lines in a log: one for each format of it there, or ""."""
    formats = LOG_FORMATS.default | server.settings[LOG_FORMATS]
    return [constant_start(_format_of(log, formats), server) for log in logs_of(server) if log.target == target]


class AccessLog:
    """A virtual host's access logs, with compiled formats. `writer` returns the writer of lines for a place."""

    def __init__(self, server: VirtualHost, writer: Callable[[LogTarget], Callable[[str], None]]) -> None:
        formats = LOG_FORMATS.default | server.settings[LOG_FORMATS]
        self.logs = [
            (
                writer(log.target),
                compile_format(_format_of(log, formats), server),
                log.condition,
            )
            for log in logs_of(server)
        ]

    def record(self, exchange: Exchange) -> None:
        """Log one exchange in all its logs."""
        for write, format_, condition in self.logs:
            if not condition or _is_logged(condition, exchange):
                write(format_(exchange))


register(Module(name="mod_log_config", identifier="log_config_module"))
