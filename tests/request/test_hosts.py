"""Virtual hosts are found as Apache finds them: each case in hosts/ was put to Apache itself.

A case file is a configuration, a line of three dashes, and lines "address port name = who", where a ServerAdmin says
who a server is, and "-" is no name.
"""

from __future__ import annotations

import ipaddress
import pickle
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.model import Config
from ownhost.config.reader import read
from ownhost.request.hosts import HostIndex
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
