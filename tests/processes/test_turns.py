"""Turns at an identity's programs, without programs."""

from __future__ import annotations

import asyncio
import json
import os
import socket

from ownhost.processes.launcher.turns import Lease, Turns
from waiting import soon


class Requests:
    """A worker's side: `begun` are the leases whose turn came, in order."""

    def __init__(self, limit: int, queue: int) -> None:
        self.turns = Turns(asyncio.get_running_loop(), limit, queue)
        self.begun: list[Lease] = []

    def ask(self) -> tuple[socket.socket, int]:
        """One request: the worker's end of its lease, and a descriptor that it sent along."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.turns.take(theirs.detach(), self.begun.append, [descriptor])
        return ours, descriptor


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def test_turns_come_in_order_and_no_more_than_the_limit() -> None:
    async def work() -> None:
        requests = Requests(limit=1, queue=2)
        asked = [requests.ask() for _ in range(3)]
        assert len(requests.begun) == 1
        for count in (2, 3):
            requests.begun[-1].close()
            assert len(requests.begun) == count
        requests.begun[-1].close()
        assert requests.turns.taken == set()
        for sock, descriptor in asked:
            sock.close()
            os.close(descriptor)  # whoever began owns it

    asyncio.run(work())


def test_one_more_than_may_wait_is_refused() -> None:
    async def work() -> None:
        requests = Requests(limit=1, queue=1)
        first, second, (refused, descriptor) = requests.ask(), requests.ask(), requests.ask()
        assert "MaxRequestWorkers 1" in json.loads(refused.recv(4096))["error"]
        assert refused.recv(4096) == b""
        assert not is_open(descriptor)
        for sock, _ in (first, second):
            sock.close()
        refused.close()
        os.close(first[1])
        await soon(lambda: not requests.turns.waiting)
        assert not is_open(second[1]), "what came with a request whose turn never came is closed"
        requests.begun[0].close()
        assert len(requests.begun) == 1

    asyncio.run(work())


def test_a_lease_is_wanted_back_once_others_wait() -> None:
    async def work() -> None:
        requests = Requests(limit=1, queue=5)
        holder, descriptor = requests.ask()
        requests.begun[0].answer(socket="/here")
        assert json.loads(holder.recv(4096)) == {"socket": "/here"}
        waiting = [requests.ask() for _ in range(2)]
        assert json.loads(holder.recv(4096)) == {"wanted": "back"}
        requests.begun[0].close()
        assert holder.recv(4096) == b"", "asked for once"
        requests.begun[1].answer(socket="/here")
        assert [json.loads(waiting[0][0].recv(4096)) for _ in range(2)] == [{"socket": "/here"}, {"wanted": "back"}]
        for lease in list(requests.turns.taken):
            lease.close()
        for lease in requests.begun:
            lease.close()
        for sock, number in ((holder, descriptor), *waiting):
            sock.close()
            os.close(number)

    asyncio.run(work())
