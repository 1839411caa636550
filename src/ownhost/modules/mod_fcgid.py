"""mod_fcgid: FastCGI programs that are started for scripts, as panels run PHP (mod_fcgid 2.3.9).

The launcher decides how many run and for how long, as for all programs that stay. Directives that
tune only mod_fcgid's own process manager have no effect. `apps.fcgid` asks the programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ownhost.config import lexer
from ownhost.config.arguments import choice, integer, number, single, words
from ownhost.config.directive import (
    ANYWHERE,
    SERVER_ONLY,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Where,
    append,
    declare,
    outer_then_inner,
)

HANDLER = "fcgid-script"


@dataclass(frozen=True, slots=True)
class Wrapper:
    """The program for scripts. `virtual`: also for scripts that do not exist."""

    command: tuple[str, ...]
    virtual: bool = False


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The values of FcgidCmdOptions for one command, if they differ from those for all; None is not set."""

    environment: tuple[tuple[str, str], ...] = ()
    processes: int | None = None
    max_requests: int | None = None
    idle_timeout: int | None = None
    io_timeout: int | None = None


Wrappers = Mapping[str, Wrapper]  # by the extension of scripts, with its dot; "" for all others
Variables = Mapping[str, str]
Commands = Mapping[str, CommandOptions]  # by the file


def _joined(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(before or {}), **after}


def parse_wrapper(call: Call) -> Wrappers:
    """A command with its arguments in one word, then perhaps an extension, and perhaps "virtual"."""
    text, *rest = words(1, 3)(call)
    virtual = bool(rest) and rest[-1].lower() == "virtual"
    extension = "".join(rest[:-1] if virtual else rest)
    if len(rest) - virtual > 1 or (extension and (not extension.startswith(".") or "/" in extension)):
        raise ArgumentError(f"expected an extension such as .php and perhaps virtual, not {' '.join(rest)!r}")
    command = lexer.words(text)
    if not command or not command[0].startswith("/"):
        raise ArgumentError(f"expected a command that begins with /, not {text!r}")
    try:
        os.stat(command[0])
    except (FileNotFoundError, NotADirectoryError):
        call.notes.append(f"{call.name}: there is no {command[0]}")
    except OSError:
        pass  # it is the owner's, and other users may not see it
    return {extension: Wrapper(command, virtual)}


def parse_variable(call: Call) -> Variables:
    """A variable's name, and perhaps its value."""
    name, *value = words(1, 2)(call)
    return {_variable(name): "".join(value)}


def _variable(name: str) -> str:
    if not name or "=" in name:
        raise ArgumentError(f"expected the name of a variable, not {name!r}")
    return name


def parse_command(call: Call) -> Commands:
    """A command's file, and options with a value each."""
    command, *rest = words(2)(call)
    if len(rest) % 2:
        raise ArgumentError(f"expected a value for {rest[-1]}")
    options = CommandOptions()
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        options = _with_option(options, name, value)
    return {command: options}


_NUMBERS: dict[str, Callable[[CommandOptions, int], CommandOptions]] = {
    "maxprocesses": lambda options, value: replace(options, processes=value),
    "maxrequestsperprocess": lambda options, value: replace(options, max_requests=value),
    "idletimeout": lambda options, value: replace(options, idle_timeout=value),
    "iotimeout": lambda options, value: replace(options, io_timeout=value),
    **dict.fromkeys(("connecttimeout", "maxprocesslifetime", "minprocesses"), lambda options, _: options),  # no effect
}


def _with_option(options: CommandOptions, name: str, value: str) -> CommandOptions:
    if name.lower() == "initialenv":
        variable, _, text = value.partition("=")
        return replace(options, environment=(*options.environment, (_variable(variable), text)))
    if name.lower() not in _NUMBERS:
        expected = "ConnectTimeout, IdleTimeout, InitialEnv, IOTimeout, MaxProcesses, MaxProcessLifetime"
        raise ArgumentError(f"expected {expected}, MaxRequestsPerProcess or MinProcesses, not {name!r}")
    return _NUMBERS[name.lower()](options, number(value, 0))


