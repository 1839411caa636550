"""A proxy's connection in a front: its socket, and the pair of the current request. `conversation` decides."""

from __future__ import annotations

import time
from collections.abc import Callable
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from socket import MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SocketType
from typing import Any

from ownhost.processes.front.conversation import (
    Ask,
    Close,
    Commands,
    Conversation,
    Done,
    EndInput,
    Finish,
    Log,
    Overloaded,
    Pass,
    Send,
)
from ownhost.processes.front.pair import Pair
from ownhost.processes.front.shared import Shared
from ownhost.processes.relay.records import End, Kind, RecordError
from ownhost.request import bugs
from ownhost.request.request import Level

READ_SIZE = 65_536  # bytes
STEPS = 16  # per connection and turn, so that all others have their turn
RECEIVE = int(MSG_DONTWAIT)
LOOK = int(MSG_DONTWAIT | MSG_PEEK)
SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)
# Edge-triggered: an unwanted event costs no system call, and is remembered (`may_read`).
WATCHED = int(EPOLLIN | EPOLLRDHUP | EPOLLET)
WATCHED_BOTH = WATCHED | int(EPOLLOUT)
ROOM, HALF_CLOSED, GONE = int(EPOLLOUT), int(EPOLLRDHUP), int(EPOLLERR | EPOLLHUP)


