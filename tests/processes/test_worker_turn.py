"""The end of a worker's turn: once for each time that somebody waits for it, in the event loop or before."""

from __future__ import annotations

from collections.abc import Callable

from ownhost.processes.worker.turn import Turn


def test_a_turn_ends_in_the_event_loop_or_before() -> None:
    soon: list[Callable[[], None]] = []
    ended: list[str] = []
    turn = Turn(soon.append)
    turn.end()
    turn.at_end(lambda: ended.append("one"))
    turn.at_end(lambda: ended.append("two"))
    assert (len(soon), ended) == (1, [])
    turn.end()
    assert ended == ["one", "two"]
    turn.at_end(lambda: ended.append("three"))
    while soon:
        soon.pop()()
    assert ended == ["one", "two", "three"]


def test_who_waits_again_while_it_ends_waits_for_the_next() -> None:
    soon: list[Callable[[], None]] = []
    turn = Turn(soon.append)
    turn.at_end(lambda: turn.at_end(lambda: None))
    turn.end()
    assert (len(turn.calls), len(soon)) == (1, 2)
