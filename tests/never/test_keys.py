"""Whose memory keys are in."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import socket
import ssl
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certificates import PrivateKey
from encrypted import Sites, ask, s_client
from harness import ALICE, BOB, Process, Server, World, standing, steal
from ownhost.processes.messages import Busy, Channel
from waiting import eventually

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
        eventually(lambda: not worker.alive)  # noqa: B023
        eventually(lambda: sites.get(two, name).status == 200)  # noqa: B023
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
