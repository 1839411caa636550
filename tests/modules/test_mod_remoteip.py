"""mod_remoteip: whose word is believed of whom a request is from. tests/oracle/cases/remoteip-* ask Apache the same."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.model import Config
from ownhost.config.networks import parse_network
from ownhost.config.reader import read
from ownhost.modules.fronts import Fronts, fronts_of
from ownhost.modules.mod_remoteip import PROXIES, Found, Proxies, Proxy, walk
from ownhost.processes.supervisor.likely_mistakes import notes

EXTERNAL = "192.0.2.1"
INTERNAL = "10.0.0.1"
LISTED = Proxies(
    (
        Proxy(parse_network("192.0.2.0/24"), False),
        Proxy(parse_network("2001:db8:f::/48"), False),
        Proxy(parse_network("10.0.0.0/24"), True),
    )
)


@pytest.mark.parametrize(
    ("peer", "said", "expected"),
    [
        ("203.0.113.1", "198.51.100.7", None),  # is not listed
        ("203.0.113.1", "198.51.100.7, 192.0.2.1", None),
        (EXTERNAL, "198.51.100.7", Found("198.51.100.7", "", (EXTERNAL,))),
        (EXTERNAL, "9.9.9.9, 198.51.100.7", Found("198.51.100.7", "9.9.9.9", (EXTERNAL,))),
        (EXTERNAL, "198.51.100.7,192.0.2.9", Found("198.51.100.7", "", (EXTERNAL, "192.0.2.9"))),
        (EXTERNAL, " 198.51.100.7 ", Found("198.51.100.7", "", (EXTERNAL,))),
        (EXTERNAL, "10.9.9.9", None),  # nobody outside has a client of a private address
        (EXTERNAL, "10.9.9.9, 192.0.2.9", Found("192.0.2.9", "10.9.9.9", (EXTERNAL,))),
        (EXTERNAL, "10.9.9.9, 10.0.0.1", None),
        (INTERNAL, "10.9.9.9", Found("10.9.9.9", "", ())),
        (INTERNAL, "10.9.9.9, 10.0.0.2", Found("10.9.9.9", "", ())),
        (INTERNAL, "10.9.9.9, 192.0.2.9", Found("192.0.2.9", "10.9.9.9", ())),
        (INTERNAL, "198.51.100.7, 192.0.2.9", Found("198.51.100.7", "", ("192.0.2.9",))),
        (INTERNAL, "127.0.0.1", Found("127.0.0.1", "", ())),
        (EXTERNAL, "", None),
        (EXTERNAL, ",", None),
        (EXTERNAL, "198.51.100.7,", None),
        (EXTERNAL, "198.51.100.7, unknown ", None),
        (EXTERNAL, "unknown, 198.51.100.7 ", Found("198.51.100.7", "unknown", (EXTERNAL,))),
        (EXTERNAL, "a, b , 192.0.2.9", Found("192.0.2.9", "a, b", (EXTERNAL,))),
        (EXTERNAL, "198.51.100.7:80", None),
        (EXTERNAL, "[2001:db8::1]", None),
        (EXTERNAL, "2001:DB8::1", Found("2001:db8::1", "", (EXTERNAL,))),
        (EXTERNAL, "fe80::1", None),
        (EXTERNAL, "2001:db8::1%eth0", None),
        (EXTERNAL, "::ffff:198.51.100.7", Found("198.51.100.7", "", (EXTERNAL,))),
        (EXTERNAL, "::ffff:10.0.0.7", None),
        ("::ffff:192.0.2.1", "198.51.100.7", Found("198.51.100.7", "", ("::ffff:192.0.2.1",))),
        ("2001:db8:f::1", "198.51.100.7", Found("198.51.100.7", "", ("2001:db8:f::1",))),
        ("2001:db8:f::1%eth0", "198.51.100.7", Found("198.51.100.7", "", ("2001:db8:f::1%eth0",))),
        (EXTERNAL, "0198.51.100.7", None),  # octal to some, decimal to others
        (EXTERNAL, "3325256711", None),
    ],
)
def test_whose_word_is_believed(peer: str, said: str, expected: Found | None) -> None:
    assert walk(peer, said, LISTED) == expected


def test_nobody_is_believed_where_nobody_is_listed() -> None:
    assert walk(EXTERNAL, "198.51.100.7", Proxies()) is None


@given(st.lists(st.sampled_from(("192.0.2.9", "10.0.0.1", "198.51.100.7", "10.9.9.9", "x", "", " ", "::1"))), st.text())
def test_any_field_leads_no_further_than_the_listed(words: list[str], rest: str) -> None:
    """Whom it leads to is the last that somebody listed said; all between is listed, and all else is left."""
    found = walk(EXTERNAL, ",".join([rest, *words]), LISTED)
    if found is not None:
        said = [word.strip() for word in words]
        place = len(said) - 1 - said[::-1].index(found.client) if found.client in said else -1
        assert all(word in ("192.0.2.9", "10.0.0.1") for word in said[place + 1 :])
        assert found.via[0] == EXTERNAL
        assert not found.client.startswith(("10.9", "::"))


def config(folder: Path, text: str) -> Config:
    modules.load()
    path = folder / "site.conf"
    path.write_text(f"Listen 80\nUser www-data\nGroup www-data\n{text}\n")
    return read(str(path))


@pytest.mark.slow  # localhost has to have an address
def test_lists(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# ours\n192.0.2.1 198.51.100.0/24 # two\n\n  2001:db8::/32\n")
    found = config(
        tmp_path,
        "RemoteIPInternalProxy 10.1 localhost\nRemoteIPTrustedProxyList list\n"
        "<VirtualHost *:80>\nServerName a\nRemoteIPInternalProxyList list\n</VirtualHost>\n"
        "<VirtualHost *:80>\nServerName b\n</VirtualHost>",
    )
    listed = found.main.settings[PROXIES].listed
    assert [one.internal for one in listed] == [True] * (len(listed) - 3) + [False] * 3
    assert Proxy(parse_network("10.1.0.0/16"), True) in listed
    assert Proxy(parse_network("127.0.0.1"), True) in listed
    assert Proxy(parse_network("198.51.100.0/24"), False) in listed
    assert [one.internal for one in found.virtual_hosts[0].settings[PROXIES].listed] == [True] * 3
    assert found.virtual_hosts[1].settings[PROXIES] is found.main.settings[PROXIES]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("RemoteIPTrustedProxy", "expected at least 1"),
        ("RemoteIPTrustedProxy 192.0.2.0/33", "a number of bits from 1 to 32"),
        ("RemoteIPTrustedProxy no-such-host.invalid", "no-such-host.invalid has no address"),
        ("RemoteIPTrustedProxy name/24", "expected an address or a network"),
        ("RemoteIPTrustedProxyList missing", "cannot look at .*missing: No such file"),
        ("RemoteIPTrustedProxyList bad", "bad:2: expected an address or a network"),
        ("RemoteIPHeader X:Y", "expected the name of a field, not 'X:Y'"),
        ("RemoteIPProxyProtocol maybe", "expected On or Off"),
        ("RemoteIPProxyProtocolExceptions 1.2.3.4.5", "expected an address or a network"),
    ],
)
def test_what_is_wrong(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "bad").write_text("192.0.2.1\n192.0.2.1.5\n")
    with pytest.raises(ConfigError, match=says):
        config(tmp_path, line)


def test_fronts(tmp_path: Path) -> None:
    fronts = fronts_of(
        config(
            tmp_path,
            "Listen 81\nRemoteIPInternalProxy 10.0.0.0/24\nRemoteIPTrustedProxy 192.0.2.1\n"
            "RemoteIPProxyProtocolExceptions 10.0.0.9\n"
            "<VirtualHost *:80>\nServerName a\n</VirtualHost>\n"
            "<VirtualHost *:81>\nServerName b\n</VirtualHost>\n"
            "<VirtualHost *:81>\nServerName c\nRemoteIPProxyProtocol On\nRemoteIPTrustedProxy 203.0.113.1\n"
            "</VirtualHost>\n"
            "<VirtualHost 198.51.100.1:81>\nServerName d\n</VirtualHost>",
        )
    )
    fronts = pickle.loads(pickle.dumps(fronts))
    assert fronts
    assert [fronts.has(client) for client in ("10.0.0.1", "::ffff:192.0.2.1", "192.0.2.2", "203.0.113.1")] == [
        True,
        True,
        False,
        False,
    ]
    assert fronts.announces("10.0.0.1", "127.0.0.1", 81)
    assert not fronts.announces("10.0.0.9", "127.0.0.1", 81), "an exception"
    assert not fronts.announces("192.0.2.2", "127.0.0.1", 81), "not listed"
    assert not fronts.announces("10.0.0.1", "127.0.0.1", 80), "not asked for here"
    assert not fronts.announces("10.0.0.1", "198.51.100.1", 81), "nor there"


def test_everywhere_but_at_one_address(tmp_path: Path) -> None:
    fronts = fronts_of(
        config(
            tmp_path,
            "Listen 81\nRemoteIPTrustedProxy 192.0.2.1\nRemoteIPProxyProtocol On\n"
            "<VirtualHost *:81>\nServerName b\nRemoteIPProxyProtocol Off\n</VirtualHost>",
        )
    )
    assert fronts.announces("192.0.2.1", "127.0.0.1", 80)
    assert not fronts.announces("192.0.2.1", "127.0.0.1", 81)


def test_no_fronts(tmp_path: Path) -> None:
    fronts = fronts_of(config(tmp_path, "RemoteIPHeader X-Forwarded-For"))
    assert (bool(fronts), fronts) == (False, Fronts())
    assert not fronts.has("127.0.0.1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "RemoteIPHeader X-Forwarded-For",
            ["site.conf:4: RemoteIPHeader: no proxy is listed, so no client is believed"],
        ),
        ("RemoteIPHeader X-Forwarded-For\nRemoteIPTrustedProxy 192.0.2.1", []),
        (
            "RemoteIPProxyProtocol On",
            ["site.conf:4: RemoteIPProxyProtocol: no proxy is listed, so no client is believed"],
        ),
        ("RemoteIPProxyProtocol On\nRemoteIPInternalProxy 192.0.2.1", []),
        (
            "<VirtualHost *:80>\nServerName a\nRemoteIPProxyProtocol On\nRemoteIPInternalProxy 192.0.2.1\n"
            "</VirtualHost>",
            ["site.conf:6: RemoteIPProxyProtocol: no proxy is listed"],
        ),
    ],
)
def test_who_is_not_listed_is_told(tmp_path: Path, text: str, says: list[str]) -> None:
    found = [str(note) for note in notes(config(tmp_path, text), lambda _: False) if "RemoteIP" in note.message]
    assert len(found) == len(says)
    assert all(expected in note for expected, note in zip(says, found, strict=True))
