"""mod_wsgi: which requests are for a Python application (PEP 3333), and how it runs.

Source: mod_wsgi's manual. Each script has its own processes: there are no interpreters within
processes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.arguments import flag, ignored, path, single
from ownhost.config.captures import substitute
from ownhost.config.directive import (
    ANYWHERE,
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Where,
    declare,
    extend,
    inner_then_outer,
)
from ownhost.config.regex import Pattern
from ownhost.http.message import HTTPError
from ownhost.modules.core_files import ACCEPT_PATH_INFO
from ownhost.modules.mod_alias import below
from ownhost.modules.python_daemons import (
    GLOBAL,
    Daemon,
    Daemons,
    behind_two,
    fold_daemons,
    merge_daemons,
    parse_daemon,
)
from ownhost.modules.python_daemons import parse_options as parse_named
from ownhost.request.hosts import SERVER_NAME
from ownhost.request.links import OPTIONS, Option
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Place, Request

HANDLER = "wsgi-script"
RESOURCE = "%{RESOURCE}"
_ENV = re.compile(r"%\{ENV:([^}]+)\}")
# The notes with an alias's own options, from the point where the file is found to the one where it
# runs.
_PROCESS_GROUP = "mod_wsgi.process_group"
_APPLICATION_GROUP = "mod_wsgi.application_group"
_CALLABLE = "mod_wsgi.callable_object"
_PASSES = "mod_wsgi.pass_authorization"
_OPTIONS = {
    "process-group": _PROCESS_GROUP,
    "application-group": _APPLICATION_GROUP,
    "callable-object": _CALLABLE,
    "pass-authorization": _PASSES,
}


@dataclass(frozen=True, slots=True)
class ScriptAlias:
    """One WSGIScriptAlias or WSGIScriptAliasMatch. `notes` are its options, as requests note them."""

    target: str
    prefix: str = ""
    regex: Pattern | None = None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def process_group(self) -> str:
        """The value of process-group=; "" if it is not set."""
        return dict(self.notes).get(_PROCESS_GROUP, "")

    def locate(self, uri: str) -> str | None:
        """The file name for a URI, if this alias is for it: the script, and the rest of the path."""
        if self.regex is not None:
            parts = self.regex.split(uri)
            if parts is None or parts[2] == uri:
                return None
            before, found, behind = parts
            # If an application's prefix is only a slash, the slash belongs to its path, too.
            return substitute(self.target, found) + (uri if before + found[0] == "/" else behind)
        if self.prefix == "/":
            return self.target + uri
        rest = below(uri, self.prefix)
        return None if rest is None else self.target + rest


def parse_alias(call: Call) -> tuple[ScriptAlias, ...]:
    """A path, a script or a folder of them, and options."""
    prefix, target, notes = _alias_arguments(call)
    if not prefix.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {prefix!r}")
    return (ScriptAlias(call.path(target), prefix=prefix, notes=notes),)


def parse_alias_match(call: Call) -> tuple[ScriptAlias, ...]:
    """A regular expression, a script, which may have $1 in it, and options."""
    pattern, target, notes = _alias_arguments(call)
    filename = target if target.startswith("$") else call.path(target)
    return (ScriptAlias(filename, regex=Pattern(pattern, source=call.source), notes=notes),)


def _alias_arguments(call: Call) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    if len(call.args) < 2:
        raise ArgumentError(f"expected a path and a script, got {len(call.args) or 'none'}")
    source, target = call.args[:2]
    named = parse_named(behind_two(call.raw), tuple(_OPTIONS))
    if named.get("pass-authorization", "On").lower() not in ("on", "off"):
        raise ArgumentError(f"expected pass-authorization=On or Off, not {named['pass-authorization']!r}")
    if "callable-object" in named:
        _check_name(named["callable-object"])
    return source, target, tuple((_OPTIONS[name], value) for name, value in named.items())


def parse_callable(call: Call) -> str:
    """The name of a variable."""
    return _check_name(single(call))


def _check_name(name: str) -> str:
    if not name.isidentifier():
        raise ArgumentError(f"expected the name of a Python variable, not {name!r}")
    return name


def parse_group(call: Call) -> str:
    """A name, or %{GLOBAL} and its like."""
    name = single(call)
    if not name:
        raise ArgumentError("expected a name, not an empty word")
    if name.startswith("%{") and name not in (GLOBAL, RESOURCE, "%{SERVER}", "%{HOST}") and not _ENV.fullmatch(name):
        raise ArgumentError(f"expected {GLOBAL}, {RESOURCE}, %{{SERVER}}, %{{ENV:name}} or a name, not {name!r}")
    return name


ALIASES: Setting[tuple[ScriptAlias, ...]] = Setting("WSGIScriptAlias", (), inner_then_outer)
DAEMONS: Setting[Daemons] = Setting("WSGIDaemonProcess", {}, merge_daemons)
PROCESS_GROUP = Setting("WSGIProcessGroup", GLOBAL)
APPLICATION_GROUP = Setting("WSGIApplicationGroup", RESOURCE)
CALLABLE = Setting("WSGICallableObject", "application")
PASS_AUTHORIZATION = Setting("WSGIPassAuthorization", False)
SCRIPT_RELOADING = Setting("WSGIScriptReloading", True)
PYTHON_HOME = Setting("WSGIPythonHome", "")
PYTHON_PATH = Setting("WSGIPythonPath", "")

_ALIAS_SYNTAX = "script|folder [process-group=name] [application-group=name] [callable-object=name]"

for _directive in (
    Directive(
        "WSGIScriptAlias",
        "mod_wsgi",
        f"path {_ALIAS_SYNTAX}",
        SERVERS,
        "A Python application answers a path and all below it.",
        parse_alias,
        setting=ALIASES,
        fold=extend,
    ),
    Directive(
        "WSGIScriptAliasMatch",
        "mod_wsgi",
        f"regex {_ALIAS_SYNTAX}",
        SERVERS,
        "A Python application answers paths that match a regular expression.",
        parse_alias_match,
        setting=ALIASES,
        fold=extend,
    ),
    Directive(
        "WSGIDaemonProcess",
        "mod_wsgi",
        "name [option=value]...",
        SERVERS,
        "How the processes of a group of Python applications run.",
        parse_daemon,
        setting=DAEMONS,
        fold=fold_daemons,
        differs="threads= has no effect: a process serves one request at a time, and processes= is 4 by default. "
        "user= and group= must agree with the virtual host's identity.",
    ),
    Directive(
        "WSGIProcessGroup",
        "mod_wsgi",
        "name|%{GLOBAL}|%{ENV:variable}",
        SECTIONS,
        "The WSGIDaemonProcess that says how an application runs.",
        parse_group,
        setting=PROCESS_GROUP,
        default=GLOBAL,
        differs="There is no embedded mode: with %{GLOBAL}, too, an application has its own processes.",
    ),
    Directive(
        "WSGIApplicationGroup",
        "mod_wsgi",
        "name|%{GLOBAL}|%{SERVER}|%{RESOURCE}|%{ENV:variable}",
        SECTIONS,
        ("What separates applications of one script. Each script has its own processes in any case."),
        parse_group,
        setting=APPLICATION_GROUP,
        default=RESOURCE,
    ),
    Directive(
        "WSGICallableObject",
        "mod_wsgi",
        "name",
        ANYWHERE,
        "The name of the application in its script.",
        parse_callable,
        setting=CALLABLE,
        default="application",
        override=Override.FILE_INFO,
    ),
    Directive(
        "WSGIPassAuthorization",
        "mod_wsgi",
        "On|Off",
        ANYWHERE,
        "Whether applications see the Authorization field, including the password.",
        flag(),
        setting=PASS_AUTHORIZATION,
        default="Off",
        override=Override.FILE_INFO,
    ),
    Directive(
        "WSGIScriptReloading",
        "mod_wsgi",
        "On|Off",
        ANYWHERE,
        "Whether an application restarts when its script has changed.",
        flag(),
        setting=SCRIPT_RELOADING,
        default="On",
        override=Override.FILE_INFO,
    ),
    Directive(
        "WSGIPythonHome",
        "mod_wsgi",
        "folder",
        SERVER_ONLY,
        "The virtual environment of applications whose WSGIDaemonProcess names none.",
        path(),
        setting=PYTHON_HOME,
    ),
    Directive(
        "WSGIPythonPath",
        "mod_wsgi",
        "folder[:folder]...",
        SERVER_ONLY,
        "Where modules of applications are, if their WSGIDaemonProcess does not say it.",
        single,
        setting=PYTHON_PATH,
    ),
):
    declare(_directive)

# How Apache's own processes run Python, which none of ours do, and how mod_wsgi's processes
# communicate.
_NO_EFFECT = {
    SERVERS: """
        WSGIAcceptMutex WSGICaseSensitivity WSGILazyInitialization WSGIPythonHashSeed WSGIPythonOptimize
        WSGIRestrictEmbedded WSGIRestrictSignal WSGIRestrictStdin WSGIRestrictStdout WSGISocketPrefix WSGISocketRotation
    """,
    ANYWHERE: "WSGIChunkedRequest WSGIEnableSendfile WSGIMapHEADToGET",
}
for _where, _names in _NO_EFFECT.items():
    for _name in _names.split():
        declare(
            Directive(
                _name,
                "mod_wsgi",
                "value...",
                _where,
                "Not needed: applications run in processes of their own.",
                ignored(),
                answer=Answer.NO_EFFECT,
                override=Override.FILE_INFO if Where.HTACCESS in _where else Override.NONE,
            )
        )


def locate(request: Request) -> Place | None:
    """The first alias that is for a request's URI."""
    for alias in request.site.settings[ALIASES]:
        filename = alias.locate(request.uri)
        if filename is not None:
            request.notes.update(alias.notes)
            return Place(filename, HANDLER)
    return None