def parse_count(call: Call) -> int:
    """A number of requests; 0 and -1 are no limit."""
    return max(0, integer(-1)(call))


WRAPPERS: Setting[Wrappers] = Setting("FcgidWrapper", {}, _joined)
INITIAL_ENV: Setting[Variables] = Setting("FcgidInitialEnv", {}, _joined)
COMMANDS: Setting[Commands] = Setting("FcgidCmdOptions", {}, _joined)
PASS_HEADERS: Setting[tuple[str, ...]] = Setting("FcgidPassHeader", (), outer_then_inner)
MAX_REQUEST_LEN = Setting("FcgidMaxRequestLen", 0)  # 0: what LimitRequestBody says
IO_TIMEOUT = Setting("FcgidIOTimeout", 0)  # 0: the server's Timeout
IDLE_TIMEOUT = Setting("FcgidIdleTimeout", 60)
MAX_PROCESSES = Setting("FcgidMaxProcessesPerClass", 100)
MAX_REQUESTS = Setting("FcgidMaxRequestsPerProcess", 0)  # 0: what MaxConnectionsPerChild says
FIX_PATHINFO = Setting("FcgidFixPathinfo", False)

_Fold = Callable[[Any, Any], Any]


def _obeyed(
    names: str,
    syntax: str,
    text: str,
    parse: Callable[[Call], Any],
    setting: Setting[Any],
    *,
    where: Where = SERVERS,
    fold: _Fold = lambda _, value: value,
    default: str = "",
) -> None:
    """Declare a directive under its name, and under the one that it had up to mod_fcgid 2.2."""
    for name in names.split():
        declare(
            Directive(
                name=name,
                module="mod_fcgid",
                syntax=syntax,
                where=where,
                override=Override.FILE_INFO if Where.HTACCESS in where else Override.NONE,
                default=default,
                help=text,
                parse=parse,
                setting=setting,
                fold=fold,
            )
        )


_obeyed(
    "FcgidWrapper FCGIWrapper",
    "command [extension] [virtual]",
    "The FastCGI program that runs scripts with an extension. It runs as the owner.",
    parse_wrapper,
    WRAPPERS,
    where=ANYWHERE,
    fold=_joined,
)
_obeyed(
    "FcgidInitialEnv DefaultInitEnv",
    "variable [value]",
    "A variable in the environment of FastCGI programs.",
    parse_variable,
    INITIAL_ENV,
    fold=_joined,
)
_obeyed(
    "FcgidCmdOptions",
    "command option value...",
    "Limits and variables of one command.",
    parse_command,
    COMMANDS,
    fold=_joined,
)
_obeyed(
    "FcgidPassHeader PassHeader",
    "field",
    ("A request field that FastCGI programs get as a variable of that name, passwords included."),
    single,
    PASS_HEADERS,
    fold=append,
)
_obeyed(
    "FcgidMaxRequestLen MaxRequestLen",
    "bytes",
    "The largest body that a FastCGI program gets. A larger one is answered 500.",
    integer(0),
    MAX_REQUEST_LEN,
    default="what LimitRequestBody says",
)
_obeyed(
    "FcgidIOTimeout IPCCommTimeout",
    "seconds",
    "How long a FastCGI program may say nothing.",
    integer(1),
    IO_TIMEOUT,
    default="Timeout's",
)
_obeyed(
    "FcgidIdleTimeout IdleTimeout",
    "seconds",
    "How long FastCGI programs stay without a request.",
    integer(0),
    IDLE_TIMEOUT,
    default="60",
)
_obeyed(
    "FcgidMaxProcessesPerClass DefaultMaxClassProcessCount",
    "number",
    "How many processes of one FastCGI program may run, within MaxRequestWorkers.",
    integer(1),
    MAX_PROCESSES,
    default="100",
)
_obeyed(
    "FcgidMaxRequestsPerProcess MaxRequestsPerProcess",
    "number",
    "How many requests a PHP process serves. It is told by PHP_FCGI_MAX_REQUESTS.",
    parse_count,
    MAX_REQUESTS,
    default="what MaxConnectionsPerChild says",
)
_obeyed(
    "FcgidFixPathinfo PHP_Fix_Pathinfo_Enable",
    "0|1",
    "Whether SCRIPT_FILENAME has the part of the path after the script's name.",
    choice({"0": False, "1": True}),
    FIX_PATHINFO,
    default="0",
)

