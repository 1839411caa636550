"""Whose memory keys are in, and what a hostile worker can do with connections that are encrypted.

Hostile workers: the tests stop a real one, take copies of its descriptors (as root, by pidfd_getfd) and speak in its
place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certificates import PrivateKey
from encrypted import Sites, ask, s_client
from harness import ALICE, BOB, Process, Server, World, eventually, standing, steal
from ownhost.http.tls import TLSFacts
from ownhost.identity.identity import Assignment
from ownhost.processes.mailbox import Question, Return, read_answer, receive_handover, send_question, send_return
from ownhost.processes.messages import Busy, Channel

ALICES, BOBS = 1, 2  # server ids


@pytest.fixture
def two(world: World, sites: Sites) -> Server:
    """alice.test and bob.test; both have been asked once."""
    log = "CustomLog @DIR@/{}.access common\n"
    server = world.server(
        'LogFormat "%h %>s" common\n'
        + sites.virtual_host("alice", ALICE, log.format("alice"))
        + sites.virtual_host("bob", BOB, log.format("bob"), certificate=sites.certificate("bob", kind="rsa"))
    )
    assert sites.get(server, "alice.test").status == 200
    assert sites.get(server, "bob.test").status == 200
    return server


# Keys in memory


def numbers(key: PrivateKey) -> list[int]:
    """What is secret in a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        values = key.private_numbers()
        return [values.d, values.p, values.q]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return [key.private_numbers().private_value]


def forms(key: PrivateKey) -> list[bytes]:
    """A key as it could stand in memory: PEM, DER, its numbers from either end (that of OpenSSL's limbs is little)."""
    found = []
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        der = key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
        found += [der, base64.b64encode(der)[:64]]
    for number in numbers(key):
        size = (number.bit_length() + 7) // 8
        found += [number.to_bytes(size, "big"), number.to_bytes(size, "little")]
    return found


def holding(processes: list[Process], secrets: list[bytes]) -> set[str]:
    """The titles of the processes that have any of these bytes in memory."""
    pattern = re.compile(b"|".join(map(re.escape, secrets)))
    return {process.title for process in processes if any(pattern.search(region) for region in process.memory())}


def test_a_key_is_in_its_owners_worker_and_nowhere_else(world: World, sites: Sites, two: Server) -> None:
    for owner, which in ((ALICE, "alice"), (BOB, "bob-rsa")):
        worker = two.worker(owner)
        others = [process for process in two.processes() if process.pid != worker.pid]
        secrets = forms(sites.identities[which].key)
        assert holding([worker], secrets), "the search itself does not work"
        assert not holding(others, secrets)


def test_nor_after_a_worker_has_gone_and_others_were_started(sites: Sites, two: Server) -> None:
    for owner, name in ((ALICE, "alice.test"), (BOB, "bob.test")):
        worker = two.worker(owner)
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda worker=worker: not worker.alive)
        eventually(lambda name=name: sites.get(two, name).status == 200)
    test_a_key_is_in_its_owners_worker_and_nowhere_else(sites.world, sites, two)


