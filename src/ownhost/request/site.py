"""A virtual host, made ready to serve: its sections sorted, its hooks, its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ownhost.config.model import Section, VirtualHost
from ownhost.identity.identity import Assignment
from ownhost.request import tracing
from ownhost.request.errorlog import LOG_LEVEL
from ownhost.request.given_files import GivenFiles
from ownhost.request.htaccess import Htaccess
from ownhost.request.links import follows_links_everywhere
from ownhost.request.memory import FileStatus, Memory
from ownhost.request.module import in_order
from ownhost.request.phases import lay_road
from ownhost.request.request import Level, SiteFacts
from ownhost.request.road import Listener
from ownhost.request.routes import Routes
from ownhost.request.routing import is_fixed
from ownhost.request.sections import BY_URI, Sections


class Site(SiteFacts):
    """One virtual host in one process.

    `is_mine` says whether an assignment means this process's identity; `at_turn_end` is the event
    loop's call_soon. `listeners` are told the result of each step of a request.
    """

    def __init__(
        self,
        server: VirtualHost,
        is_mine: Callable[[Assignment], bool],
        at_turn_end: Callable[[Callable[[], None]], object],
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.virtual_host = server
        self.settings = server.settings
        self.is_mine = is_mine
        self.fixed = is_fixed(server)
        modules = in_order(server)
        defaults = [section for module in modules for section in module.defaults]
        self.sections = Sections(server.settings, [*defaults, *server.sections])
        self.follows_links = follows_links_everywhere(server)
        located = [setting for module in modules for setting in module.located]
        self.locates = any(section.says(*located) for section in server.sections if section.kind in BY_URI)
        if _traces(server, "core", tracing.LEVEL):
            listeners = (*listeners, tracing.trace)
        self.road = lay_road(modules, server.fault, listeners)
        self.arrivals = [module.arrive for module in modules if module.arrive]
        self.earlies = [module.early for module in modules if module.early]
        makers = [module.pretranslate for module in modules if module.pretranslate]
        self.pretranslates = [hook for make in makers if (hook := make(server))]
        self.locators = [module.locate for module in modules if module.locate]
        self.finishes = [module.finish for module in modules if module.finish]
        self.programs = {}
        self.opened = GivenFiles({})
        self.launcher = None
        self.traces_rewrite = _traces(server, "rewrite", Level.TRACE1)
        self.handlers = {}
        for module in modules:
            if server.loaded is None or not module.stands_for or server.loaded & module.stands_for:
                self.handlers.update(module.handlers)
        looks = FileStatus(at_turn_end)
        exceptions = [module.exceptions(server) for module in modules if module.exceptions]
        variants = [module.variant for module in modules if module.variant]
        self.htaccess = None if server.surroundings is None else Htaccess(self, server.surroundings, looks)
        self.memory: Memory = Memory(looks, exceptions, variants)
        self.routes: Routes = Routes(looks, exceptions)


def _traces(server: VirtualHost, module: str, level: Level) -> bool:
    """Whether any LogLevel, the server's or a section's, lets through a module's messages of a level."""
    scopes = [server.settings, *(section.settings for section in _all_sections(server.sections))]
    return any(scope[LOG_LEVEL].of(module) >= level for scope in scopes)


def _all_sections(sections: Iterable[Section]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from _all_sections(section.sections)
