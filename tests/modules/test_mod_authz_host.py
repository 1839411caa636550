"""mod_authz_host: names that DNS has for clients."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ownhost.modules.mod_authz_host import is_in_domain
from ownhost.request import client
from serving import ask, make_site

NAMES = {"192.0.2.1": "Host.Example.ORG", "192.0.2.2": "liar.example.org"}
ADDRESSES = {"host.example.org": ["2001:db8::1", "192.0.2.1"], "liar.example.org": ["192.0.2.9"]}


@pytest.fixture
def asked_of_dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A DNS of two hosts, and what it is asked."""
    asked: list[str] = []

    def by_address(address: str) -> tuple[str, list[str], list[str]]:
        asked.append(address)
        if address not in NAMES:
            raise socket.herror(1, "Unknown host")
        return NAMES[address], [], [address]

    def by_name(host: str, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        if host.lower() not in ADDRESSES:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in ADDRESSES[host.lower()]]

    monkeypatch.setattr(socket, "gethostbyaddr", by_address)
    monkeypatch.setattr(socket, "getaddrinfo", by_name)
    client._names.clear()
    return asked


def status(folder: Path, rule: str, address: str) -> int:
    (folder / "root").mkdir(exist_ok=True)
    (folder / "root" / "x.txt").write_text("x")
    site = make_site(folder, f"<Directory @ROOT@>\n{rule}\n</Directory>")
    return ask(site, "GET /x.txt", "X-Name: example.org", client=address).status


@pytest.mark.parametrize(
    ("rule", "address", "expected"),
    [
        ("Require host example.org", "192.0.2.1", 200),
        ("Require host other.test EXAMPLE.org", "192.0.2.1", 200),
        ("Require host example.org", "192.0.2.2", 403),
        ("Require host example.org", "192.0.2.3", 403),
        ("Require host ample.org", "192.0.2.1", 403),
        ("Require host %{HTTP:X-Name}", "192.0.2.1", 200),
        ("Require forward-dns host.example.org", "192.0.2.1", 200),
        ("Require forward-dns host.example.org", "2001:db8::1", 200),
        ("Require forward-dns host.example.org", "192.0.2.2", 403),
        ("Require forward-dns nothing.test liar.example.org", "192.0.2.9", 200),
        ("Order deny,allow\nDeny from all\nAllow from .example.org", "192.0.2.1", 200),
        ("Order deny,allow\nDeny from all\nAllow from .example.org", "192.0.2.2", 403),
        ("Order allow,deny\nAllow from all\nDeny from host.example.org", "192.0.2.1", 403),
    ],
)
def test_names(asked_of_dns: list[str], tmp_path: Path, rule: str, address: str, expected: int) -> None:
    assert status(tmp_path, rule, address) == expected


def test_dns_is_asked_only_where_it_matters(asked_of_dns: list[str], tmp_path: Path) -> None:
    assert status(tmp_path, "Require ip 192.0.2.1\nRequire host example.org", "192.0.2.1") == 200
    assert asked_of_dns == []


def test_names_are_remembered(asked_of_dns: list[str], tmp_path: Path) -> None:
    for _ in range(3):
        status(tmp_path, "Require host example.org", "192.0.2.1")
        status(tmp_path, "Require host example.org", "192.0.2.3")
    assert asked_of_dns == ["192.0.2.1", "Host.Example.ORG", "192.0.2.3"]


def test_what_is_remembered_is_bounded(
    asked_of_dns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_NAMES", 2)
    for last in range(9):
        status(tmp_path, "Require host example.org", f"192.0.2.{last}")
    assert len(client._names) <= 2


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("a.b.org", "b.org", True),
        ("b.org", "B.ORG", True),
        ("a.b.org", ".b.org", True),
        ("b.org", ".b.org", False),
        ("ab.org", "b.org", False),
        ("org", "b.org", False),
    ],
)
def test_domains(host: str, domain: str, expected: bool) -> None:
    assert is_in_domain(host, domain) == expected
