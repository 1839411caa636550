"""A worker's rehearsal, in the forkserver, before there is any owner's data.

All workers share what Python loads, compiles and specialises on first use. A process that does
something for the first time writes to more of its memory, and gets its own copy of each page that
it writes to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pickle
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

import uvloop

from ownhost.config.directive import Settings, Source
from ownhost.config.methods import EVERY
from ownhost.config.model import Section, SectionKind, VirtualHost
from ownhost.http import certificates
from ownhost.identity import name_services, seccomp
from ownhost.identity.identity import UNASSIGNED, Identity
from ownhost.modules.log_config import CUSTOM_LOGS, CustomLog
from ownhost.modules.mod_authz_core import REQUIRE, Group, Requirement, Rule
from ownhost.processes import mailbox
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Channel
from ownhost.processes.slices import LogPlaces, WorkerSlice
from ownhost.processes.worker import h2_rehearsal
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.worker import Worker
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.errorlog import ERROR_LOG, LogTarget

SAMPLE = Path(os.__file__).with_name("keyword.py")  # a small file that all users may read, unlike some of ours
REHEARSAL = Handover(0, "127.0.0.1", 1, "127.0.0.1", 80, "rehearsal")
REHEARSED = (
    *["GET /keyword.py HTTP/1.1\r\n\r\n", "GET /missing HTTP/1.1\r\n\r\n"] * 5,
    "GET /keyword.py HTTP/1.1\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    "GET /keyword.py HTTP/1.1\r\nRange: bytes=0-1,5-6\r\n\r\n",
    "POST /keyword.py HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "broken\r\n\r\n",
)
REHEARSED_PATHS = ("/keyword.py", "/keyword.py", "/missing") * 5  # over HTTP/2
WARM = 1  # of REHEARSED
ROUNDS = 10  # after so many, Python has specialised what a worker runs once: saves 0.2 MiB over two rounds
LOG = LogTarget("file", os.devnull)
COMBINED = '%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"'


def rehearse() -> None:
    """Serve requests of our own."""
    seccomp.compiled(seccomp.WORKER)
    certificates.load()
    with _rehearsing() as worker:
        worker.loop.run_until_complete(h2_rehearsal.rehearse(worker, REHEARSAL, REHEARSED_PATHS))
        for request in REHEARSED:
            worker.loop.run_until_complete(_rehearse(worker, request))
    name_services.load()
    "rehearsal".encode("idna")  # what getaddrinfo(3) needs
    with contextlib.suppress(KeyError):
        pwd.getpwnam("rehearsal")


def rehearse_first_request(rounds: int = ROUNDS) -> None:
    """Begin, and serve one request, several times."""
    for _ in range(rounds):
        with _rehearsing() as worker:
            worker.loop.run_until_complete(_rehearse(worker, REHEARSED[0]))


def warm_up() -> Iterator[None]:
    """Serve a few more in a spare process, in steps: then it has its own copies of pages that every worker changes."""
    with _rehearsing() as worker:
        yield
        for request in REHEARSED[:WARM]:
            worker.loop.run_until_complete(_rehearse(worker, request))
            yield


@functools.cache
def _rehearsed_slice() -> bytes:
    source = Source(__file__, 1)
    everybody = Group("", (Rule("all granted", "all", argument=True, negated=False, methods=EVERY),))
    opened = Section(SectionKind.DIRECTORY, "/", source, settings=Settings({REQUIRE.name: Requirement(everybody)}))
    settings = Settings({DOCUMENT_ROOT.name: str(SAMPLE.parent), CUSTOM_LOGS.name: (CustomLog(LOG, COMBINED),)})
    server = VirtualHost(0, source, settings=settings, sections=[opened])
    nobody = Identity(0, 0, (), "rehearsal")
    logs = LogPlaces(error={ERROR_LOG.default: 2}, access={LOG: 2})
    return pickle.dumps(WorkerSlice(nobody, [server], {0: frozenset((UNASSIGNED,))}, UNASSIGNED, server, logs=logs))


@contextlib.contextmanager
def _rehearsing() -> Iterator[Worker]:
    slice_: WorkerSlice = pickle.loads(_rehearsed_slice())  # noqa: S301 - our own
    gates, box = mailbox.mailbox_pair()
    loop = uvloop.new_event_loop()
    with open(os.devnull, "wb") as log, box, gates:
        descriptors = [os.dup(box.fileno()), os.dup(gates.fileno()), log.fileno()]
        worker = Worker(Channel(gates, ()), slice_, descriptors, loop)
        try:
            yield worker
        finally:  # an order for the spare process may come in the middle of it
            worker.waiting.close()
            worker.lingering.end()
            worker.mailbox.close()
            worker.orders.close()
            loop.close()


async def _rehearse(worker: Worker, request: str) -> None:
    ours, client = socket.socketpair()
    client.send(request.replace("\r\n", "\r\nHost: rehearsal\r\n", 1).encode())
    connection = Connection(worker, socket.SocketType(fileno=ours.detach()), REHEARSAL)
    connection.begin()
    client.close()
    for _ in range(100):
        if connection.closed:
            break
        await asyncio.sleep(0)
