"""Descriptors go down only, and a socket that an owner's worker has had is that owner's: what hostile workers try.

A hostile worker is a real one that stands still, with copies of its descriptors in a child that has its uid and its
filter.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from encrypted import Sites
from harness import ALICE, BOB, CAROL, Process, Server, World, answer, standing, steal
from ownhost.http.tls import TLSFacts
from ownhost.identity import prctl, seccomp
from ownhost.processes.mailbox import MOST, receive_handover
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Relay, Relayed
from ownhost.processes.relay.records import Asked, Conversation, End, Kind, Origin, Record, encode, unfold
from waiting import eventually


@pytest.fixture
def two(world: World) -> Server:
    """alice.test and bob.test; both have been asked once."""
    seccomp.compiled(seccomp.WORKER)
    server = world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    assert server.get("alice.test").status == 200
    assert server.get("bob.test").status == 200
    return server


@contextmanager
def hostile(server: Server, uid: int) -> Iterator[socket.socket]:
    """The mailbox of an owner's only worker, which stands still meanwhile. It is ended afterwards."""
    worker = server.worker(uid)
    os.kill(worker.pid, signal.SIGSTOP)
    with ExitStack() as stack:
        stack.callback(end, worker.pid)
        yield stack.enter_context(mailbox_of(worker))


def end(pid: int) -> None:
    """End a process, which may have ended before."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def mailbox_of(worker: Process) -> socket.socket:
    """A copy of a worker's end of its mailbox: the first SEQPACKET socket behind its channel."""
    for number, name in sorted(worker.descriptors().items()):
        if name.startswith("socket:") and number > 3:
            sock = socket.socket(fileno=steal(worker.pid, number))
            if sock.type == socket.SOCK_SEQPACKET:
                return sock
            sock.close()
    raise AssertionError("no mailbox")


