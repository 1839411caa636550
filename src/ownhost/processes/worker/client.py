"""A client in a worker, whatever version of HTTP it speaks: where it is counted, and whose its requests are."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Protocol, TypeVar

from ownhost.http.message import Head, HTTPError, Response
from ownhost.processes.mailbox import Handover
from ownhost.processes.scoreboard import Clients
from ownhost.processes.worker.sending import Sending
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.shared import Shared
from ownhost.request import bugs
from ownhost.request.hosts import SERVER_NAME, refuses
from ownhost.request.request import Endpoints, Level, OtherIdentity, Request
from ownhost.request.resolve import resolve
from ownhost.request.serve import error_response, respond


class Breakable(Protocol):
    """An object that a bug ends, and no other object."""

    def broke(self, error: Exception) -> None:
        """Log it, answer if possible, and end. Never raises."""


B = TypeVar("B", bound=Breakable)
T = TypeVar("T")


def guarded(step: Callable[[B], T]) -> Callable[[B], T | None]:
    """A step that the event loop calls for an object: an exception ends only that object."""

    @functools.wraps(step)
    def take(whose: B) -> T | None:
        try:
            return step(whose)
        except Exception as error:
            whose.broke(error)
            return None

    return take


def begin_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None], whose: Breakable
) -> asyncio.Task[None]:
    """Run a coroutine for an object. An exception ends only that object."""

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            whose.broke(error)

    task = loop.create_task(work)
    task.add_done_callback(ended)
    return task


class Client(ABC):
    """The common part of connections of every version."""

    __slots__ = (
        "counted",
        "denial",
        "endpoints",
        "fresh",
        "handled",
        "server",
        "service",
        "worker",
    )

    relayed: ClassVar[bool] = False  # whether another worker has the client itself
    lingers: ClassVar[bool] = True  # whether the client gets time to read the last response, after all is sent

    def __init__(self, worker: Shared, handover: Handover) -> None:
        self.worker = worker
        here = handover
        self.endpoints = Endpoints(
            here.client, here.client_port, here.local, here.local_port, False, here.peer, here.peer_port
        )
        self.server = handover.server  # the id of the virtual host that the connection was made for
        self.denial: HTTPError | None = None  # why the request being answered may not come on this connection
        self.counted: Clients | None = None  # where this client is counted (MaxClientsVHost)
        self.service: Service | None = None  # of the request being answered, or the last one
        self.fresh = True  # the next request is the one for which a gate passed on the connection
        self.handled = 0  # requests answered on this connection

    @abstractmethod
    def begin(self) -> None:
        """Serve a connection from the mailbox: usually its first request is here."""

    @abstractmethod
    def broke(self, error: Exception) -> None:
        """An unexpected exception (Breakable)."""

    @abstractmethod
    def check_time(self) -> None:
        """The deadline has passed (Timed)."""

    @abstractmethod
    def close_if_idle(self) -> None:
        """For a stop: end it if nothing has begun."""

    @abstractmethod
    def close(self) -> None:
        """Close this process's end, and forget the connection."""

    def find(self, head: Head) -> Service | None:
        """The virtual host of a request; None if it is another owner's. Raises HTTPError if it has none."""
        worker, endpoints = self.worker, self.endpoints
        place = endpoints.local, endpoints.local_port
        server = (worker.names.get(place) or worker.names_at(*place)).find(head.host)
        refusal = worker.slice.refused.get(server)
        if refusal is not None:
            raise HTTPError(500, refusal, module="mpm_itk")
        found = worker.services.get(server)
        if endpoints.secure:
            answers = self.admit(found, head.host)
        elif found is None or (self.fresh and server != self.server):
            return None
        else:
            answers = found
        if found is not None and found.checks_hosts and refuses(found.site.virtual_host, head.host):
            self.denial = _unnamed(found, head.host)
        return answers

    def admit(self, found: Service | None, asked: str) -> Service:
        """The virtual host for a request over TLS. One for which the connection was not made is refused."""
        own = self.worker.services.get(self.server)
        if found is None or not (found is own or (own is not None and found.shares_connections_of(own))):
            self.denial = _misdirected(self.endpoints, asked)
            return own or found or self.worker.default
        if found.encryption is not None and found.encryption.strict:
            tls = self.endpoints.tls
            if tls is None or not tls.server_name:
                reason = "AH02033: No hostname was provided via SNI for a name based virtual host"
                self.denial = HTTPError(403, reason, module="ssl")
        return found

    def respond(self, service: Service, request: Request, *, passed: bool = False) -> Response:
        """The response to a request. Raises OtherIdentity if it is another identity's; not a byte of it is used then.

        A relayed request may be this worker's though names alone say otherwise: `walk` knows.
        """
        for arrive in service.site.arrivals:
            arrive(request)
        if self.denial is not None:
            denial, self.denial = self.denial, None
            return error_response(request, denial)
        if service.clients is not self.counted and not self.relayed and not self.enter(service, request):
            return error_response(request, HTTPError(503))
        try:
            mine = service.site.fixed or self.is_mine(service, request, passed=passed or self.relayed)
        except OtherIdentity:
            raise
        except Exception as error:
            return error_response(request, error)
        return respond(request, recalls=mine)

    @staticmethod
    def is_mine(service: Service, request: Request, *, passed: bool) -> bool:
        """Check a request's identity, by names alone. Returns whether that is certain. Raises OtherIdentity."""
        assignment = resolve(request)
        if service.site.is_mine(assignment):
            return True
        if not passed:
            raise OtherIdentity(assignment)
        request.assignment = None
        return False

    def record(self, service: Service, sending: Sending, *, aborted: bool) -> bool:
        """Log a response that was sent. False if that fails."""
        try:
            service.record(sending, self.handled, aborted)
        except Exception as error:
            bugs.report(sending.request.log, error)
            return False
        return True

    def enter(self, service: Service, request: Request) -> bool:
        """Count this client for a virtual host, and no longer for another. False if it has too many."""
        self.leave()
        if service.clients is None:
            return True
        if service.clients.enter(service.max_clients):
            self.counted = service.clients
            return True
        name, port = service.site.settings[SERVER_NAME].host, self.endpoints.local_port
        reason = f"MaxClientsVhost reached for {name}:{port}, refusing client."  # the text of mpm_itk
        request.log(Level.WARN, "mpm_itk", reason)
        return False

    def leave(self) -> None:
        """Stop counting this client."""
        if self.counted is not None:
            self.counted.leave()
            self.counted = None


def _misdirected(ends: Endpoints, asked: str) -> HTTPError:
    """The error for a request over TLS that the connection was not made for: Apache's words, which fail2ban reads."""
    tls = ends.tls
    named = f"{tls.server_name} provided via SNI" if tls is not None and tls.server_name else "(no SNI was provided)"
    reason = f"AH02032: Hostname {named} and hostname {asked} provided via HTTP have no compatible SSL setup"
    return HTTPError(421, reason, module="ssl", level=Level.ERROR)


def _unnamed(service: Service, asked: str) -> HTTPError:
    """The error for a request for an unknown host, with StrictHostCheck."""
    server = service.site.virtual_host
    if server.id:
        number = "AH10157"
        where = f"in the matching virtual host (default vhost for current connection is {server.source})"
    else:
        number, where = "AH10156", "in the global server configuration"
    reason = f"{number}: Requested hostname '{asked}' did not match any ServerName/ServerAlias {where}"
    return HTTPError(400, reason, level=Level.WARN)