def test_programs_hold_no_key(world: World, sites: Sites) -> None:
    script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; ls -l /proc/self/fd; sleep 3\n"
    runs = "<Directory @DIR@/alice>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
    server = world.server(sites.virtual_host("alice", ALICE, runs, {"a.cgi": script}))
    with sites.connect(server) as sock:
        sock.sendall(b"GET /a.cgi HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        program = eventually(lambda: [one for one in server.processes() if "a.cgi" in _arguments(one)])
        assert isinstance(program, list)
        assert not holding(program + server.processes("launcher"), forms(sites.identities["alice"].key))
        assert not any("/keys/" in name for one in program for name in one.descriptors().values())


def _arguments(process: Process) -> str:
    with suppress(OSError), open(f"/proc/{process.pid}/cmdline") as file:
        return file.read()
    return ""


def test_a_key_is_open_in_the_supervisor_and_before_its_first_client_in_its_owners_worker(
    world: World, sites: Sites
) -> None:
    """For each process the key files that it has open."""
    second = sites.virtual_host("second", ALICE)
    server = world.server(sites.virtual_host("alice", ALICE) + second + sites.virtual_host("bob", BOB))
    assert sites.get(server, "alice.test").status == 200
    assert sites.get(server, "bob.test").status == 200

    def open_keys(process: Process) -> set[str]:
        return {os.path.basename(name) for name in process.descriptors().values() if "/keys/" in name}

    for process in server.processes():
        match process.role, process.uid:
            case "supervisor", _:
                assert "alice.key" in open_keys(process)
            case "worker", uid if uid == ALICE:
                assert open_keys(process) == {"second.crt", "second.key"}, "read is closed, and second.test not asked"
            case _:
                assert not open_keys(process), process.title


def test_secrets_of_tickets_are_one_owners(sites: Sites, two: Server) -> None:
    """A ticket of alice's is not resumed at bob's, nor the other way round; and it is at her other workers."""
    context = sites.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    with sites.connect(two, "alice.test", context) as sock:
        session = sock.session
    with sites.connect(two, "alice.test", context, session=session) as sock:
        assert sock.session_reused
    with sites.connect(two, "bob.test", context, session=session) as sock:
        assert not sock.session_reused
    os.kill(two.worker(ALICE).pid, signal.SIGKILL)
    time.sleep(0.1)

    def resumed() -> bool:
        with suppress(OSError), sites.connect(two, "alice.test", context, session=session) as sock:
            return bool(sock.session_reused)
        return False

    eventually(resumed)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="an identity has as many workers as there are cores")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_workers_that_run_beside_each_other_resume_each_others_sessions(
    sites: Sites, two: Server, version: str
) -> None:
    with socket.socket(fileno=steal(two.worker(ALICE).pid, 3)) as channel:
        Channel(channel, ()).send(Busy())  # as a worker that has too much to do

    def hers() -> list[Process]:
        return [process for process in two.processes("worker") if process.alive and process.uid == ALICE]

    eventually(lambda: len(hers()) == 2)
    first, second = hers()
    context = sites.context(maximum_version=ssl.TLSVersion[version])

    def client(session: ssl.SSLSession | None = None) -> tuple[ssl.SSLSession, bool]:
        with sites.connect(two, "alice.test", context, session=session) as sock:
            assert ask(sock, "alice.test").status == 200
            assert sock.session is not None
            return sock.session, bool(sock.session_reused)

    with standing([second]):
        session, resumed = client()
        assert not resumed
    with standing([first]):
        session, resumed = client(session)
        assert resumed
    with standing([second]):
        assert client(session)[1]


def secret_of_tickets(process: Process, name: bytes) -> bytes | None:
    """What the key of this name is made of, from a process's memory: it looks at each object of 32 bytes."""
    bytes_object = re.compile(rb"(?=\x20\0{7}.{8}(.{32}))", re.DOTALL)  # CPython's: size, hash, content
    for region in process.memory():
        for found in bytes_object.finditer(region):
            secret = found[1]
            if hashlib.shake_256(secret + b"keys").digest(len(name)) == name:
                return secret
    return None


def test_a_secret_of_tickets_is_in_its_owners_worker_and_the_supervisor(two: Server) -> None:
    """The supervisor hands it to each worker that it starts. A ticket begins with the name of its key."""
    for owner, host in ((ALICE, "alice.test"), (BOB, "bob.test")):
        said = s_client(two, "-servername", host, "-tls1_2")
        line = re.search(r"TLS session ticket:\n *0000 - ((?:[0-9a-f]{2}[ -]){16})", said)
        assert line is not None, said
        name = bytes.fromhex(line[1].replace("-", " "))
        secret = secret_of_tickets(two.worker(owner), name)
        assert secret is not None, "the search itself does not work"
        keys = hashlib.shake_256(secret + b"keys").digest(80)
        knows = {process.title for process in two.processes() if process.uid == owner or process.role == "supervisor"}
        assert holding(two.processes(), [secret, keys, keys[16:48], keys[48:]]) <= knows


# Hostile workers


@contextmanager
def hostile(server: Server, uid: int) -> Iterator[socket.socket]:
    """The mailbox of an owner's only worker, which stands still meanwhile. It is ended afterwards."""
    worker = server.worker(uid)
    os.kill(worker.pid, signal.SIGSTOP)
    with ExitStack() as stack:
        stack.callback(os.kill, worker.pid, signal.SIGKILL)
        found = None
        for number, name in sorted(worker.descriptors().items()):
            if not name.startswith("socket:") or number <= 3:
                continue
            sock = stack.enter_context(socket.socket(fileno=steal(worker.pid, number)))
            if found is None and sock.type == socket.SOCK_SEQPACKET:
                found = sock  # the first in a slice
        assert found is not None
        yield found