class Connection:
    """Does what its conversation says. Bytes are passed on as soon as there is room for them, and not read before."""

    __slots__ = (
        "blocked",
        "client",
        "finishing",
        "front",
        "half_closed",
        "may_read",
        "out",
        "pair",
        "progress",
        "sock",
        "talk",
    )

    def __init__(self, front: Shared, sock: SocketType, talk: Conversation, client: str) -> None:
        """`client` is for the log."""
        self.front = front
        self.sock = sock
        self.talk = talk
        self.client = client
        self.pair: Pair | None = None  # over which the request goes
        self.out = b""  # for the client, not sent yet
        self.blocked = False  # the client is watched for room
        self.finishing = False  # the stream ends after these bytes
        self.may_read, self.half_closed = True, False
        self.progress = 0.0  # monotonic seconds: when the client last took something
        front.connections.add(self)
        front.watch(sock.fileno(), self.on_event, WATCHED)

    def on_event(self, events: int) -> None:
        """The client has sent something, has received something, or is gone."""
        if events & GONE:
            self.then(lambda _: self.talk.gone())
            return
        if events & HALF_CLOSED:
            self.half_closed = True
        if events & ~ROOM:
            self.may_read = True
        self.go_on()

    def then(self, what: Callable[[float], Commands]) -> None:
        """Have the conversation handle an event."""
        try:
            self.do(what(time.monotonic()))
        except Exception as error:
            self.broke(error)
        self.go_on()

    def go_on(self) -> None:
        """Read and pass on whatever is possible. An exception ends only this connection."""
        try:
            for _ in range(STEPS):
                self.flush()
                if not self.step(time.monotonic()):
                    break
            else:
                self.front.again.append(self)
        except Exception as error:
            self.broke(error)

    def step(self, now: float) -> bool:
        """Read once from the worker and from the client. Returns whether there was anything to read."""
        moved = False
        pair = self.pair
        if pair is not None and pair.may_read and not self.out:
            moved = True
            self.read_pair(pair, now)
        pair = self.pair
        if self.may_read and self.talk.reads and (pair is None or not pair.out):
            moved = True
            self.read_client(now)
        elif self.half_closed and pair is not None and not self.talk.reads:
            moved = self.look_behind() or moved
        return moved

    def read_client(self, now: float) -> None:
        """Handle the client's bytes."""
        try:
            data = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            self.may_read = False
            return
        except OSError:
            self.do(self.talk.gone())
            return
        if len(data) < READ_SIZE and not self.half_closed:
            self.may_read = False
        self.do(self.talk.received(data, now))

    def look_behind(self) -> bool:
        """Check whether only the end of the client's stream is left. Returns whether that is new."""
        try:
            commands = [] if self.sock.recv(1, LOOK) else self.talk.ended()
        except OSError:
            return False  # reading shows what it is
        self.do(commands)
        return bool(commands)

    def read_pair(self, pair: Pair, now: float) -> None:
        """Handle a worker's bytes."""
        talk = self.talk
        try:
            data = pair.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            pair.may_read = False
            return
        except OSError:
            data = b""
        if not data:
            self.do(talk.lost("its worker has ended", now))
            return
        if len(data) < READ_SIZE and not pair.ended:
            pair.may_read = False
        try:
            for kind, content in pair.records.feed(data):
                heard = HEARD.get(kind)
                if heard is None:
                    raise RecordError(f"{kind.name} from a virtual host's own worker")
                self.do(heard(talk, content, now))
                if self.pair is not pair:
                    return
            self.do(talk.settle(now))
        except RecordError as error:
            self.do(talk.broken(str(error), now))

    def do(self, commands: Commands) -> None:
        """Do what the conversation says."""
        for command in commands:
            DOING[type(command)](self, command)

    def send(self, command: Send) -> None:
        """Send the client some bytes, in order."""
        if not self.out:
            self.progress = time.monotonic()
        self.out = self.out + command.data if self.out else command.data

    def finish(self, _: Finish) -> None:
        """End the stream after all bytes are sent."""
        self.finishing = True

    def pass_on(self, command: Pass) -> None:
        """Send the worker some of what follows the head."""
        if self.pair is not None:
            self.pair.say(command.data)

    def end_input(self, _: EndInput) -> None:
        """Tell the worker that no more comes."""
        if self.pair is not None:
            self.pair.input_ends = True

    def ask(self, command: Ask) -> None:
        """Send the request over a kept pair, or over a new one."""
        pairs = self.front.pairs
        try:
            kept = None if command.fresh else pairs.take(command.server)
            pair = kept or Pair(self.front, pairs, command.server)
        except OSError as error:
            self.log(Level.CRIT, "core", f"no pair to ask a worker over: {error.strerror}")
            self.do(self.talk.refused(time.monotonic()))
            return
        self.pair, pair.asker = pair, self
        pair.ask(command.asked)
        if kept is None:
            self.front.deliver(pair)

    def refuse(self) -> None:
        """No worker takes the request."""
        self.do(self.talk.refused(time.monotonic()))
        self.front.again.append(self)

    def release(self, command: Done) -> None:
        """The pair is not needed any more."""
        pair, self.pair = self.pair, None
        if pair is None:
            return
        pair.asker = None
        if command.again:
            self.front.pairs.keep(pair, time.monotonic())
        else:
            pair.close()

    def flush(self) -> None:
        """Send while there is room."""
        if self.pair is not None:
            self.pair.flush()
        if self.out:
            try:
                self.out = self.out[self.sock.send(self.out, SEND) :]
                self.progress = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                self.do(self.talk.gone())
                return
        if bool(self.out) is not self.blocked:
            self.blocked = not self.blocked
            self.front.change(self.sock.fileno(), WATCHED_BOTH if self.blocked else WATCHED)
        if self.finishing and not self.out:
            self.finishing = False
            try:
                self.sock.shutdown(SHUT_WR)
            except OSError:
                self.do(self.talk.gone())
            else:
                self.do(self.talk.sent(time.monotonic()))

    def check_time(self, now: float) -> None:
        """Check whether anything took too long."""
        if self.out:
            if now - self.progress > self.talk.patience:
                self.then(lambda _: self.talk.gone())
        elif now >= self.talk.deadline:
            self.then(self.talk.expired)

    def drain(self) -> None:
        """The front stops: finish what is begun."""
        self.then(self.talk.drain)

    def log(self, level: Level, module: str, message: str) -> None:
        """Write to the error log, with the client's address."""
        self.front.log.log(level, module, message, self.client)

    def broke(self, error: Exception) -> None:
        """A bug: this connection ends."""
        bugs.report(self.log, error)
        self.close()

    def close(self, _: Close | None = None) -> None:
        """Close everything of it."""
        self.release(Done(again=False))
        self.out = b""
        self.finishing = self.may_read = self.blocked = False
        if self in self.front.connections:
            self.front.connections.discard(self)
            self.front.discard(self.sock)
            self.front.has_room()


# A worker's bytes
HEARD: dict[Kind, Callable[[Conversation, bytes, float], Commands]] = {
    Kind.WHOLE: lambda talk, data, now: talk.answered_whole(data[1:], End.from_bytes(data[:1]), now),
    Kind.TAKEN: lambda talk, _, now: talk.taken(now),
    Kind.DATA: Conversation.answered,
    Kind.END: lambda talk, data, now: talk.finished(End.from_bytes(data), now),
    Kind.TUNNEL: lambda talk, _, now: talk.switched(now),
}

DOING: dict[type, Callable[[Connection, Any], None]] = {
    Ask: Connection.ask,
    Pass: Connection.pass_on,
    EndInput: Connection.end_input,
    Done: Connection.release,
    Send: Connection.send,
    Finish: Connection.finish,
    Close: Connection.close,
    Overloaded: lambda connection, command: connection.front.complain_of(command.server),
    Log: lambda connection, command: connection.log(*command),
}
