"""Virtual hosts are found as Apache finds them: each case in hosts/ was put to Apache itself.

A case file is a configuration, a line of three dashes, and lines "address port name = who", where a ServerAdmin says
who a server is, and "-" is no name.
"""

from __future__ import annotations

import ipaddress
import itertools
import pickle
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.model import Config
from ownhost.config.reader import read
from ownhost.request.hosts import OTHER_OWNER, HostIndex
from ownhost.request.names import SERVER_ADMIN

modules.load()

FILES = sorted(Path(__file__).with_name("hosts").glob("*.txt"))


def load_case(file: Path, folder: Path) -> tuple[Config, list[str]]:
    text, _, cases = file.read_text().partition("---\n")
    (folder / "ownhost.conf").write_text(text)
    config = read(str(folder / "ownhost.conf"), environ={}, resolver=lambda _: ["127.0.0.1", "::1"])
    return config, cases.splitlines()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_apaches_choice(file: Path, tmp_path: Path) -> None:
    config, cases = load_case(file, tmp_path)
    index = pickle.loads(pickle.dumps(HostIndex.build(config.servers)))
    expected, found = [], []
    for case in cases:
        request, who = case.split(" = ")
        address, port, name = request.split()
        server = index.names(address, int(port)).find("" if name == "-" else name.lower())
        found.append(f"{request} = {config.servers[server].settings[SERVER_ADMIN]}")
        expected.append(f"{request} = {who}")
    assert len(cases) > 2
    assert found == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_who_is_told_of_its_own_names_alone_finds_the_same(file: Path, tmp_path: Path) -> None:
    """Whoever owns one or two of the servers: its own where it is one of them, else nobody; and no other name."""
    config, cases = load_case(file, tmp_path)
    index = HostIndex.build(config.servers)
    asked = [case.partition(" = ")[0].split() for case in cases]
    asked += [[address, port, "made-up.test"] for address, port, _ in asked]
    for own in itertools.combinations_with_replacement(config.servers, 2):
        ids = {server.id for server in own}
        told = pickle.loads(pickle.dumps(index.restricted(own, config.main, b"secret")))
        for address, port, name in asked:
            host = "" if name == "-" else name.lower()
            whole = index.names(address, int(port)).find(host)
            found = told.names(address, int(port)).find(host)
            assert found == (whole if whole in ids else OTHER_OWNER), (ids, address, port, name)


def test_who_answers_for_unknown_names_is_not_told_the_others(tmp_path: Path) -> None:
    text = "".join(
        f"<VirtualHost *:80>\nServerName {name}.test\nServerAlias www.{name}.test\n</VirtualHost>\n"
        for name in ("first", "secretive", "third")
    )
    (tmp_path / "ownhost.conf").write_text(text)
    config = read(str(tmp_path / "ownhost.conf"), environ={})
    for own in config.servers[1:]:
        told = HostIndex.build(config.servers).restricted([own], config.main, b"secret")
        assert told.names("127.0.0.1", 80).find("www.secretive.test") in (own.id, OTHER_OWNER)
        assert (b"secretive" in pickle.dumps(told)) == (own.id == 2)


def index_of(text: str, folder: Path) -> HostIndex:
    (folder / "ownhost.conf").write_text(text)
    return HostIndex.build(read(str(folder / "ownhost.conf"), environ={}).servers)


def test_ipv4_in_ipv6_is_ipv4(tmp_path: Path) -> None:
    index = index_of("<VirtualHost 127.0.0.1:80>\nServerName a\n</VirtualHost>", tmp_path)
    assert index.names("::ffff:127.0.0.1", 80).default == 1
    assert index.names("::ffff:127.0.0.2", 80).default == 0


def test_long_forms_of_an_ipv6_address_are_one(tmp_path: Path) -> None:
    index = index_of("<VirtualHost [2001:DB8:0::0:1]:80>\nServerName a\n</VirtualHost>", tmp_path)
    assert index.names("2001:db8::1", 80).default == 1
    assert index.names(ipaddress.ip_address("2001:db8::1").exploded, 80).default == 1


def test_many_stars_match_fast(tmp_path: Path) -> None:
    alias = "*" * 60 + "y*" * 60 + "x"
    index = index_of(f"<VirtualHost *>\nServerName a\nServerAlias {alias}\n</VirtualHost>", tmp_path)
    assert index.names("127.0.0.1", 80).find("y" * 200) == 1  # the default, after a match that fails


def test_thousand_hosts_keep_their_ids(tmp_path: Path) -> None:
    text = "".join(f"<VirtualHost *:80>\nServerName h{n}.example\n</VirtualHost>\n" for n in range(1, 1001))
    index = index_of(text, tmp_path)
    table = index.names("10.0.0.1", 80)
    assert [table.find(f"h{n}.example") for n in (1, 500, 1000)] == [1, 500, 1000]
    assert table.find("h1001.example") == 1