def as_worker(uid: int, work: Callable[[], object], *, filtered: bool = True) -> int:
    """Have something done by a child that is an owner's worker as far as the kernel can tell: its status.

    Without the filter it is a program of the owner's that the worker has passed its descriptors to.
    """
    pid = os.fork()
    if pid == 0:
        status = 99
        signal.alarm(20)  # in case that it waits for ever
        with suppress(BaseException):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            prctl.set_no_new_privs()
            if filtered:
                seccomp.install(seccomp.WORKER)
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_mail(box: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return bool(box.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return False


def ticks(process: Process) -> int:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def waiting_in(process: Process) -> str:
    """The system call that a process waits in; "running" for none."""
    return Path(f"/proc/{process.pid}/syscall").read_text().split()[0]


GET = b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n"


# S7: what comes up


@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_nothing_that_a_worker_writes_into_its_mailbox_gets_anywhere(two: Server, count: int) -> None:
    before = {process.pid: len(process.descriptors()) for process in two.processes("gate")}
    with hostile(two, ALICE) as box, socket.socket() as passed:

        def write() -> None:
            for data in (b"x", b"R" + bytes(30), b"Q" + bytes(30), b"x" * 100_000):
                with pytest.raises(BrokenPipeError):
                    socket.send_fds(box, [data], [passed.fileno()] * count)

        assert as_worker(ALICE, write) == 0
    assert two.get("bob.test").status == 200
    eventually(lambda: all(len(Process(pid).descriptors()) <= many for pid, many in before.items()))


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_mailbox_that_a_worker_shuts_down_costs_its_identity_alone(two: Server, how: int) -> None:
    """No gate spins over it, and what waits is served by the next worker, with a new mailbox."""
    near = two.processes("gate") + two.processes("supervisor") + two.processes("forkserver")
    with hostile(two, ALICE) as box, two.connect(20) as before:
        before.sendall(GET)
        eventually(lambda: has_mail(box))
        assert as_worker(ALICE, lambda: box.shutdown(how)) == 0
        used = sum(map(ticks, near))
        clients = [two.connect(20) for _ in range(3)]
        for client in clients:
            client.sendall(GET)
        for _ in range(20):
            assert two.get("bob.test").status == 200
        if how != socket.SHUT_WR:  # that alone changes nothing
            for client in clients:
                assert answer(client).status == 200
            assert "has shut down its workers' mailbox" in two.log()
        assert sum(map(ticks, near)) - used < 100, "hundredths of a second"
        for client in clients:
            client.close()
    assert two.get("alice.test").status == 200


def test_what_was_left_in_a_mailbox_that_was_shut_down_is_served(two: Server) -> None:
    with hostile(two, ALICE) as box:
        clients = [two.connect(20) for _ in range(5)]
        for client in clients:
            client.sendall(GET)
        eventually(lambda: has_mail(box))
        assert as_worker(ALICE, lambda: box.shutdown(socket.SHUT_RDWR)) == 0
        clients.append(two.connect(20))
        clients[-1].sendall(GET)
        for client in clients:
            with client:
                assert answer(client).status == 200


def test_shutting_it_down_again_and_again_is_throttled(two: Server) -> None:
    """No fork storm: each is an early death."""
    seen = set()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        with suppress(OSError), two.connect(1) as client:
            client.sendall(GET)
        for worker in two.processes("worker"):
            if worker.uid == ALICE and worker.pid not in seen:
                with suppress(OSError, AssertionError), mailbox_of(worker) as box:
                    box.shutdown(socket.SHUT_RDWR)
                    seen.add(worker.pid)
        assert two.get("bob.test").status == 200
    assert 1 < len(seen) < 10


def lingering(sock: socket.socket) -> None:
    """Have whoever closes a socket last wait for an hour: its client takes nothing of what was sent."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        sock.recv(65_536)
        while True:
            sock.send(bytes(1 << 20))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3_600))


def test_nobody_waits_for_sockets_that_a_worker_has_spoiled_and_left_in_its_mailbox(two: Server) -> None:
    """It looks at what is in there (MSG_PEEK), makes it linger, and shuts the mailbox down."""
    near = two.processes("gate") + two.processes("supervisor")
    eventually(lambda: len({waiting_in(process) for process in near}) <= 2)
    idle = {waiting_in(process) for process in near}
    with hostile(two, ALICE) as box, two.connect() as client:
        client.sendall(GET)
        eventually(lambda: has_mail(box))

        def spoil() -> None:
            _, ((_, _, data),), _, _ = box.recvmsg(4_096, socket.CMSG_SPACE(4), socket.MSG_PEEK)
            with socket.socket(fileno=struct.unpack("i", data[:4])[0]) as sock:
                lingering(sock)
            box.shutdown(socket.SHUT_RDWR)

        assert as_worker(ALICE, spoil, filtered=False) == 0  # a worker's own filter refuses SO_LINGER
    for _ in range(3):
        with suppress(OSError):
            two.get("alice.test")
        assert two.get("bob.test").status == 200
    eventually(lambda: {waiting_in(process) for process in near} <= idle, message="somebody waits")


def test_a_workers_message_with_a_descriptor_ends_the_worker_and_nobody_waits(two: Server) -> None:
    supervisor, worker = two.processes("supervisor")[0], two.worker(ALICE)
    idle = waiting_in(supervisor)
    with socket.socket(fileno=steal(worker.pid, 3)) as channel, two.connect() as sock:
        with suppress(OSError):
            socket.send_fds(channel, [b"nonsense"], [sock.fileno()])
        with suppress(OSError):
            channel.send(b"nonsense")
        eventually(lambda: not worker.alive)
    eventually(lambda: waiting_in(supervisor) == idle)
    assert two.get("alice.test").status == 200


# S3: what is in flight


def test_what_is_in_flight_for_one_owner_is_bounded(two: Server) -> None:
    with hostile(two, ALICE) as box:
        clients = [two.connect() for _ in range(3 * MOST)]
        for client in clients:
            client.sendall(GET)
        for _ in range(20):
            assert two.get("bob.test").status == 200
        found = []
        with standing(two.processes("gate")), suppress(BlockingIOError):  # which would put more into it
            while received := receive_handover(box):
                found.append(received[1])
        assert len(found) == MOST
        for descriptor in found:
            os.close(descriptor)
        for client in clients:
            client.close()


def test_owners_who_stand_still_together_do_not_use_up_what_may_be_in_flight(world: World) -> None:
    """The server may have 512 open files."""
    owners = {f"h{number}": 50_200 + number for number in range(6)}
    sites = "".join(world.virtual_host(name, uid) for name, uid in owners.items())
    server = world.server(sites + world.virtual_host("bob", BOB), start=False)
    python = world.folder / "python"
    python.write_text(f'#!/bin/sh\nulimit -n 512\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    server.start(python=str(python))
    assert server.get("bob.test").status == 200
    stopped, clients = [], []
    try:
        for name, uid in owners.items():
            assert server.get(f"{name}.test").status == 200
            stopped.append(server.worker(uid).pid)
            os.kill(stopped[-1], signal.SIGSTOP)
            for _ in range(150):
                client = server.connect()
                client.sendall(f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode())
                clients.append(client)
        for _ in range(10):
            assert server.get("bob.test").status == 200
    finally:
        for pid in stopped:
            end(pid)
        for client in clients:
            client.close()


# S8: connections and requests of others


def test_a_request_in_a_visitors_name_reaches_no_neighbour(two: Server) -> None:
    """alice's worker has her visitor's socket: there is nobody to whom she could give it."""
    with hostile(two, ALICE) as box, two.connect() as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        eventually(lambda: has_mail(box))
        received = receive_handover(box)
        assert received is not None
        with socket.socket(fileno=received[1]) as sock:

            def give() -> None:
                with pytest.raises(BrokenPipeError):
                    socket.send_fds(box, [b"GET / HTTP/1.1\r\nHost: bob.test\r\n\r\n"], [sock.fileno()])

            assert as_worker(ALICE, give) == 0


@pytest.fixture
def several(world: World, sites: Sites) -> Server:
    """all.test is alice's, and bob's below /bob/; bob.test is his alone."""
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        world.site(name, uid)
    server = world.server(
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName all.test\nDocumentRoot {world.folder}/alice\n"
        f'Alias /bob/ {world.folder}/bob/\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        f'<Location /bob/>\nAssignUserID "#{BOB}" "#{BOB}"\n</Location>\n'
        f"<Directory {world.folder}>\nRequire all granted\n</Directory>\n"
        "LogFormat %h all\nCustomLog @DIR@/all.access all\n</VirtualHost>\n"
        + world.virtual_host("own", BOB, "<Location />\nRequire ip 127.0.0.9\n</Location>\n", {"index.html": "own\n"})
    )
    assert server.get("all.test", "/bob/").content == b"bob\n"
    return server


ALL = 1  # server id


@contextmanager
def relayed(server: Server) -> Iterator[socket.socket]:
    """alice's worker is hostile, and has a pair with bob's for all.test."""
    worker = server.worker(ALICE)
    os.kill(worker.pid, signal.SIGSTOP)
    channel = Channel(socket.socket(fileno=steal(worker.pid, 3)), FROM_SUPERVISOR["worker"])
    channel.sock.setblocking(True)
    channel.sock.settimeout(10)
    try:
        channel.send(Relay(1, ALL, f"#{BOB}", f"#{BOB}", 0))
        received = channel.receive()
        assert received is not None
        assert received[0] == Relayed(1)
        with socket.socket(fileno=received[1][0]) as pair:
            pair.settimeout(10)
            yield pair
    finally:
        channel.close()
        end(worker.pid)


def said(pair: socket.socket, origin: bytes, head: bytes) -> list[Record]:
    """What a target says to a request, up to the end of its answer or of the pair."""
    talk, found = Conversation(), list[Record]()
    with suppress(OSError):
        pair.sendall(talk.says(Kind.REQUEST, Asked(0, origin, head).to_bytes()))
        while not any(record.kind is Kind.END for record in found):
            data = pair.recv(65_536)
            if not data:
                break
            for record in talk.feed(data):
                found += unfold(record)
    return found


def head(host: str, path: str = "/bob/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("server_id", [0, 1, 2, 99, -1])
def test_a_front_speaks_for_one_virtual_host_alone(several: Server, server_id: int) -> None:
    """Whatever it says of hosts, addresses and keys: it is all.test that answers, never bob's own site."""
    tls = TLSFacts("TLSv1.3", "x", 256, "own.test", False, server=server_id).to_text()
    with relayed(several) as pair:
        for host in ("own.test", "all.test", "unknown.test"):
            for facts in ("", tls):
                origin = Origin("127.0.0.9", 1, "127.0.0.1", several.port, facts).to_bytes()
                records = said(pair, origin, head(host))
                assert records[0].kind is Kind.TAKEN
                assert b"".join(one.data for one in records if one.kind is Kind.DATA).endswith(b"\r\n\r\nbob\n")
                assert records[-1] == Record(Kind.END, End(keep=True, again=True).to_bytes())
    assert several.get("own.test").status == 403, "it is asked from another address"


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"[]",
        b'["127.0.0.1", 1, "127.0.0.1", 80, "{}", "", 0]',
        b'["127.0.0.1", 1, "127.0.0.1", 80, "' + b"[" * 5_000 + b'", "", 0]',
        b'["127.0.0.1", 1, "127.0.0.1", 80, "", "", "0"]',
    ],
    ids=range(5),
)
def test_an_origin_that_is_none_ends_the_pair_and_nothing_else(several: Server, origin: bytes) -> None:
    bob = several.worker(BOB).pid
    with relayed(several) as pair:
        assert said(pair, origin, head("all.test")) == []
    assert several.get("all.test", "/bob/").content == b"bob\n"
    assert several.worker(BOB).pid == bob
    assert "bug" not in several.log()


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"\1\xff\xff\xff\xff",
        encode(Kind.DATA, b"x"),
        encode(Kind.BODY, b"x"),
        encode(Kind.REQUEST, Asked(0, b"[]", b"").to_bytes()) * 2,
        encode(Kind.REQUEST, b"\0\0\0\0\0\0\0\7[]"),
        encode(Kind.END, b"\3"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=range(8),
)
def test_nonsense_on_a_pair_ends_the_pair_and_nothing_else(several: Server, data: bytes) -> None:
    bob = several.worker(BOB).pid
    with relayed(several) as pair:
        pair.sendall(data)
        pair.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert pair.recv(100) == b""
    assert several.get("all.test", "/bob/").content == b"bob\n"
    assert several.worker(BOB).pid == bob
    assert "bug" not in several.log()


