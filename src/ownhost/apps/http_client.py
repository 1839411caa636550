"""One HTTP/1.1 request to a server behind this one, and its response, without input or output (RFC 9112).

h11 does the parsing: its grammar is RFC 9112's. This file has the rules for a server in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h11

from ownhost.http.hops import end_to_end

MAX_HEAD = 65_536  # bytes

Fields = list[tuple[str, str]]


class BackendError(Exception):
    """The other server's bytes are not HTTP, or end too early. The message is one sentence for the error log.

    `status` is for the client: as in Apache, 500 if only a field is invalid.
    """

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Interim:
    """An interim response (1xx except 101) to pass on: never the last one."""

    status: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Head:
    """The response's head. `fields` are without those of the connection, and without Content-Length."""

    status: int
    fields: Fields
    content_length: int | None


@dataclass(frozen=True, slots=True)
class Content:
    """Some of the response's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The response is complete."""


@dataclass(frozen=True, slots=True)
class Switched:
    """101: from here on both sides speak another protocol. `leftover` has its first bytes."""

    protocol: str
    fields: Fields
    leftover: bytes


Event = Interim | Head | Content | End | Switched


class Exchange:
    """One request and its response, on a connection that may have been used before.

    Invariant: the events (contents put together) and whether there is an error don't depend on how the bytes were cut.
    """

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._over = False

    def request(
        self,
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]],
        body_length: int | None,
        version: str = "1.1",
    ) -> bytes:
        """The request's head. Host is among the fields, which are as in a client's head (ISO 8859-1); no length is.

        `target` is ASCII. `body_length` None is a body of unknown length, sent chunked. Raises
        ValueError if HTTP cannot express it.
        """
        framing = ("Transfer-Encoding", "chunked") if body_length is None else ("Content-Length", str(body_length))
        said = [*fields, framing] if body_length != 0 or method in ("POST", "PUT", "PATCH") else fields
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said]
        try:
            sent = self._h11.send(h11.Request(method=method.encode(), target=target.encode("latin-1"), headers=headers))
        except h11.LocalProtocolError as error:
            raise ValueError(f"a request that HTTP cannot express: {error}") from None
        return (sent or b"").replace(b" HTTP/1.1\r\n", f" HTTP/{version}\r\n".encode(), 1)

    def body(self, data: bytes) -> bytes:
        """Some of the request's body."""
        return self._h11.send(h11.Data(data=data)) or b""

    def end_of_body(self) -> bytes:
        """The end of the request, also without a body."""
        return self._h11.send(h11.EndOfMessage()) or b""

    @property
    def reusable(self) -> bool:
        """Whether a next request may begin on the connection, with a new Exchange."""
        done = self._h11.our_state is self._h11.their_state is h11.DONE
        return done and self._h11.trailing_data == (b"", False)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes. Those after the end do not belong to the response, and make the connection unusable.

        Raises BackendError.
        """
        try:
            if data:
                self._h11.receive_data(data)
            return list(self._events())
        except h11.RemoteProtocolError as error:
            raise BackendError(f"the backend's response is malformed: {error}", _status(str(error))) from None

    def close(self) -> list[Event]:
        """The other side closed the connection, which ends a body of unknown length. Raises BackendError."""
        try:
            self._h11.receive_data(b"")
            return list(self._events())
        except h11.RemoteProtocolError:
            raise BackendError("the backend closed the connection before its response was complete") from None

    def _events(self) -> Iterator[Event]:
        while not self._over:
            event = self._h11.next_event()
            if isinstance(event, h11.Response):
                yield _head(event)
            elif isinstance(event, h11.Data):
                yield Content(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._over = True
                yield End()
            elif not isinstance(event, h11.InformationalResponse):
                return
            elif event.status_code == 101:
                self._over = True
                yield self._switched(event)
            else:
                yield Interim(event.status_code, end_to_end(_fields(event), but=("content-length",)))

    def _switched(self, event: h11.InformationalResponse) -> Switched:
        fields = _fields(event)
        protocol = next((value for name, value in fields if name.lower() == "upgrade"), "")
        return Switched(protocol, end_to_end(fields), self._h11.trailing_data[0])


def _fields(event: h11.Response | h11.InformationalResponse) -> Fields:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
    for name, value in fields:
        if _CONTROL.search(value):
            raise BackendError(f"the value {value!r} of its field {name} contains invalid characters", 500)
    return fields


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _status(error: str) -> int:
    """The status for clients when h11 refuses a response."""
    line = error.removeprefix("illegal header line: ")
    return 500 if line != error and ":" in line and "\\x00" not in line else 502


def _head(event: h11.Response) -> Head:
    fields = _fields(event)
    length = next((value for name, value in fields if name.lower() == "content-length"), None)
    fields = end_to_end(fields, but=("content-length",))
    return Head(event.status_code, fields, None if length is None else int(length))
