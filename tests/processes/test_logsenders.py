"""The ways to the logger: they outlive it, and for a while those who wrote."""

from __future__ import annotations

import os
import socket

import pytest

from clock import Clock
from ownhost.processes.messages import Sender
from ownhost.processes.supervisor.logsenders import KEPT, LogSenders
from processes.offspring import Offspring

WHAT = Sender(0, "error", 1, "alice", 0)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture
def senders(offspring: Offspring) -> LogSenders:
    return LogSenders(offspring)  # type: ignore[arg-type]


def test_lines_that_are_sent_without_a_logger_wait_for_the_next(senders: LogSenders, offspring: Offspring) -> None:
    sender = senders.new(WHAT)
    assert os.write(sender.sending, b"said meanwhile") == 14
    logger = offspring.bear("logger")
    senders.serve(logger)
    assert offspring.told == [(logger, WHAT, (sender.receiving,))]
    with socket.socket(fileno=sender.receiving) as receiving:
        assert receiving.recv(100) == b"said meanwhile"
    os.close(sender.sending)


def test_a_logger_is_told_of_a_new_way_at_once_and_its_successor_of_all(
    senders: LogSenders, offspring: Offspring
) -> None:
    first, second = offspring.bear("logger"), offspring.bear("logger")
    senders.serve(first)
    ways = {senders.new(WHAT), senders.new(WHAT)}
    senders.serve(second)
    for logger in (first, second):
        assert {told[2] for told in offspring.told if told[0] is logger} == {(sender.receiving,) for sender in ways}
    for sender in ways:
        os.close(sender.sending)
        os.close(sender.receiving)


def test_a_sender_is_kept_for_a_while_and_until_there_is_a_logger(
    senders: LogSenders, offspring: Offspring, clock: Clock
) -> None:
    """A logger that died had perhaps not read its last lines."""
    sender = senders.new(WHAT)
    os.close(sender.sending)
    senders.leave([sender])
    clock.go_on(clock.now + 3 * KEPT)
    assert is_open(sender.receiving)
    assert sender in senders.senders
    senders.serve(offspring.bear("logger"))
    clock.go_on(clock.now + KEPT)
    assert not is_open(sender.receiving)
    assert not senders.senders


def test_who_reads_them_is_sent_no_descriptor(senders: LogSenders) -> None:
    """Where the kernel knows how to refuse one."""
    sender = senders.new(WHAT)
    with socket.socket(fileno=sender.sending) as sending, socket.socket(fileno=sender.receiving) as receiving:
        receiving.setblocking(False)
        try:
            socket.send_fds(sending, [b"x"], [0])
        except PermissionError:
            return
        assert receiving.recv(10) == b"x"