_TUNING = (
    ("FcgidBusyScanInterval BusyScanInterval", SERVER_ONLY, "How often mod_fcgid looks for processes that are busy."),
    (
        "FcgidBusyTimeout BusyTimeout",
        SERVERS,
        "How long a request may take. FcgidIOTimeout ends programs that say nothing.",
    ),
    ("FcgidConnectTimeout IPCConnectTimeout", SERVERS, "How long a connection to a program may take."),
    ("FcgidErrorScanInterval ErrorScanInterval", SERVER_ONLY, "How often mod_fcgid looks for processes that failed."),
    ("FcgidIdleScanInterval IdleScanInterval", SERVER_ONLY, "How often mod_fcgid looks for processes that are idle."),
    (
        "FcgidIPCDir SocketPath",
        SERVER_ONLY,
        "Where sockets are. Each program's socket is in a folder that only its owner can enter.",
    ),
    ("FcgidMaxProcesses MaxProcessCount", SERVER_ONLY, "How many processes may run. MaxRequestWorkers sets this."),
    ("FcgidMaxRequestInMem MaxRequestInMem", SERVERS, "The size from which on bodies are kept in a file."),
    ("FcgidMinProcessesPerClass DefaultMinClassProcessCount", SERVERS, "How many idle processes are kept."),
    ("FcgidOutputBufferSize OutputBufferSize", SERVERS, "How much output is collected. Ownhost sends output at once."),
    ("FcgidProcessLifeTime ProcessLifeTime", SERVERS, "How long a process lives."),
    ("FcgidProcessTableFile SharememPath", SERVER_ONLY, "Where mod_fcgid keeps the table of its processes."),
    (
        "FcgidSpawnScore SpawnScore",
        SERVER_ONLY,
        "The score of a start, when mod_fcgid decides whether to start processes.",
    ),
    ("FcgidSpawnScoreUpLimit SpawnScoreUpLimit", SERVER_ONLY, "The score from which on it starts none."),
    ("FcgidTerminationScore TerminationScore", SERVER_ONLY, "The score of a process's end."),
    ("FcgidTimeScore TimeScore", SERVER_ONLY, "The score of a second."),
    ("FcgidZombieScanInterval ZombieScanInterval", SERVER_ONLY, "How often mod_fcgid looks for processes that ended."),
    ("FcgidWin32PreventOrphans", SERVER_ONLY, "For Windows."),
)
for _names, _where, _text in _TUNING:
    for _name in _names.split():
        declare(Directive(_name, "mod_fcgid", "value", _where, _text, single, answer=Answer.NO_EFFECT))

# A directive that says who may see a page must not be ignored.
for _kind in ("AccessChecker", "Authenticator", "Authorizer"):
    for _name in (f"Fcgid{_kind}", f"FastCgi{_kind}", f"Fcgid{_kind}Authoritative", f"FastCgi{_kind}Authoritative"):
        declare(
            Directive(
                _name,
                "mod_fcgid",
                "On|Off" if _name.endswith("ative") else "command",
                ANYWHERE,
                "A FastCGI program that decides who may see a page.",
                single,
                override=Override.FILE_INFO,
                answer=Answer.UNSUPPORTED,
            )
        )
