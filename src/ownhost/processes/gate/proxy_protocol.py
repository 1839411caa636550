"""The PROXY protocol, versions 1 and 2: what a front proxy says of its client before anything else. Pure.

    version 1 = "PROXY" SP ("TCP4" | "TCP6") SP source SP destination SP port SP port CRLF    ; 107 bytes at most
              | "PROXY UNKNOWN" *any CRLF
    version 2 = signature %x20-21 family length [addresses] *TLV
    signature = CR LF CR LF NUL CR LF "QUIT" LF

Source: the PROXY protocol, versions 1 & 2 (haproxy.org, proxy-protocol.txt), section 2.

Invariant: any bytes are a header, the beginning of one, or `NoHeader`; how many bytes a header has is said exactly, as
what follows it is the client's.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

_MOST_V1 = 107  # bytes, with the line's end
MOST = 4_096  # bytes of a header: with TLVs, which may contain names from a client's certificate
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_BEGINNING = struct.Struct(">12sBBH")
_V1 = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21
# family -> the layout of its addresses; None if they are of no use here (unspecified, Unix)
_FAMILIES: dict[int, struct.Struct | None] = {
    0x00: None,
    0x11: struct.Struct(">4s4sHH"),
    0x21: struct.Struct(">16s16sHH"),
    0x31: None,
}


class NoHeader(ValueError):
    """The bytes are not a header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A header of `size` bytes. Addresses are numeric; "" if there are none: then the connection is the proxy's own."""

    size: int
    client: str = ""
    client_port: int = 0
    local: str = ""  # the address to which the proxy's client connected
    local_port: int = 0


def read(data: bytes) -> Announced | None:
    """The header at the beginning of a connection; None if more bytes are needed. Raises NoHeader."""
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _read_binary(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _read_line(data)
    raise NoHeader("it does not begin with a PROXY header")


def _read_line(data: bytes) -> Announced | None:
    end = data.find(b"\n", 0, _MOST_V1) + 1
    if not end:
        if len(data) >= _MOST_V1:
            raise NoHeader(f"its line has more than {_MOST_V1} bytes")
        return None
    if data.startswith(b"PROXY UNKNOWN") and data[13:14] in b" \r" and data[end - 2 : end] == b"\r\n":
        return Announced(end)
    found = _V1.fullmatch(data, 0, end)
    if found is None:
        raise NoHeader("its line is malformed")
    version, source, destination, *ports = found.groups()
    try:
        kind = ipaddress.IPv4Address if version == b"4" else ipaddress.IPv6Address
        client, local = kind(source.decode()), kind(destination.decode())
    except ValueError:
        raise NoHeader("its addresses are invalid") from None
    if not all(_PORT.fullmatch(port) and int(port) < 65_536 for port in ports):
        raise NoHeader("its ports are invalid")
    return Announced(end, _shown(client), int(ports[0]), _shown(local), int(ports[1]))


def _read_binary(data: bytes) -> Announced | None:
    if len(data) < _BEGINNING.size:
        return None
    _, command, family, length = _BEGINNING.unpack_from(data)
    size = _BEGINNING.size + length
    if command not in (_LOCAL, _PROXY):
        raise NoHeader(f"it has an unknown version or command (0x{command:02x})")
    if size > MOST:
        raise NoHeader(f"it has {size} bytes, which is more than {MOST}")
    if command == _PROXY and family not in _FAMILIES:
        raise NoHeader(f"it is for an unknown kind of connection (0x{family:02x})")
    if len(data) < size:
        return None
    layout = _FAMILIES[family] if command == _PROXY else None
    if layout is None:
        return Announced(size)
    if length < layout.size:
        raise NoHeader("it is too short for its addresses")
    source, destination, source_port, destination_port = layout.unpack_from(data, _BEGINNING.size)
    client, local = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    return Announced(size, _shown(client), source_port, _shown(local), destination_port)


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address in the form of the kernel's: IPv4 in IPv6 as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
