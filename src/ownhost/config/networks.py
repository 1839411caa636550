"""Networks of addresses, as access rules name them.

network = IPv4 ["/" (bits | mask)] | IPv6 ["/" bits] | 1*3(octet ".") [octet]
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton

from ownhost.config.directive import ArgumentError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PARTIAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}\.?")
_LOOKS_NUMERIC = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


_MAPPED = 0xFFFF  # ::ffff:0:0/96: IPv4 in IPv6 (RFC 4291, 2.5.5.2)


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses whose bits under a mask are these. The mask may have holes, as in Apache."""

    version: int
    bits: int
    mask: int

    def __contains__(self, address: Address) -> bool:
        return address.version == self.version and int(address) & self.mask == self.bits


@dataclass(frozen=True, slots=True)
class Networks:
    """Many networks, as one set of addresses. An address is looked up once for each mask."""

    masks: tuple[tuple[int, int, frozenset[int]], ...] = ()  # version, mask, the bits of all networks that have it

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Networks:
        """The set of all addresses of some networks."""
        found: dict[tuple[int, int], set[int]] = {}
        for one in networks:
            found.setdefault((one.version, one.mask), set()).add(one.bits)
        return cls(tuple((version, mask, frozenset(bits)) for (version, mask), bits in found.items()))

    def __bool__(self) -> bool:
        return bool(self.masks)

    def __contains__(self, address: Address) -> bool:
        return self._has(address.version, int(address))

    def covers(self, text: str) -> bool:
        """Whether it contains an address from a socket: the same as `parse_address(text) in self`, but faster."""
        if ":" not in text:
            return self._has(4, int.from_bytes(inet_pton(AF_INET, text), "big"))
        value = int.from_bytes(inet_pton(AF_INET6, text.partition("%")[0]), "big")
        if value >> 32 == _MAPPED:
            return self._has(4, value & 0xFFFF_FFFF)
        return self._has(6, value)

    def _has(self, version: int, value: int) -> bool:
        for of, mask, bits in self.masks:  # noqa: SIM110 - a generator costs more than all of it
            if of == version and value & mask in bits:
                return True
        return False


def parse_network(text: str) -> Network:
    """A network, an address or the beginning of one: "10.1.0.0/16", "::1", "192.168". Raises ArgumentError."""
    host, slash, mask = text.partition("/")
    found = None if slash else _partial(host)
    if found is not None:
        return found
    address = _address(host)
    if address is None:
        raise ArgumentError(
            f"expected an address or a network such as 10.1.0.0/16, 10.1 or 2001:db8::/32, not {text!r}"
        )
    bits = _mask(mask, address) if slash else (1 << address.max_prefixlen) - 1
    return Network(address.version, int(address) & bits, bits)


def is_network(text: str) -> bool:
    """Whether a word is meant as an address or a network, not as a name; it may still be wrong."""
    return _LOOKS_NUMERIC.fullmatch(text.partition("/")[0]) is not None


def parse_address(text: str) -> Address:
    """The address of a client, as a socket gives it: without a zone, and IPv4 in IPv6 as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _partial(text: str) -> Network | None:
    """Up to four octets, each of which counts. Apache allows a dot after them."""
    if not _PARTIAL.fullmatch(text):
        return None
    octets = [int(octet) for octet in text.rstrip(".").split(".")]
    if max(octets) > 255:
        return None
    width = 8 * len(octets)
    bits = int.from_bytes(bytes(octets), "big") << (32 - width)
    return Network(4, bits, ((1 << width) - 1) << (32 - width))


def _address(text: str) -> Address | None:
    """A full address, without a zone. None for other words, and for IPv4 in IPv6, which no client has here."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return None
    return address


def _mask(text: str, address: Address) -> int:
    """A number of bits, or for IPv4 a mask in its dotted form."""
    size = address.max_prefixlen
    if re.fullmatch("[0-9]{1,3}", text) and 0 < int(text) <= size:
        return ((1 << int(text)) - 1) << (size - int(text))
    mask = _address(text)
    if mask is None or not mask.version == address.version == 4:
        raise ArgumentError(f"expected a number of bits from 1 to {size} after the slash, not {text!r}")
    return int(mask)