def accepted(sites: Sites, server: Server, box: socket.socket, stack: ExitStack) -> tuple[socket.socket, bytes]:
    """A client's connection that a gate hands over to the hostile worker: its socket and ticket."""
    client = stack.enter_context(server.connect())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        sites.careless().wrap_bio(incoming, outgoing, server_hostname="alice.test").do_handshake()
    client.sendall(outgoing.read())
    box.setblocking(True)
    eventually(lambda: _waits(box))
    received = receive_handover(box)
    assert received is not None
    return stack.enter_context(socket.socket(fileno=received[1])), received[0].ticket


def _waits(box: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return bool(box.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return False


def facts(server: int = ALICES, **more: object) -> str:
    return TLSFacts("TLSv1.3", "x", 256, "alice.test", False, server=server, **more).to_text()  # type: ignore[arg-type]


REQUEST = b"GET / HTTP/1.1\r\nHost: bob.test\r\nConnection: close\r\n\r\n"


def answered(sock: socket.socket) -> bytes:
    """What comes until the end, or for a second."""
    sock.settimeout(1)
    data = b""
    with suppress(OSError):
        while part := sock.recv(65536):
            data += part
    return data


def relay(box: socket.socket, proof: socket.socket, ticket: bytes, origin: str, **more: object) -> bytes:
    """Relay a request for bob, and what comes back."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        whose = more.get("whose")
        assert whose is None or isinstance(whose, Assignment)
        send_return(box, [proof.fileno(), theirs.fileno()], Return(whose, 0, ticket, REQUEST, origin, relay=True))
        theirs.close()
        return answered(ours)


@pytest.mark.parametrize("whose", [None, Assignment(f"#{BOB}", f"#{BOB}")], ids=["by host", "by name"])
@pytest.mark.parametrize(
    "origin",
    [
        f"{BOBS}\0{facts(BOBS)}",  # as if it had bob's key
        f"{ALICES}\0{facts(BOBS)}",  # the gate knows better than the facts
        f"{ALICES}\0{facts(ALICES)}",
        f"{ALICES}\0" + facts(BOBS, certificate=b"x" * 100),
        f"0\0{facts(0)}",
        f"99\0{facts(99)}",
        f"-1\0{facts(BOBS)}",
        f"{BOBS}",
        "",
        "x\0y",
        "9" * 5_000 + f"\0{facts(BOBS)}",
        f"{ALICES}\0{facts(BOBS)}\0127.0.0.1",
        f"{ALICES}\0" + "x" * 50_000,
        f"{ALICES}\0" + json.dumps({**json.loads(facts(BOBS)), "server": [2]}),
        f"{ALICES}\0" + json.dumps({**json.loads(facts(BOBS)), "protocol": "\ud800"}),
        f"{ALICES}\0" + "[" * 10_000,
    ],
    ids=range(16),
)
def test_nobody_relays_into_anothers_virtual_host(
    sites: Sites, two: Server, origin: str, whose: Assignment | None
) -> None:
    with hostile(two, ALICE) as box, ExitStack() as stack:
        proof, ticket = accepted(sites, two, box, stack)
        answer = relay(box, proof, ticket, origin, whose=whose)
        assert b"bob\n" not in answer
        assert answer == b"" or answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 4", b"HTTP/1.1 500"))
        assert "200" not in two.log("bob.access").partition("\n")[2]
    assert sites.get(two, "bob.test").status == 200
    assert "bug" not in two.log()


def test_a_relay_needs_a_client_that_a_gate_accepted(sites: Sites, two: Server) -> None:
    """Neither a socket of its own, nor a ticket of another client's."""
    with hostile(two, ALICE) as box, ExitStack() as stack:
        _, ticket = accepted(sites, two, box, stack)
        made_up = stack.enter_context(two.connect())
        for proof in (ticket, b"\0" * 16, os.urandom(16)):
            assert relay(box, made_up, proof, f"{ALICES}\0{facts()}") == b""
        eventually(lambda: "no gate accepted" in two.log())


def test_an_encrypted_connection_is_not_returned_in_clear(sites: Sites, two: Server) -> None:
    """alice's worker cannot have bob's answer in clear to one of her clients."""
    with hostile(two, ALICE) as box, ExitStack() as stack:
        client, ticket = accepted(sites, two, box, stack)
        send_return(box, [client.fileno()], Return(None, 0, ticket, REQUEST))
        eventually(lambda: "no gate accepted" in two.log())
    assert two.log("bob.access").count("\n") == 1


@pytest.fixture
def several(world: World, sites: Sites) -> Server:
    """all.test is alice's, and bob's below /bob/: what is relayed can be had from its worker."""
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        world.site(name, uid)
    server = world.server(
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName all.test\nSSLEngine on\n{sites.certificate('all')}"
        f'DocumentRoot {world.folder}/alice\nAlias /bob/ {world.folder}/bob/\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        f'<Location /bob/>\nAssignUserID "#{BOB}" "#{BOB}"\n</Location>\n'
        f"<Directory {world.folder}>\nRequire all granted\n</Directory>\n"
        "LogFormat %h\nCustomLog @DIR@/all.access %h\n</VirtualHost>\n"
    )
    assert sites.get(server, "all.test", "/bob/").status == 200
    return server


def test_a_relayed_connection_that_comes_back_says_what_it_said(sites: Sites, several: Server) -> None:
    """bob's worker gives it back with another client's address, or somebody's certificate: the ticket covers both."""
    with hostile(several, BOB) as box, sites.connect(several, "all.test") as client:
        client.sendall(b"GET /bob/ HTTP/1.1\r\nHost: all.test\r\n\r\n")
        eventually(lambda: _waits(box))
        received = receive_handover(box)
        assert received is not None
        handover, descriptor = received
        assert handover.origin.startswith("127.0.0.1\0")
        with socket.socket(fileno=descriptor) as sock:
            data = b"GET / HTTP/1.1\r\nHost: all.test\r\nConnection: close\r\n\r\n"
            changed = [
                handover.origin.replace("127.0.0.1", "203.0.113.9", 1),
                handover.origin.replace('"certificate": ""', '"certificate": "00"'),
                "",
                handover.origin + " ",
            ]
            for origin in changed:
                assert origin != handover.origin
                send_return(box, [sock.fileno()], Return(None, 1, handover.ticket, data, origin))
            eventually(lambda: "no gate accepted" in several.log())
            time.sleep(0.2)
            assert "203.0.113.9" not in several.log("all.access")
            # Unchanged it goes where it belongs, and the client is answered.
            send_return(box, [sock.fileno()], Return(None, 1, handover.ticket, data, handover.origin))
        client.settimeout(10)
        assert client.recv(12) == b"HTTP/1.1 200"


def question(host: bytes = b"bob.test", local: bytes = b"127.0.0.1", port: bytes = b"443") -> bytes:
    return struct.pack("<cB16sbHH", b"Q", 0, bytes(16), 0, 0, 0) + b"\0".join((host, local, port))


def test_questions_in_masses_harm_nobody(sites: Sites, two: Server) -> None:
    gates = {process.pid for process in two.processes("gate")}
    with hostile(two, ALICE) as box:
        box.setblocking(False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            send_question(box, theirs.fileno(), Question("bob.test", "127.0.0.1", two.port))
            ours.settimeout(10)
            assert read_answer(ours.recv(16)) == BOBS, "what one may ask: anybody can find it out by asking bob.test"
            for number in range(20_000):
                with suppress(OSError):
                    local = b"10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255)
                    socket.send_fds(box, [question(local=local, port=b"%d" % (number % 65536))], [theirs.fileno()])
                if number % 4_000 == 0:
                    assert sites.get(two, "bob.test").status == 200
    assert {process.pid for process in two.processes("gate")} == gates


NONSENSE = [
    b"",
    b"\0",
    b"Q" * 40,
    question(local=b"x:y"),
    question(local=b"::1%%"),
    question(port=b"-5"),
    question(port=b"9" * 5_000),
    question(host=b"\xff"),
    question(host=b"x" * 100_000),
    struct.pack("<cB16sbHH", b"R", 255, bytes(16), -128, 0xFFFF, 0xFFFF),
    struct.pack("<cB16sbHH", b"T", 0, bytes(16), 0, 0, 0xFFFF) + b"1\0" + b"x" * 65_533,
    struct.pack("<cB16sbHH", b"T", 0, bytes(16), 0, 3, 4) + b"\xff\xff\xff1\0{}" + REQUEST,
    struct.pack("<cB16sbHH", b"R", 0, bytes(16), 0, 0, 0) + b"GET / HTTP/1.1\r\nHost: " + b"x" * 70_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("passed", ["socket", "two sockets", "listener", "datagram", "file", "pipe", "two files"])
def test_nonsense_ends_no_gate_and_leaves_nothing_open(sites: Sites, two: Server, passed: str) -> None:
    gates = {process.pid: len(process.descriptors()) for process in two.processes("gate")}
    with hostile(two, ALICE) as box, ExitStack() as stack:
        descriptors = _to_pass(passed, stack)
        box.settimeout(5)
        for data in NONSENSE * 3:
            with suppress(OSError):
                socket.send_fds(box, [data], descriptors)
        for _ in range(10):
            assert sites.get(two, "bob.test").status == 200

        def left() -> int:
            return max(len(one.descriptors()) - gates[one.pid] for one in two.processes("gate"))

        # What is no socket stays open, once: closing it could take for ever. Nobody listens to its sender any more.
        # Two may be mailboxes that this gate had not asked for yet.
        eventually(lambda: left() <= 4)
    assert {process.pid for process in two.processes("gate")} == set(gates)
    eventually(
        lambda: sites.get(two, "alice.test").status == 200, message="a new worker of hers is served by the gates"
    )


def _to_pass(what: str, stack: ExitStack) -> list[int]:
    match what:
        case "socket":
            return [stack.enter_context(one).fileno() for one in socket.socketpair()][:1]
        case "two sockets":
            return [stack.enter_context(one).fileno() for one in socket.socketpair()]
        case "listener":
            return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).fileno()]
        case "datagram":
            return [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).fileno()]
        case "pipe":
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            return [ends[0]]
        case _:
            files = [os.open("/dev/null", os.O_RDONLY) for _ in range(2 if what == "two files" else 1)]
            for file in files:
                stack.callback(os.close, file)
            return files


@contextmanager
def that_lingers() -> Iterator[socket.socket]:
    """A connection whose last close would wait for an hour: nobody takes what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname())
        mine, _ = listener.accept()
    with other:
        mine.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                mine.send(bytes(1 << 20))
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3_600))
        yield mine


def waiting_in(process: Process) -> str:
    """The system call that a process waits in; "running" for none."""
    with open(f"/proc/{process.pid}/syscall") as file:
        return file.read().split()[0]


def test_no_gate_waits_for_what_a_worker_made_of_a_socket(sites: Sites, two: Server) -> None:
    """SO_LINGER: the last one to close waits. The gates are, as they stand still until the sender has closed."""
    gates = two.processes("gate")
    idle = waiting_in(gates[0])  # epoll_wait, by whatever number this machine has for it
    eventually(lambda: {waiting_in(gate) for gate in gates} == {idle})
    for gate in gates:
        os.kill(gate.pid, signal.SIGSTOP)
    with hostile(two, ALICE) as box, ExitStack() as stack:
        for kind in (b"R", b"Q", b"X") * len(gates):
            sock = stack.enter_context(that_lingers())
            data = question() if kind == b"Q" else struct.pack("<cB16sbHH", kind, 0, bytes(16), 0, 0, 0)
            socket.send_fds(box, [data], [sock.fileno()])
            sock.close()
        for gate in gates:
            os.kill(gate.pid, signal.SIGCONT)
        eventually(lambda: "no gate accepted" in two.log())
        time.sleep(0.2)
        eventually(lambda: {waiting_in(gate) for gate in gates} == {idle})
        assert sites.get(two, "bob.test").status == 200


def test_nor_does_the_supervisor(sites: Sites, two: Server) -> None:
    """A worker's message with a socket beside it ends the worker, and nothing else."""
    supervisor, worker = two.processes("supervisor")[0], two.worker(ALICE)
    idle = waiting_in(supervisor)
    os.kill(supervisor.pid, signal.SIGSTOP)
    with socket.socket(fileno=steal(worker.pid, 3)) as channel, that_lingers() as sock:
        socket.send_fds(channel, [b"nonsense"], [sock.fileno()])
        sock.close()
        os.kill(supervisor.pid, signal.SIGCONT)
        eventually(lambda: not worker.alive)
        time.sleep(0.2)
        eventually(lambda: waiting_in(supervisor) == idle)
    assert sites.get(two, "alice.test").status == 200


def test_no_neighbour_waits_for_what_a_worker_made_of_a_clients_socket(world: World) -> None:
    """Without TLS such a socket moves: to bob's worker, which closes it once its client has not read for a while."""
    server = world.server("Timeout 3\n" + world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    assert server.get("alice.test").status == 200
    assert server.get("bob.test").status == 200
    with hostile(server, ALICE) as box, server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        eventually(lambda: _waits(box))
        received = receive_handover(box)
        assert received is not None
        with socket.socket(fileno=received[1]) as sock:
            sock.setblocking(False)
            sock.recv(65536)  # with bytes unread, the kernel resets the connection and waits for nothing
            with suppress(BlockingIOError):
                while True:
                    sock.send(bytes(1 << 20))
            send_return(box, [sock.fileno()], Return(None, 0, received[0].ticket, REQUEST))
            bob = server.worker(BOB)
            eventually(lambda: "(1 connection)" in bob.title)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3_600))
        eventually(lambda: "(0 connections)" in bob.title)
        assert server.get("bob.test").status == 200
