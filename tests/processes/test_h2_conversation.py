"""A worker's HTTP/2 connection, as conversations: what comes (>>), and what it says and does (<<).

Each is held with the bytes of a line at once, and one at a time; without a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from h2_conversations import CONVERSATIONS
from h2_pair import Pair
from h2_paired import CONFIG, PairedPlay, recording
from h2_play import PurePlay
from ownhost.processes.worker.http2 import Http2Connection


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name: str, bytewise: bool) -> None:
    asyncio.run(PurePlay(bytewise=bytewise).hold(CONVERSATIONS[name]))


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if name != "a bug"])
def test_conversations_over_a_socket_pair(
    name: str, bytewise: bool, make: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make(CONFIG)
    play: list[PairedPlay] = []
    monkeypatch.setattr(Http2Connection, "perform", recording(lambda: play[0] if play else None))

    async def work() -> None:
        play.append(PairedPlay(pair, bytewise=bytewise))
        await play[0].begin()
        await play[0].hold(CONVERSATIONS[name])

    pair.run(work(), bugs=int(name.startswith("a bug")))
