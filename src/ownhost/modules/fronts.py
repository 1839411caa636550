"""Front proxies: which ones are listed, and where they use the PROXY protocol. One pure value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ownhost.config.model import Config
from ownhost.config.networks import Networks
from ownhost.modules.mod_remoteip import EXCEPTIONS, PROXIES, PROXY_PROTOCOL

ANYWHERE = ("", 0)


@dataclass(frozen=True, slots=True)
class Fronts:
    """The proxies that the main server lists, for all virtual hosts. False if there are none.

    `announced` says where connections begin with the PROXY protocol: by address ("" is any) and
    port (0 is any), as virtual hosts are found. `exceptions` never use it.
    """

    listed: Networks = field(default_factory=Networks)
    exceptions: Networks = field(default_factory=Networks)
    announced: Mapping[tuple[str, int], bool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.listed)

    def has(self, client: str) -> bool:
        """Whether a connection's client, as the kernel names it, is a listed proxy."""
        return self.listed.covers(client)

    def announces(self, client: str, local: str, port: int) -> bool:
        """Whether a connection begins with the PROXY protocol. Only listed proxies may use it."""
        places = ((local, port), (local, 0), ("", port), ANYWHERE)
        said = next((self.announced[place] for place in places if place in self.announced), False)
        return said and self.has(client) and not self.exceptions.covers(client)


def fronts_of(config: Config) -> Fronts:
    """The front proxies of a configuration.

    If virtual hosts share an address, the one that differs from the main server counts: the
    protocol of an address must be known before the first byte.
    """
    main = config.main.settings
    everywhere = main[PROXY_PROTOCOL]
    announced = {ANYWHERE: everywhere}
    for server in config.virtual_hosts:
        for address in server.addresses:
            place = (address.host, address.port)
            if announced.get(place, everywhere) == everywhere:
                announced[place] = server.settings[PROXY_PROTOCOL]
    return Fronts(
        Networks.of(one.network for one in main[PROXIES].listed),
        Networks.of(network for server in config.servers for network in server.settings[EXCEPTIONS]),
        announced if True in announced.values() else {},
    )
