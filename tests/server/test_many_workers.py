"""More owners than there may be workers (MaxWorkers): who is idle leaves, who is not there yet waits (S11)."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from harness import Server, World
from waiting import eventually

FIRST = 51_000  # uid
OWNERS = 6


@pytest.fixture
def full(world: World) -> Server:
    """Six owners, and room for two workers."""
    hosts = [world.virtual_host(f"owner{number}", FIRST + number) for number in range(OWNERS)]
    return world.server("MaxWorkers 2\nKeepAliveTimeout 60\n" + "".join(hosts))


def test_all_are_served_in_turn_by_two(full: Server) -> None:
    for number in [*range(OWNERS), *range(OWNERS)]:
        assert full.get(f"owner{number}.test").status == 200
        assert len([worker for worker in full.processes("worker") if worker.alive]) <= 2
    assert "MaxWorkers 2 are there" in full.log()


def test_who_was_idle_for_longest_leaves(full: Server) -> None:
    for number in (0, 1, 0):
        assert full.get(f"owner{number}.test").status == 200
    first, second = full.worker(FIRST), full.worker(FIRST + 1)
    assert full.get("owner2.test").status == 200
    assert first.alive
    eventually(lambda: not second.alive)


def test_where_nobody_can_leave_the_newcomer_waits_and_is_answered_503(full: Server) -> None:
    with closing(full.client()) as one, closing(full.client()) as two:
        for number, client in enumerate((one, two)):
            client.request("GET", "/", headers={"Host": f"owner{number}.test"})
            client.getresponse().read()
        late = full.client(30)
        late.request("GET", "/", headers={"Host": "owner2.test"})
        for number, client in enumerate((one, two)):
            client.request("GET", "/", headers={"Host": f"owner{number}.test"})
            assert client.getresponse().read() == f"owner{number}\n".encode(), "they notice nothing"
        assert late.getresponse().status == 503
        late.close()
    assert full.get("owner2.test").status == 200, "there is room again"


def test_who_waits_is_served_as_soon_as_somebody_leaves(full: Server) -> None:
    clients = [full.client() for _ in range(2)]
    for number, client in enumerate(clients):
        client.request("GET", "/", headers={"Host": f"owner{number}.test"})
        client.getresponse().read()
    late = full.client()
    late.request("GET", "/", headers={"Host": "owner2.test"})
    eventually(lambda: "MaxWorkers 2 are there" in full.log())
    clients[0].close()
    assert late.getresponse().status == 200
    for client in (late, clients[1]):
        client.close()


def test_what_waits_in_the_mailbox_of_a_worker_that_died_is_served(full: Server) -> None:
    """Its worker was killed with a connection in the mailbox; its place is another's by then."""
    assert full.get("owner0.test").status == 200
    worker = full.worker(FIRST)
    os.kill(worker.pid, signal.SIGSTOP)
    waiting = full.client()
    waiting.request("GET", "/", headers={"Host": "owner0.test"})
    os.kill(worker.pid, signal.SIGKILL)
    assert waiting.getresponse().status == 200
    waiting.close()


def test_a_stop_ends_those_who_wait_too(full: Server) -> None:
    with closing(full.client()) as one, closing(full.client()) as two:
        for number, client in enumerate((one, two)):
            client.request("GET", "/", headers={"Host": f"owner{number}.test"})
            client.getresponse().read()
        with full.connect() as late:
            late.sendall(b"GET / HTTP/1.1\r\nHost: owner3.test\r\n\r\n")
            eventually(lambda: "MaxWorkers 2 are there" in full.log())
            assert full.stop() == 0
    assert "Traceback" not in full.stderr + Path(full.folder / "error.log").read_text()
