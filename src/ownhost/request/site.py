"""A virtual host, made ready to serve: its sections sorted, the hooks that it uses, what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from ownhost.config.model import VirtualHost
from ownhost.identity.identity import Assignment
from ownhost.request.links import follows_links_everywhere
from ownhost.request.memory import Memory
from ownhost.request.module import in_order
from ownhost.request.resolve import Router

if TYPE_CHECKING:
    from ownhost.request.module import Handler, Phase


class Site:
    """One virtual host in one process.

    `mine` are the assignments that come to this process's identity; `at_turn_end` is the event loop's call_soon.
    """

    def __init__(
        self,
        server: VirtualHost,
        mine: Collection[Assignment | None],
        at_turn_end: Callable[[Callable[[], None]], object],
    ) -> None:
        self.virtual_host = server
        self.settings = server.settings
        self.mine = frozenset(mine)
        self.router = Router(server)
        self.sections = self.router.sections
        self.follows_links = follows_links_everywhere(server)
        modules = in_order(server)
        self.translates: list[Phase] = [module.translate for module in modules if module.translate]
        self.accesses: list[Phase] = [module.access for module in modules if module.access]
        self.fixups: list[Phase] = [module.fixup for module in modules if module.fixup]
        self.handlers: dict[str, Handler] = {}
        for module in modules:
            self.handlers.update(module.handlers)
        self.memory = Memory(at_turn_end)
