"""Networks: what they contain, and what is none."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError
from ownhost.config.networks import Networks, is_network, parse_address, parse_network

INSIDE = (
    ("127.0.0.1", "127.0.0.1"),
    ("127", "127.255.255.255"),
    ("127.", "127.0.0.1"),
    ("10.1", "10.1.255.0"),
    ("10.1.2.", "10.1.2.3"),
    ("10.01", "10.1.0.0"),
    ("10.1.2.3/8", "10.200.0.1"),
    ("10.0.0.0/255.0.255.0", "10.77.0.9"),
    ("::1", "::1"),
    ("2001:db8::/32", "2001:db8:ffff::1"),
)
OUTSIDE = (
    ("127.0.0.1", "127.0.0.2"),
    ("127", "128.0.0.0"),
    ("10.1", "10.10.0.0"),
    ("10.0.0.0/255.0.255.0", "10.77.1.9"),
    ("0.0.0.0/1", "::1"),
    ("::/1", "1.2.3.4"),
    ("2001:db8::/32", "2001:db9::"),
)
WRONG = (
    "",
    ".",
    "300",
    "1.2.3.4.5",
    "127/8",
    "10.0.0.0/0",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/+8",
    "10.0.0.0/8/8",
    "::/0",
    "::/129",
    "::1/ffff::",
    "[::1]",
    "::ffff:127.0.0.1",
    "fe80::1%eth0",
    "2001:db8",
    "localhost",
    "%{REMOTE_ADDR}",
)


@pytest.mark.parametrize(("network", "address"), INSIDE)
def test_inside(network: str, address: str) -> None:
    assert parse_address(address) in parse_network(network)


@pytest.mark.parametrize(("network", "address"), OUTSIDE)
def test_outside(network: str, address: str) -> None:
    assert parse_address(address) not in parse_network(network)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        parse_network(text)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@given(st.ip_addresses(), st.ip_addresses(), st.data())
def test_bits_count_as_elsewhere(network: Address, address: Address, data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, network.max_prefixlen))
    if isinstance(network, ipaddress.IPv6Address) and ipaddress.IPv6Address(int(network)).ipv4_mapped:
        return
    theirs = ipaddress.ip_network(f"{network}/{bits}", strict=False)
    assert (address in parse_network(f"{network}/{bits}")) == (address in theirs)


@given(st.text(alphabet="0123456789abf.:/%x", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_network_or_refused(text: str) -> None:
    try:
        network = parse_network(text)
    except ArgumentError:
        return
    assert is_network(text)
    assert network.bits & network.mask == network.bits


@pytest.mark.parametrize(("text", "shown"), [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%lo", "fe80::1")])
def test_addresses_of_sockets(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    ("word", "meant"), [("10.1", True), ("::1", True), ("10.0.0.0/99", True), ("a.b", False), ("fab", False)]
)
def test_names_are_told_from_networks(word: str, meant: bool) -> None:
    assert is_network(word) == meant


def test_many_networks_are_one_set() -> None:
    several = [
        parse_network(text)
        for text in ("10.0.0.0/8", "192.0.2.1", "192.0.2.9", "192.0.2.0/255.0.255.1", "2001:db8::/32")
    ]
    found = Networks.of(several)
    for text in (
        "10.9.9.9",
        "192.0.2.1",
        "192.0.2.2",
        "192.7.2.4",
        "192.0.2.9",
        "11.0.0.1",
        "2001:db8::1",
        "2001:db9::1",
        "::1",
    ):
        address = parse_address(text)
        assert (address in found) == any(address in one for one in several), text
        assert found.covers(text) == (address in found), text
        other = f"{text}%lo" if ":" in text else f"::ffff:{text}"
        assert found.covers(other) == (address in found), other
    assert len(found.masks) == 4
    assert (bool(found), bool(Networks())) == (True, False)
