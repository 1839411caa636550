"""MaxClientsVHost and NiceValue: what a virtual host may have, counted and set where owners cannot change it."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ALICE, BOB, Process, Server, World
from waiting import eventually


class Held(list[http.client.HTTPConnection]):
    """Clients of a test, closed after it whatever happens."""


@pytest.fixture
def held() -> Iterator[Held]:
    clients = Held()
    yield clients
    for one in clients:
        one.close()


def hold(held: Held, server: Server, host: str, path: str = "/") -> http.client.HTTPConnection:
    """A client that stays: one request, answered, on a connection that is kept open."""
    client = server.client()
    held.append(client)
    client.request("GET", path, headers={"Host": host})
    response = client.getresponse()
    response.read()
    assert response.status == 200
    return client


@pytest.fixture
def limited(world: World) -> Server:
    """alice.test takes two clients, over two identities: hers, and bob's for one folder."""
    extra = (
        "MaxClientsVHost 2\nKeepAliveTimeout 30\n"
        f'<Directory @DIR@/alice/bob>\nAssignUserID "#{BOB}" "#{BOB}"\n</Directory>\n'
    )
    hosts = world.virtual_host("alice", ALICE, extra, {"index.html": "alice\n", "bob/index.html": "bob\n"})
    root = world.folder / "alice"
    root.chmod(0o711)
    for path in (root / "bob", root / "bob" / "index.html"):
        os.chown(path, BOB, BOB)
    return world.server(hosts + world.virtual_host("bob", BOB))


def test_one_client_more_is_refused_whoever_serves(limited: Server, held: Held) -> None:
    first, second = hold(held, limited, "alice.test"), hold(held, limited, "alice.test", "/bob/")
    for path in ("/", "/bob/"):
        response = limited.get("alice.test", path)
        assert response.status == 503
        assert response.getheader("Connection") == "close"
    assert limited.get("bob.test").status == 200, "another virtual host has no limit"
    said = f"MaxClientsVhost reached for alice.test:{limited.port}, refusing client."
    eventually(lambda: said in limited.log())
    line = next(line for line in limited.log().splitlines() if said in line)
    assert "[mpm_itk:warn]" in line
    for _ in range(3):  # those that are in stay in
        first.request("GET", "/", headers={"Host": "alice.test"})
        assert first.getresponse().read() == b"alice\n"
    second.close()
    eventually(lambda: limited.get("alice.test").status == 200)


def test_a_client_that_goes_on_to_another_virtual_host_makes_room(limited: Server, held: Held) -> None:
    clients = [hold(held, limited, "alice.test") for _ in range(2)]
    clients[0].request("GET", "/", headers={"Host": "bob.test"})
    with pytest.raises(http.client.RemoteDisconnected):
        clients[0].getresponse()  # another owner's: it asks again on another connection
    clients[0].request("GET", "/", headers={"Host": "bob.test"})
    assert clients[0].getresponse().read() == b"bob\n"
    hold(held, limited, "alice.test")
    assert limited.get("alice.test").status == 503


@pytest.mark.parametrize("path", ["/", "/bob/"])
def test_the_count_is_right_again_after_a_worker_is_killed(limited: Server, held: Held, path: str) -> None:
    """That of the virtual host's own identity, which has all its clients."""
    for _ in range(2):
        hold(held, limited, "alice.test", path)
    assert limited.get("alice.test").status == 503
    os.kill(limited.worker(ALICE).pid, signal.SIGKILL)
    eventually(lambda: limited.get("alice.test").status == 200)
    for _ in range(2):
        hold(held, limited, "alice.test")
    assert limited.get("alice.test").status == 503


def test_the_count_holds_when_a_gate_is_killed(limited: Server, held: Held) -> None:
    clients = [hold(held, limited, "alice.test") for _ in range(2)]
    gates = limited.processes("gate")
    os.kill(gates[0].pid, signal.SIGKILL)
    eventually(lambda: len([g for g in limited.processes("gate") if g.alive]) == len(gates) and not gates[0].alive)
    assert limited.get("alice.test").status == 503
    for client in clients:
        client.close()
    eventually(lambda: limited.get("alice.test").status == 200)


def test_a_worker_can_write_no_count_but_its_own(limited: Server, held: Held) -> None:
    for folder in ("/", "/bob/"):
        hold(held, limited, "alice.test", folder)
    writable = {}
    for uid in (ALICE, BOB):
        worker = limited.worker(uid)
        lines = (line for line in Path(f"/proc/{worker.pid}/maps").read_text().splitlines() if "memfd:clients" in line)
        pages = [(int(line.split()[2], 16), line) for line in lines if line.split()[1][1] == "w"]
        ((offset, line),) = pages
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        assert high - low == os.sysconf("SC_PAGE_SIZE"), line
        writable[uid] = offset
        # With a descriptor it could map more; there is none.
        assert not any("memfd:clients" in name for name in worker.descriptors().values())
    assert writable[ALICE] != writable[BOB]
    assert 0 not in writable.values(), "the first page is the supervisor's"


def nice_of(process: Process) -> int:
    return os.getpriority(os.PRIO_PROCESS, process.pid)


def test_the_process_that_serves_has_the_nice_value(world: World) -> None:
    extra = "NiceValue 7\n<Directory @DIR@/kind/later>\nNiceValue 15\n</Directory>\n"
    server = world.server(
        world.virtual_host("kind", ALICE, extra, {"index.html": "kind\n", "later/index.html": "later\n"})
        + world.virtual_host("keen", ALICE, "NiceValue -5\n")
        + world.virtual_host("plain", ALICE)
    )
    for host in ("kind", "keen", "plain"):
        assert server.get(f"{host}.test").status == 200
    assert server.get("kind.test", "/later/").content == b"later\n"
    workers = [worker for worker in server.processes("worker") if worker.uid == ALICE]
    assert sorted(map(nice_of, workers)) == [-5, 0, 7, 15]


def test_a_nice_value_that_there_is_not_becomes_the_nearest_and_is_noted(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE, "NiceValue 99\n"))
    assert server.get("alice.test").status == 200
    assert nice_of(server.worker(ALICE)) == 19