def test_a_pair_passes_no_descriptors(several: Server) -> None:
    """On kernels that can refuse them (Linux 6.16): what arrived in bob's worker could make it wait."""
    with relayed(several) as pair, socket.socket() as passed:
        try:
            socket.send_fds(pair, [b"x"], [passed.fileno()])
        except PermissionError:
            return
        pytest.skip("this kernel passes descriptors whatever the receiver says")


def test_who_answers_knows_the_client_and_has_nothing_of_it(several: Server) -> None:
    """The neighbour's worker logs the client's address, and has no socket of the network."""
    with socket.socket() as client:
        client.bind(("127.0.0.7", 0))
        client.connect(("127.0.0.1", several.port))
        client.sendall(head("all.test"))
        assert answer(client).content == b"bob\n"
        inet = {
            f"socket:[{line.split()[9]}]"
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        }
        assert inet.isdisjoint(several.worker(BOB).descriptors().values())
    eventually(lambda: several.log("all.access").splitlines()[-1] == "127.0.0.7")


def test_a_neighbour_in_a_virtual_host_is_ended_with_the_client(world: World) -> None:
    """A program of bob's in alice's virtual host does not outlive who asked for it."""
    script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nbegun\\n'; exec sleep 877\n"
    bob = world.site("bob", BOB, {"long.cgi": script})
    (bob / "long.cgi").chmod(0o700)
    runs = f"<Directory {bob}>\nRequire all granted\nOptions ExecCGI\nSetHandler cgi-script\n</Directory>\n"
    server = world.server(
        world.virtual_host(
            "alice", ALICE, f'Alias /bob/ {bob}/\n<Location /bob/>\nAssignUserID "#{BOB}" "#{BOB}"\n</Location>\n{runs}'
        )
        + world.virtual_host("carol", CAROL)
    )

    def running() -> list[int]:
        return [process.pid for process in server.processes() if process.title == "sleep"]

    with server.connect() as client:
        client.sendall(head("alice.test", "/bob/long.cgi"))
        eventually(running)
    eventually(lambda: not running(), message="the program runs on")
