"""The next worker is forked before it is asked for."""

from __future__ import annotations

import os
import signal

import pytest

from harness import ALICE, BOB, Process, Server, World
from waiting import eventually


@pytest.fixture
def two(world: World) -> Server:
    return world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))


def spare(server: Server) -> Process:
    """The spare process, once there is one."""
    eventually(lambda: any(one.alive for one in server.processes("spare")), message="there is no spare process")
    return next(one for one in server.processes("spare") if one.alive)


def test_the_first_worker_is_the_process_that_waited(two: Server) -> None:
    for owner, name in ((ALICE, "alice"), (BOB, "bob")):
        waited = spare(two)
        assert waited.uid == 0
        assert two.get(f"{name}.test").status == 200
        assert two.worker(owner).pid == waited.pid
        assert spare(two).pid != waited.pid


def test_one_that_is_killed_is_missed_by_nobody(two: Server) -> None:
    killed = spare(two)
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not killed.alive)
    assert two.get("alice.test").status == 200
    assert spare(two).pid != killed.pid
    assert "ended by signal" not in two.log(), "it was nobody's process yet"


def test_one_that_stands_still_holds_nobody_up_but_who_gets_it(two: Server) -> None:
    stopped = spare(two)
    os.kill(stopped.pid, signal.SIGSTOP)
    client = two.client(20)
    client.request("GET", "/", headers={"Host": "alice.test"})
    eventually(lambda: len(two.processes("spare")) == 2, message="it was not given to alice")
    assert two.get("bob.test").status == 200
    os.kill(stopped.pid, signal.SIGCONT)
    assert client.getresponse().status == 200
    client.close()


def test_it_has_no_channel_but_to_its_parent(two: Server) -> None:
    waited = spare(two)
    eventually(lambda: set(waited.descriptors()) == {0, 1, 2, 3}, message="it has more than it needs")
    parent = int(waited.status["PPid"])
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: not waited.alive, message="it outlives its parent")
