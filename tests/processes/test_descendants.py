"""Ending what runs below a process: trees, crowds, what stands still, what nobody may end."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, signal, sys, time
from ownhost.identity import prctl
from ownhost.processes.descendants import children, end_all, end_below, strangers
prctl.adopt_orphans()

def sleeper(*below):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for make in below:
            make()
        while True:
            signal.pause()
    return pid
"""


def run(code: str) -> list[str]:
    """The lines of a process that has adopted what runs below it."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_trees_end_with_their_roots() -> None:
    code = """
        def branch(depth):
            return lambda: sleeper(*[branch(depth - 1)] * 2) if depth else None
        sleeper(branch(5))
        print(end_all(5), children())
    """
    assert run(code) == ["True []"]


def test_what_was_stopped_or_ignores_signals_ends_too() -> None:
    code = """
        stopped = sleeper()
        os.kill(stopped, signal.SIGSTOP)
        def deaf():
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
        sleeper(deaf)
        print(end_all(5), children())
    """
    assert run(code) == ["True []"]


def test_what_somebody_waits_for_is_not_replaced() -> None:
    """Each sees the other's end (the end of a pipe), and would start a new one at once."""
    code = """
        def watch():
            reading, writing = os.pipe()
            if os.fork():
                os.close(writing)
                os.read(reading, 1)  # until the other one ends
                watch()
            os.close(reading)
            while True:
                signal.pause()
        for _ in range(20):
            sleeper(watch)
        print(end_all(5), children())
    """
    assert run(code) == ["True []"]


def test_those_that_are_known_go_on() -> None:
    code = """
        known, stranger = sleeper(), sleeper()
        end_below(os.getpid(), [known], 5)
        os.waitpid(stranger, 0)
        print(strangers([known]), children() == [known], os.waitpid(known, os.WNOHANG))
        print(end_all(5))
    """
    assert run(code) == ["[] True (0, 0)", "True"]


def test_there_may_be_nobody() -> None:
    assert run("print(end_all(0.0), strangers())") == ["True []"]


@pytest.mark.slow
def test_an_owner_leaves_alone_what_is_not_his() -> None:
    """As a launcher does with a set-user-id program: it goes on, and nobody waits for it."""
    code = """
        def somebody():
            os.setuid(50009)
        other = sleeper(somebody)
        while os.stat(f"/proc/{other}").st_uid != 50009: pass
        mine = sleeper(lambda: os.setuid(50008))
        while os.stat(f"/proc/{mine}").st_uid != 50008: pass
        os.setresuid(50008, 50008, 0)
        began = time.monotonic()
        print(end_all(20), children() == [other], time.monotonic() - began < 10)
        os.setresuid(0, 0, 0)
        print(end_all(5))
    """
    assert run(code) == ["True True True", "True"]
