"""mod_asgi: which requests are for an asynchronous Python application (ASGI 3.0). Ownhost's own, modelled on mod_wsgi.

uvicorn from the owner's virtual environment serves an application: python-home names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ownhost.config.arguments import single
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
    extend,
    inner_then_outer,
)
from ownhost.http.message import HTTPError
from ownhost.modules.mod_alias import below
from ownhost.modules.python_daemons import (
    GLOBAL,
    Daemon,
    Daemons,
    behind_two,
    fold_daemons,
    merge_daemons,
    parse_daemon,
    parse_options,
)
from ownhost.request.module import Module, register
from ownhost.request.request import Place, Request

HANDLER = "asgi-script"
APPLICATION = "application"  # the default name of an application
_ALIAS = "mod_asgi.alias"  # the note with the prefix of the alias for a request


@dataclass(frozen=True, slots=True)
class ScriptAlias:
    """One ASGIScriptAlias: a prefix of paths, and the application that they are for."""

    prefix: str  # "" is every path
    script: str
    name: str = APPLICATION
    process_group: str = ""  # "" is the value of ASGIProcessGroup


def parse_alias(call: Call) -> tuple[ScriptAlias, ...]:
    """A path, a file with the application's name in it, and options."""
    if len(call.args) < 2:
        raise ArgumentError(f"expected a path and a file, got {len(call.args) or 'none'}")
    prefix, target = call.args[:2]
    script, _, name = target.partition(":")
    if not prefix.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {prefix!r}")
    if not script.endswith(".py") or not PurePosixPath(script).stem.isidentifier():
        raise ArgumentError(f"expected a file such as /srv/site/asgi.py, not {script!r}")
    if not (name or APPLICATION).isidentifier():
        raise ArgumentError(f"expected the name of a Python variable after the colon, not {name!r}")
    group = parse_options(behind_two(call.raw), ("process-group",)).get("process-group", "")
    return (ScriptAlias(prefix.rstrip("/"), call.path(script), name or APPLICATION, group),)


def parse_group(call: Call) -> str:
    """A name, or %{GLOBAL} for none."""
    return single(call)


ALIASES: Setting[tuple[ScriptAlias, ...]] = Setting("ASGIScriptAlias", (), inner_then_outer)
DAEMONS: Setting[Daemons] = Setting("ASGIDaemonProcess", {}, merge_daemons)
PROCESS_GROUP = Setting("ASGIProcessGroup", GLOBAL)

for _directive in (
    Directive(
        "ASGIScriptAlias",
        "mod_asgi",
        "path file.py[:name] [process-group=name]",
        SERVERS,
        "An asynchronous Python application answers a path and all below it.",
        parse_alias,
        setting=ALIASES,
        fold=extend,
    ),
    Directive(
        "ASGIDaemonProcess",
        "mod_asgi",
        "name [option=value]...",
        SERVERS,
        ("How the processes of a group of asynchronous applications run. The options are those of WSGIDaemonProcess."),
        parse_daemon,
        setting=DAEMONS,
        fold=fold_daemons,
    ),
    Directive(
        "ASGIProcessGroup",
        "mod_asgi",
        "name|%{GLOBAL}",
        SECTIONS,
        "The ASGIDaemonProcess that says how an application runs.",
        parse_group,
        setting=PROCESS_GROUP,
        default=GLOBAL,
    ),
):
    declare(_directive)


def locate(request: Request) -> Place | None:
    """The first alias that is for a request's URI."""
    for alias in request.site.settings[ALIASES]:
        rest = below(request.uri, alias.prefix)
        if rest is not None:
            request.notes[_ALIAS] = alias.prefix
            return Place(alias.script + rest, HANDLER)
    return None


def alias_of(request: Request) -> ScriptAlias:
    """The alias that led to a request's application. Raises HTTPError 404, or 500 if there is none."""
    prefix = request.notes.get(_ALIAS)
    for alias in request.site.settings[ALIASES]:
        if alias.prefix == prefix and request.alias == HANDLER:
            if request.stat is None:
                raise HTTPError(404, f"{alias.script} does not exist", module="asgi")
            return alias
    raise HTTPError(500, f"{request.filename}: {HANDLER} is only for what ASGIScriptAlias names", module="asgi")


def daemon_of(request: Request, alias: ScriptAlias) -> Daemon:
    """The process group of a request's application. Raises HTTPError 500 if there is none."""
    name = alias.process_group or request.settings[PROCESS_GROUP]
    if name == GLOBAL:
        return Daemon()
    daemon = request.site.settings[DAEMONS].get(name)
    if daemon is None:
        where = "this virtual host or the main server"
        raise HTTPError(500, f"{alias.script}: no ASGIDaemonProcess {name} in {where}", module="asgi")
    return daemon


# Like mod_wsgi, after mod_alias: an Alias for /static leaves the rest to an application at /.
register(
    Module(
        name="mod_asgi",
        identifier="asgi_module",
        order=21,
        locate=locate,
    )
)
