"""One client's connection in a worker: requests in, responses out, until it closes or belongs to somebody else.

The first request is read and answered as soon as the connection comes out of the mailbox; where it ends there, no
event-loop object ever exists for it. Whatever can be answered without waiting is answered in one turn: one recv, the
phases, one send. Only what has to wait (a body to read, a client slow to take a response) becomes a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from socket import MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, SocketType
from typing import TYPE_CHECKING

from ownhost.http.body import BodyReader
from ownhost.http.framing import chunk, last_chunk, response_head
from ownhost.http.head import head_end, parse_head
from ownhost.http.message import FileBody, Head, HTTPError, Response
from ownhost.processes.mailbox import Handover
from ownhost.request.exchange import Exchange
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.serve import fast, refuse, respond

if TYPE_CHECKING:
    from ownhost.processes.service import Service
    from ownhost.processes.worker import Worker

READ_SIZE = 65_536  # bytes per recv; what is read ahead must fit into a return (mailbox.MAX_READ_AHEAD)
SENDFILE_SIZE = 1 << 20  # bytes per sendfile, so that other connections get their turn
LINGER = 2.0  # seconds without a byte from the client before a lingering close gives up
LINGER_IN_ALL = 30.0  # seconds
SEND = MSG_DONTWAIT | MSG_NOSIGNAL


class Gone(Exception):
    """The client left, or took too long."""


class Connection:
    """A connection and where it stands."""

    __slots__ = (
        "buffer",
        "endpoints",
        "first_byte",
        "handled",
        "moves",
        "reading",
        "service",
        "sock",
        "task",
        "ticket",
        "timer",
        "used",
        "waiting_since",
        "worker",
    )

    def __init__(self, worker: Worker, sock: SocketType, handover: Handover) -> None:
        self.worker = worker
        self.sock = sock
        self.endpoints = Endpoints(handover.client, handover.client_port, handover.local, handover.local_port)
        self.ticket = handover.ticket
        self.moves = handover.moves
        self.buffer = handover.data  # received and not used
        self.service: Service | None = None  # of the request being answered, or the last one
        self.handled = 0  # requests answered on this connection
        self.used = 0  # bytes of the request being answered
        self.reading = False  # whether the event loop watches for bytes
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiting_since = 0.0  # loop time
        self.first_byte = 0.0  # loop time of the first byte of an incomplete head; 0 for none

    # Reading

    def begin(self) -> None:
        """Serve a connection that just came out of the mailbox: its first request is here, as a rule."""
        if not self.buffer:
            try:
                self.buffer = self.sock.recv(READ_SIZE, MSG_DONTWAIT)
            except BlockingIOError:
                self.wait()
                return
            except OSError:
                self.close()
                return
            if not self.buffer:
                self.close()
                return
        self.serve()

    def on_readable(self) -> None:
        """More bytes are here, or the client's end of the stream."""
        try:
            data = self.sock.recv(READ_SIZE, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.buffer = self.buffer + data if self.buffer else data
        self.serve()

    def serve(self) -> None:
        """Answer every complete request in the buffer, for as long as nothing has to be waited for."""
        while True:
            end = head_end(self.buffer)
            if end < 0 and not self.too_long():
                self.wait()
                return
            try:
                head = parse_head(self.buffer[:end] if end >= 0 else self.buffer, self.limits)
                service = self.worker.find(self, head)
            except HTTPError as error:
                self.refuse(error)
                return
            if service is None:
                self.hand_back(head)
                return
            self.service = service
            self.used = end
            self.buffer = self.buffer[end:]
            self.first_byte = 0.0
            if not self.answer(service, head) or self.sock.fileno() < 0:
                return
            if not self.buffer:
                self.wait()
                return

    # Answering

    def answer(self, service: Service, head: Head) -> bool:
        """Answer one request. False where a task has taken over, which goes on with the next when it is done."""
        request = Request(head, self.endpoints, service.site, time.time(), self.log)
        response = fast(request) if not head.has_body else None
        if response is None:
            response = respond(request)
        return self.send_response(service, request, response)

    def send_response(self, service: Service, request: Request, response: Response) -> bool:
        """Send a response, at once if it goes. False where a task has taken over."""
        head = request.head
        if head.expect_continue and not self.buffer:
            response.close = True  # the client may send the body or not: there is no telling (RFC 9110, 10.1.1)
        keep = self.may_keep(service, head, response)
        data, body = service.frame(head, response, keep, self.handled)
        sent = self.try_send(data)
        if sent < 0:
            self.done(service, request, response, 0, len(data), aborted=True, keep=False)
            return True
        if sent < len(data) or body is not None or head.has_body:
            self.begin_task(self.finish(service, request, response, data, sent, keep))
            return False
        self.done(service, request, response, sent, len(data), aborted=False, keep=keep)
        return True
