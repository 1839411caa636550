"""A gate's client, as conversations: what comes (>>), and what the gate decides (<<). Nothing here has a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.processes.gate.client import (
    NO_TLS,
    OVERLOADED,
    PEEK_SIZE,
    TABLE,
    Client,
    Event,
    Look,
    State,
    look,
    overloaded,
)
from ownhost.processes.states import Unexpected

HEAD = b"GET / HTTP/1.1\r\nHost: Alice.test:80\r\n\r\n"
HELLO = (
    bytes.fromhex(
        "16030100430100003f0303" + "00" * 32 + "00" + "00021301" + "0100" + "0014" + "0000001000" + "0e00000b"
    )
    + b"alice.test."
)


def client(*, encrypted: bool = False) -> Client:
    return Client("192.0.2.1", 4242, "127.0.0.1", 80, 0.0, encrypted)


def converse(one: Client, *said: bytes | None) -> list[str]:
    """All that a client says, looked at after each part, as the kernel shows it: from the beginning."""
    data, decided = b"", []
    for part in said:
        data += part or b""
        found = look(one, None if part is None else data)
        what = one.step(found.event)
        if what == "watch":
            one.seen = found.seen
        decided.append(f"{what} {found.host or found.answer.decode('latin-1')[9:12]}".strip())
        if one.state is not State.SPEAKING:
            break
    return decided


@pytest.mark.parametrize(
    ("said", "decided"),
    [
        pytest.param([HEAD], ["deliver alice.test"], id="a head at once"),
        pytest.param([None, HEAD[:5], HEAD[5:]], ["watch", "watch", "deliver alice.test"], id="in parts"),
        pytest.param([b""], ["close"], id="nothing"),
        pytest.param([b"GET / HT", b""], ["watch", "close"], id="an end within the first line"),
        pytest.param([HEAD[:-2], b""], ["watch", "deliver alice.test"], id="an end within the head: a worker says so"),
        pytest.param([b"GET /\r\n", b""], ["deliver"], id="HTTP/0.9"),
        pytest.param([b"\r\n\r\n", b""], ["watch", "close"], id="an end before the first line"),
        pytest.param([HELLO[:9]], ["close 400"], id="TLS where HTTP is spoken"),
        pytest.param([b"x" * PEEK_SIZE], ["deliver"], id="what is too long for a head"),
        pytest.param([b"nonsense\r\n\r\n"], ["deliver"], id="nonsense: a worker says so"),
    ],
)
def test_http(said: list[bytes | None], decided: list[str]) -> None:
    assert converse(client(), *said) == decided


@pytest.mark.parametrize(
    ("said", "decided"),
    [
        pytest.param([HEAD], ["deliver"], id="HTTP where TLS is spoken: the default says so"),
        pytest.param([None, HELLO[:9], b""], ["watch", "watch", "close"], id="an end within the hello"),
        pytest.param([b"\x16\x03", b"x" * PEEK_SIZE], ["watch", "deliver"], id="what is no hello"),
    ],
)
def test_tls(said: list[bytes | None], decided: list[str]) -> None:
    assert converse(client(encrypted=True), *said) == decided


V1 = b"PROXY TCP4 198.51.100.7 192.0.2.9 4000 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 192, 0, 2, 9, 15, 160, 0, 80])
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def announced(*said: bytes | None) -> tuple[Client, list[str]]:
    """What a listed front proxy says, and its client behind it: the announcement is taken out of what is looked at."""
    one, data, decided = client(), b"", []
    one.state = State.ANNOUNCED
    parts = list(said)
    while parts:
        part = parts.pop(0)
        data += part or b""
        found = look(one, None if part is None else data)
        what = one.step(found.event)
        decided.append(f"{what} {found.host}".strip())
        if what == "watch":
            one.seen = found.seen
        elif what == "meet":
            assert found.announced is not None
            data = data[found.announced.size :]
            one.meet(found.announced)
            parts.insert(0, b"" if data else None)
        else:
            break
    return one, decided


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("cut", range(1, len(V1) + len(HEAD), 7))
def test_a_front_proxy_announces_its_client(header: bytes, cut: int) -> None:
    one, decided = announced((header + HEAD)[:cut], (header + HEAD)[cut:])
    assert [what for what in decided if what != "watch"] == ["meet", "deliver alice.test"]
    assert (one.address, one.port, one.peer, one.peer_port) == ("198.51.100.7", 4000, "192.0.2.1", 4242)


def test_a_front_proxy_speaks_for_itself() -> None:
    one, decided = announced(LOCAL + HEAD)
    assert decided == ["meet", "deliver alice.test"]
    assert (one.address, one.port, one.peer) == ("192.0.2.1", 4242, "192.0.2.1")


def test_a_front_proxy_that_announces_nobody_is_closed() -> None:
    one = client()
    one.state = State.ANNOUNCED
    found = look(one, HEAD)
    assert (one.step(found.event), found.problem) == (
        "close",
        "its connection does not begin with the PROXY protocol: it does not begin with a PROXY header",
    )
    assert announced(V1[:9], b"")[1] == ["watch", "close"]
    assert announced(None, V1, None, HEAD)[1] == ["watch", "meet", "watch", "watch", "deliver alice.test"]


@given(st.lists(st.integers(1, len(HEAD) - 1), max_size=10, unique=True).map(sorted))
def test_the_end_of_a_conversation_does_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    parts = [HEAD[start:end] for start, end in zip([0, *cuts], [*cuts, len(HEAD)], strict=True)]
    assert converse(client(), *parts)[-1] == "deliver alice.test"


@given(st.binary(max_size=200), st.booleans())
def test_whatever_is_said_is_decided(data: bytes, encrypted: bool) -> None:
    one = client(encrypted=encrypted)
    found = look(one, data)
    assert isinstance(found, Look)
    one.step(found.event)


def test_a_full_mailbox_is_waited_for_and_then_given_up() -> None:
    one = client()
    assert converse(one, HEAD) == ["deliver alice.test"]
    assert [one.step(event) for event in (Event.FULL, Event.FULL, Event.TAKEN)] == ["wait", "wait", "close"]
    assert one.state is State.GONE


def test_what_a_state_does_not_expect_says_which_state_it_is() -> None:
    for state in State:
        for event in Event:
            one = client()
            one.state = state
            if (state, event) in TABLE:
                one.step(event)
                continue
            with pytest.raises(Unexpected, match=f"{event.name} for Client.*{state.name}"):
                one.step(event)


def test_answers_are_of_the_protocol_that_is_spoken() -> None:
    assert overloaded(client()) == OVERLOADED
    assert overloaded(client(encrypted=True))[0] == 0x15
    assert NO_TLS.startswith(b"HTTP/1.1 400")
