"""The PROXY protocol: any bytes are a header, the beginning of one, or none; and its size is said exactly."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.processes.gate.proxy_protocol import MOST, Announced, NoHeader, read

Addresses = st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4: Addresses = st.ip_addresses(v=4)
V6: Addresses = st.ip_addresses(v=6).filter(lambda address: not getattr(address, "ipv4_mapped", None))
PORTS = st.integers(0, 65_535)
BEHIND = b"GET / HTTP/1.1\r\n"


def binary(command: int, family: int, content: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(content)) + content


def ends(client: str, local: str, client_port: int = 1234, local_port: int = 80) -> bytes:
    packed = ipaddress.ip_address(client).packed + ipaddress.ip_address(local).packed
    return packed + struct.pack(">HH", client_port, local_port)


TLV = b"\x02\x00\x04name"
GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", ("192.0.2.1", 56324, "198.51.100.1", 443)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535) * 2),
    (b"PROXY TCP6 2001:DB8::1 ::1 0 443\r\n", ("2001:db8::1", 0, "::1", 443)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1, "::1", 2)),
    (b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n", None),
    (b"PROXY UNKNOWN\r\n", ("", 0, "", 0)),
    (b"PROXY UNKNOWN anything at all, 192.0.2.1 " + b"x" * 64 + b"\r\n", ("", 0, "", 0)),
    (binary(0x21, 0x11, ends("192.0.2.1", "198.51.100.1")), ("192.0.2.1", 1234, "198.51.100.1", 80)),
    (binary(0x21, 0x11, ends("192.0.2.1", "198.51.100.1") + TLV * 9), ("192.0.2.1", 1234, "198.51.100.1", 80)),
    (binary(0x21, 0x21, ends("2001:db8::1", "::1")), ("2001:db8::1", 1234, "::1", 80)),
    (binary(0x21, 0x21, ends("::ffff:192.0.2.1", "::1")), ("192.0.2.1", 1234, "::1", 80)),
    (binary(0x20, 0x00, b""), ("", 0, "", 0)),
    (binary(0x20, 0xFF, b"whatever"), ("", 0, "", 0)),
    (binary(0x20, 0x11, ends("192.0.2.1", "198.51.100.1")), ("", 0, "", 0)),
    (binary(0x21, 0x00, TLV), ("", 0, "", 0)),
    (binary(0x21, 0x31, bytes(216)), ("", 0, "", 0)),
]


@pytest.mark.parametrize(("header", "expected"), GOOD)
def test_a_header_however_it_comes(header: bytes, expected: tuple[str, int, str, int] | None) -> None:
    """At once, with what follows it, and byte by byte: nothing is said before it is whole, and all of it then."""
    found = read(header)
    assert found is not None
    assert found.size == len(header)
    assert read(header + BEHIND) == found
    assert [read(header[:size]) for size in range(len(header))] == [None] * len(header)
    if expected is not None:
        assert found == Announced(len(header), *expected)


@pytest.mark.parametrize(
    "data",
    [
        BEHIND,
        b"\x16\x03\x01",
        b"PROXYTCP4",
        b"proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
        b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN " + b"x" * 107,
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2" + b" " * 80,
        SIGNATURE[:5] + b"x",
        binary(0x11, 0x11, ends("192.0.2.1", "198.51.100.1")),
        binary(0x22, 0x11, ends("192.0.2.1", "198.51.100.1")),
        binary(0x21, 0x12, ends("192.0.2.1", "198.51.100.1")),
        binary(0x21, 0x11, ends("192.0.2.1", "198.51.100.1")[:-1]),
        binary(0x21, 0x21, ends("192.0.2.1", "198.51.100.1")),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, MOST),
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(NoHeader, match=r"\w"):
        read(data)


@given(V4 | V6, PORTS, PORTS, st.binary(max_size=200), st.data())
def test_what_is_said_is_read(client: object, port: int, local_port: int, more: bytes, data: st.DataObject) -> None:
    local = data.draw(V4 if isinstance(client, ipaddress.IPv4Address) else V6)
    version = 4 if isinstance(client, ipaddress.IPv4Address) else 6
    expected = (str(client), port, str(local), local_port)
    line = f"PROXY TCP{version} {client} {local} {port} {local_port}\r\n".encode()
    packed = binary(0x21, 0x11 if version == 4 else 0x21, ends(str(client), str(local), port, local_port) + more)
    for header in (line, packed):
        assert read(header + more) == Announced(len(header), *expected)


@given(st.one_of(st.binary(), st.binary().map(SIGNATURE.__add__), st.binary().map(b"PROXY ".__add__)), st.binary())
def test_any_bytes(data: bytes, more: bytes) -> None:
    """Never anything but these; a header lies within the bytes, is bounded, and more bytes do not change it."""
    try:
        found = read(data)
    except NoHeader:
        with pytest.raises(NoHeader):
            read(data + more)
        return
    if found is not None:
        assert 0 < found.size <= min(len(data), MOST)
        assert read(data + more) == found
