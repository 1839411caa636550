"""An Apache module: hooks into the phases of a request, in one value at the end of one file.

A hook returns None to let the next one go on, a Response to answer at once, or raises HTTPError.
`phases.PHASES` says when each is called. A module whose hook looks at anything but the virtual
host, the path and the file system (a header, the client's address, the time) sets
`request.pure = False` there: its decision must not be remembered for the next request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ownhost.config.directive import REGISTRY, Setting, Where
from ownhost.config.model import Section, VirtualHost
from ownhost.config.overrides import reads_htaccess
from ownhost.http.message import Response
from ownhost.request.request import Handler, Hook, Locate, Request

IsException = Callable[[Request], bool]


@dataclass(frozen=True, slots=True)
class Module:
    """One Apache module.

    `uses` says whether a virtual host needs the module's hooks at all, from its merged settings and
    sections. Hooks of a module without `uses` are always called. Hooks of one phase run in
    ascending `order`, then by name.

    `early`, `pretranslate`, `translate` and `locate` run before the request's identity is known:
    they look at the head and the server's settings. `located` are the settings that they look at in
    `request.settings`: there Location and If sections count, as far as the URI tells.
    """

    name: str  # "mod_dir"
    identifier: str  # "dir_module"
    order: int = 50
    uses: Callable[[VirtualHost], bool] | None = None
    arrive: Callable[[Request], None] | None = None  # finds the request's client, before remembered responses are used
    early: Callable[[Request], None] | None = None  # sets what follows from the head alone: variables
    pretranslate: Callable[[VirtualHost], Hook | None] | None = None  # sees the path while it is encoded
    translate: Hook | None = None  # rewriting, and answers that need no file: redirects
    locate: Locate | None = None  # URI to file name, or to another server
    exceptions: Callable[[VirtualHost], IsException] | None = None  # which requests a remembered response is not for
    variant: Callable[[Request], str] | None = None  # of the responses for a path, which one a request asks for
    located: tuple[Setting[Any], ...] = ()
    prepare: Hook | None = None  # has the sections' settings, before access is decided
    access: Hook | None = None  # may this client see it
    fixup: Hook | None = None  # types, environment, redirects that need the file
    finish: Callable[[Request, Response], None] | None = None  # changes every response: its fields
    programs: Callable[[VirtualHost], Collection[tuple[str, ...]]] | None = None  # commands that workers talk to
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    defaults: tuple[Section, ...] = ()  # sections before those of the configuration
    obeys: frozenset[str] = frozenset()  # other modules whose directives its hooks obey: Options is core's
    stands_for: frozenset[str] = frozenset()  # Apache's modules: if any is loaded, the handlers need one of these


MODULES: dict[str, Module] = {}


def in_order(server: VirtualHost) -> list[Module]:
    """The modules that a virtual host uses, in the order in which their hooks run.

    If .htaccess files may have a directive of a module, its hooks must be there before any says so.
    """
    may_be_said = _in_htaccess() if reads_htaccess(server) else frozenset()
    used = [
        module
        for module in MODULES.values()
        if module.uses is None or module.name in may_be_said or module.uses(server)
    ]
    return sorted(used, key=lambda module: (module.order, module.name))


def _in_htaccess() -> frozenset[str]:
    """The modules with directives that may stand in .htaccess files, or that obey such of other modules."""
    own = {directive.module for directive in REGISTRY.values() if Where.HTACCESS in directive.where}
    return frozenset(own | {module.name for module in MODULES.values() if module.obeys & own})


def register(module: Module) -> Module:
    """Add a module to the registry. Called once, at the end of the module's file."""
    if module.name in MODULES:
        raise ValueError(f"module {module.name} is registered twice")
    MODULES[module.name] = module
    return module
