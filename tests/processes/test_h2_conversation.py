"""A worker's HTTP/2 connection, as conversations: what comes (>>), and what it says and does (<<).

Each is held with the bytes of a line at once, and one at a time; without a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h2_conversations import CONVERSATIONS
from h2_endings import ENDINGS
from h2_pair import Pair
from h2_paired import CONFIG, PairedPlay, recording
from h2_play import Limits, PurePlay
from ownhost.http.tls import TLSFacts
from ownhost.processes.states import Unexpected
from ownhost.processes.worker import h2_conversation, h2_stream
from ownhost.processes.worker.h2_stream import State, Stream
from ownhost.processes.worker.http2 import Http2Connection

ALL = CONVERSATIONS | ENDINGS


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_conversations(name: str, bytewise: bool) -> None:
    asyncio.run(PurePlay(bytewise=bytewise).hold(ALL[name]))


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", [name for name in ALL if name != "a bug"])
def test_conversations_over_a_socket_pair(
    name: str, bytewise: bool, make: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make(CONFIG)
    play: list[PairedPlay] = []
    monkeypatch.setattr(Http2Connection, "perform", recording(lambda: play[0] if play else None))

    async def work() -> None:
        play.append(PairedPlay(pair, bytewise=bytewise))
        await play[0].begin()
        await play[0].hold(ALL[name])

    pair.run(work(), bugs=int(name.startswith("a bug")))


# What comes in any order: "#" is the stream of a request that is new, "1" is one of those before.
REQUESTS = [
    *(f"# GET {path}" for path in ("/text", "/big", "/program", "/stubborn", "/short", "/bug")),
    *(f"# POST {path}" for path in ("/text", "/none", "/program", "/program expect: 100-continue", "/stubborn")),
    "# POST /text content-length: 4",
    "# POST /program content-length: 8",
    "# GET /text te: gzip",
]
OF_STREAMS = ["DATA some", "DATA some END", f"DATA {'x' * 120}", "trailers", "RST", "window 10000"]
OF_CONNECTION = [
    *(
        "goaway",
        "window 20000",
        "window of streams 0",
        "window of streams 70000",
        "1 seconds",
        "4 seconds",
        "21 seconds",
    ),
    *("stop", "supersede", "the worker stops", "full", "room"),
]
OF_PROGRAMS = {
    State.RUNNING: ["reads", "answers done", "says 200", "fails", "breaks"],
    State.STREAMING: ["reads", "says more", f"says {'y' * 40_000}", "has said all", "fails", "breaks"],
    State.ABANDONED: ["answers done", "says 200", "fails"],
}


@given(st.data())
def test_whole_conversations(data: st.DataObject) -> None:
    """However bytes are cut, the same is said and done. No event is unexpected, and all that was begun ends once."""
    plays = [PurePlay(bytewise=bytewise) for bytewise in (False, True)]
    accepted: dict[int, list[str]] = {}
    last_served, number = 2**31, -1
    for _ in range(data.draw(st.integers(1, 25))):
        talk = plays[0].talk
        if talk.is_closed:
            break
        choices = REQUESTS + OF_CONNECTION
        stream = talk.streams.get(data.draw(st.sampled_from(sorted(talk.streams)))) if talk.streams else None
        if stream is not None:
            mine = [word for word in OF_STREAMS if not stream.complete or word[0] in "Rw"]
            choices = choices + 3 * [f"{stream.id} {word}" for word in mine + OF_PROGRAMS.get(stream.state, [])]
        line = data.draw(st.sampled_from(choices))
        if line[0] == "#":
            number += 2
            line = f"{number}{line[1:]}"
        for play in plays:
            play.step(line)
        said = note(plays, accepted, line)
        for word in said:
            if word.startswith("GOAWAY"):
                last_served = int(word.split()[1])
        assert all(served <= last_served for served in plays[0].answering)
    finish(plays, accepted)


def note(plays: list[PurePlay], accepted: dict[int, list[str]], line: str) -> list[str]:
    """See that both have said and done the same, which is allowed."""
    said, again = (play.take() for play in plays)
    assert said == again, line
    for word in said:
        assert not word.startswith("broke")
        frame = word.split()
        if not frame[0].isdigit():
            continue
        before = accepted.setdefault(int(frame[0]), [])
        if frame[1] in ("HEADERS", "DATA"):
            assert not before or before[-1] == "100" or (frame[1] == "DATA" and before[-1] != "END"), (word, before)
            before.append("END" if frame[-1] == "END" else frame[2] if frame[2] == "100" else frame[1])
        elif frame[1] == "RST":
            before.append("END")
    return said


def finish(plays: list[PurePlay], accepted: dict[int, list[str]]) -> None:
    """The client leaves, and what goes on for it ends."""
    for play in plays:
        play.perform(play.talk.take(h2_conversation.Event.GONE, play.now))
        play.turn()
        for stream in list(play.talk.streams.values()):
            assert stream.state is State.ABANDONED
            play.step(f"{stream.id} fails")
    note(plays, accepted, "the end")
    for play in plays:
        assert play.talk.state is h2_conversation.State.CLOSED
        assert play.all.count("forget") == play.all.count("hang_up") == 1
        for number, answering in play.answering.items():
            assert answering.stream.state is State.CLOSED
            assert play.all.count(f"finish {number}") + play.all.count(f"abort {number}") == 1


@pytest.mark.parametrize("state", State)
def test_what_a_stream_does_not_expect_says_where_it_stands(state: State) -> None:
    for event in h2_stream.Event:
        stream = Stream(1, 0, Limits(), 0.0, 0.0, True)
        stream.state = state
        if (state, event) in h2_stream.TABLE:
            continue
        with pytest.raises(Unexpected, match=f"{event.name} for <stream 1 in {state.name}"):
            PurePlay(bytewise=False).talk.step(stream, event, 0.0)


@pytest.mark.parametrize("state", h2_conversation.State)
def test_what_a_connection_does_not_expect_says_where_it_stands(state: h2_conversation.State) -> None:
    play = PurePlay(bytewise=False)
    play.talk.state = state
    for event in h2_conversation.Event:
        if (state, event) not in h2_conversation.TABLE:
            with pytest.raises(Unexpected, match=f"{event.name} for <HTTP/2 in {state.name}"):
                play.talk.take(event, 0.0)


def test_tls_that_is_too_weak() -> None:
    for protocol, cipher, done in (
        ("TLSv1.2", "AES128-SHA", ["GOAWAY 0 INADEQUATE_SECURITY", "log", "hang_up and wait", "forget"]),
        ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", []),
    ):
        play = PurePlay(bytewise=False)
        play.perform(play.talk.met(TLSFacts(protocol, cipher, 128, "site.test", False), play.now))
        assert play.take() == done


def test_every_state_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http2.md").read_text()
    assert all(f"| {state.name} |" in page for state in (*State, *h2_conversation.State))


def test_every_state_can_be_reached_and_ends() -> None:
    begins = {State.NEW, h2_conversation.State.OPEN}
    assert {after for after, _ in h2_stream.TABLE.values()} | begins >= set(State)
    assert {after for after, _ in h2_conversation.TABLE.values()} | begins >= set(h2_conversation.State)
    assert all((state, h2_stream.Event.RESET) in h2_stream.TABLE for state in State if state is not State.CLOSED)
    gone = h2_conversation.Event.GONE
    assert all((state, gone) in h2_conversation.TABLE for state in h2_conversation.State)


def test_an_event_that_a_stream_does_not_expect_ends_that_stream_alone(
    make: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported once, with the stream's state."""
    pair = make(CONFIG)
    monkeypatch.delitem(h2_stream.TABLE, (State.RUNNING, h2_stream.Event.DATA))

    async def work() -> None:
        play = PairedPlay(pair, bytewise=False)
        await play.begin()
        await play.hold("""
            >> 1 POST /program; 3 GET /program
            >> 1 DATA some
            << 1 HEADERS 500; 1 DATA sorry END
            >> 3 answers text
            << 3 HEADERS 200; 3 DATA text END
        """)

    pair.run(work(), bugs=1)
    assert "Unexpected: DATA for <stream 1 in RUNNING, request not complete>" in pair.errors()


def test_an_event_that_a_connection_does_not_expect_ends_it_alone(
    make: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make(CONFIG)
    event = h2_conversation.Event.GOODBYE
    monkeypatch.delitem(h2_conversation.TABLE, (h2_conversation.State.OPEN, event))

    async def work() -> None:
        other = pair.connect()
        play = PairedPlay(pair, bytewise=False)
        await play.begin()
        await play.hold("""
            >> 1 GET /program
            >> goaway
            << GOAWAY 1 INTERNAL_ERROR
        """)
        assert (await other.get("/text")).status == 200

    pair.run(work(), bugs=1)
    assert "Unexpected: GOODBYE for <HTTP/2 in OPEN, 0 bytes wait, [<stream 1 in RUNNING, request" in pair.errors()