def check_script(request: Request) -> None:
    """The refusals of mod_wsgi before it runs a script. Raises HTTPError 403, 404."""
    if request.alias != HANDLER and Option.EXEC_CGI not in request.settings[OPTIONS]:
        raise HTTPError(403, f"Options ExecCGI is off in this directory: {request.filename}", module="wsgi")
    if request.stat is None:
        why = f"Target WSGI script not found or unable to stat: {request.filename}"
        raise HTTPError(404, why, module="wsgi", level=Level.ERROR)
    if request.is_folder:
        why = f"Attempt to invoke directory as WSGI application: {request.filename}"
        raise HTTPError(404, why, module="wsgi", level=Level.ERROR)
    if request.path_info and request.settings[ACCEPT_PATH_INFO] == "Off":
        raise HTTPError(
            404, f"{request.filename}: AcceptPathInfo does not let {request.path_info} follow", module="wsgi"
        )


def daemon_of(request: Request) -> Daemon:
    """The process group of a request's application. Raises HTTPError 500 if there is none."""
    name = _note_or(request, _PROCESS_GROUP, lambda: request.settings[PROCESS_GROUP])
    name = expand_group(request, name)
    if not name:
        return Daemon()
    daemon = request.site.settings[DAEMONS].get(name)
    if daemon is None:
        where = "this virtual host or the main server"
        raise HTTPError(500, f"{request.filename}: no WSGIDaemonProcess {name} in {where}", module="wsgi")
    return daemon


