"""A worker.

NAME        serves one identity's requests
TRUSTS      the supervisor; what a gate says of a connection, after parsing the head again itself
RUNS AS     its identity, for life; no capabilities, undumpable, set*id and exec refused by the kernel
TALKS TO    clients (their sockets come out of its mailbox), gates (connections that are somebody else's go back)
ENDS WHEN   it has been idle for a while, it was told to stop and is done, or its channel ends

It holds its own identity's virtual hosts, logs and mailbox, and nothing of any other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
import traceback

import uvloop
from setproctitle import setproctitle

from ownhost.identity import seccomp
from ownhost.identity.identity import Assignment
from ownhost.processes import mailbox
from ownhost.processes.connection import Connection
from ownhost.processes.logwriter import LogWriter
from ownhost.processes.messages import Busy, Channel, ProtocolError, Stop
from ownhost.processes.slices import WorkerSlice, receive_slice
from ownhost.request.errorlog import ERROR_LOG, ErrorLog, LogTarget
from ownhost.request.request import Level
from ownhost.request.site import Site

TAKE_BATCH = 8  # connections taken out of the mailbox per turn
BUSY_TURNS = 16  # turns in a row that left the mailbox not empty, before the supervisor is told
TITLE_INTERVAL = 2.0  # seconds between updates of the process title
MAX_NAMES = 4_096  # host names remembered


def main(channel: Channel) -> None:
    """Run a worker: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    seccomp.install(seccomp.WORKER)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(channel, slice_, descriptors, loop)
    gc.collect()
    gc.freeze()
    worker.run()


class Worker:
    """One identity's sites, and the connections that are being served."""

    def __init__(
        self, channel: Channel, slice_: WorkerSlice, descriptors: list[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.channel = channel
        self.loop = loop
        self.number = slice_.number
        self.name = slice_.identity.name
        self.assignments = slice_.assignments
        self.refusals = slice_.refusals
        self.refused_servers = slice_.refused_servers
        self.idle_timeout = slice_.idle_timeout
        self.mailbox = socket.socket(fileno=descriptors[0])
        writers: dict[LogTarget, LogWriter] = {
            target: LogWriter(descriptors[place], loop.call_soon) for target, place in slice_.logs.items()
        }
        self.sites = {server.id: SiteInService(server, writers, self) for server in slice_.servers}
        self.error_log = ErrorLog(slice_.main, writers[slice_.main.settings[ERROR_LOG]])
        self.names: dict[tuple[str, int, str], Site] = {}
        self.connections: set[Connection] = set()
        self.served = 0
        self.last_served = -1
        self.turns_behind = 0
        self.stopping = False