def application_group(request: Request) -> str:
    """The application group of a request's application."""
    name = _note_or(request, _APPLICATION_GROUP, lambda: request.settings[APPLICATION_GROUP])
    return expand_group(request, name)


def callable_of(request: Request) -> str:
    """The name of a request's application in its script."""
    return _note_or(request, _CALLABLE, lambda: request.settings[CALLABLE])


def passes_authorization(request: Request) -> bool:
    """Whether a request's application may see the Authorization field."""
    said = request.notes.get(_PASSES)
    return request.settings[PASS_AUTHORIZATION] if said is None else said.lower() == "on"


def _note_or(request: Request, note: str, setting: Callable[[], str]) -> str:
    said = request.notes.get(note)
    return setting() if said is None else said


def expand_group(request: Request, name: str) -> str:
    """A group's name with its variables replaced.

    A client cannot choose it by its Host field, nor by paths: it could start any number of
    processes.
    """
    variable = _ENV.fullmatch(name)
    if variable:
        value = request.notes.get(variable[1], request.env.get(variable[1], ""))
        return "" if value == GLOBAL else value
    server = request.site.settings[SERVER_NAME].host
    port = request.endpoints.local_port
    known = server if port in (80, 443) else f"{server}:{port}"
    return {GLOBAL: "", "%{SERVER}": known, "%{HOST}": known, RESOURCE: f"{known}|{request.filename}"}.get(name, name)


# After mod_alias, as in Apache: an Alias for /static leaves the rest to an application at /.
register(
    Module(
        name="mod_wsgi",
        identifier="wsgi_module",
        order=21,
        locate=locate,
    )
)
