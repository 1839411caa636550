"""Names that take long to look up hold up those who ask for them, and nobody else (S15).

The slow database is a real one: a library of nsswitch.conf(5)'s, compiled here, in a mount namespace of the server's.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from harness import ALICE, BOB, Process, Server, World, answer, standing, steal
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, NotRelayed, Relay
from waiting import eventually

GAMES, NEWS = pwd.getpwnam("games").pw_uid, pwd.getpwnam("news").pw_uid
RESOLVER = 65_533  # whom resolvers run as where there is no account for them
BY_NAME = "AssignUserIDExpr %{HTTP:X-User}\n"

SLOW = r"""
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *pw, char *buffer, size_t size, int *error)
{
    if (strncmp(name, "slow", 4) == 0)
        for (;;)
            pause();
    if (strcmp(name, "asroot") == 0) {
        static char text[] = "asroot\0x\0/\0/bin/false";
        pw->pw_name = text; pw->pw_passwd = text + 7; pw->pw_gecos = text + 7;
        pw->pw_uid = 0; pw->pw_gid = 60; pw->pw_dir = text + 9; pw->pw_shell = text + 11;
        return NSS_STATUS_SUCCESS;
    }
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}
"""


def host(world: World, name: str, uid: int) -> str:
    """A virtual host whose requests say whom they are served as; games and news may read what is there."""
    text = world.virtual_host(name, uid, BY_NAME, {"index.html": "here\n"})
    root = world.folder / name
    root.chmod(0o755)
    (root / "index.html").chmod(0o644)
    return text


def ask(server: Server, name: str, user: str) -> int:
    return server.get(f"{name}.test", "/", X_User=user).status


def resolvers(server: Server) -> list[Process]:
    return [process for process in server.processes("resolver") if process.alive]


@pytest.fixture
def two(world: World) -> Server:
    return world.server(host(world, "alice", ALICE) + host(world, "bob", BOB))


def test_a_resolver_is_nobodys_and_is_there_only_while_somebody_asks(two: Server) -> None:
    assert resolvers(two) == []
    assert ask(two, "alice", "games") == 200
    (resolver,) = resolvers(two)
    status = resolver.status
    assert resolver.uid == RESOLVER
    assert resolver.title == "ownhost: resolver"
    assert status["Groups"] == ""
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert set(resolver.descriptors()) == {0, 1, 2, 3}
    assert not any("log" in what for what in resolver.descriptors().values())
    assert ask(two, "bob", "news") == 200
    assert len(resolvers(two)) == 2
    for worker in two.processes("worker"):
        os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: not resolvers(two))
    assert ask(two, "alice", "games") == 200, "and again"


def test_one_owners_resolver_that_hangs_is_his_alone_and_replaced(two: Server) -> None:
    assert ask(two, "alice", "games") == 200
    (hers,) = resolvers(two)
    with standing([hers]):
        waiting = threading.Thread(target=lambda: answers.append(ask(two, "alice", "news")), daemon=True)
        answers: list[int] = []
        waiting.start()
        assert ask(two, "bob", "games") == 200
        assert ask(two, "bob", "news") == 200
        assert answers == [], "hers waits meanwhile"
        waiting.join()
        assert answers == [500]
    eventually(lambda: "did not answer in time" in two.log())
    os.kill(hers.pid, signal.SIGKILL)
    eventually(lambda: ask(two, "alice", "news") == 200)
    assert [one.pid for one in resolvers(two)] != [hers.pid]


def test_resolvers_that_are_killed_over_and_over_cost_their_owner_no_more_than_moments(two: Server) -> None:
    for _ in range(4):
        eventually(lambda: ask(two, "alice", "games") == 200)
        for resolver in resolvers(two):
            with suppress(ProcessLookupError):
                os.kill(resolver.pid, signal.SIGKILL)
    assert ask(two, "bob", "games") == 200


@pytest.fixture
def slow(world: World) -> Server:
    """The same, where users whose names begin with "slow" are looked up for ever, and asroot is uid 0."""
    source, library = world.folder / "slow.c", world.folder / "slow.so"
    source.write_text(SLOW)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    library.chmod(0o755)
    switch = world.folder / "nsswitch.conf"
    switch.write_text("passwd: files hesiod\ngroup: files\nhosts: files\n")
    place = next(iter(Path("/lib").glob("*-linux-gnu/libnss_hesiod.so.2")))
    hosts = host(world, "alice", ALICE) + host(world, "bob", BOB)
    server = world.server(f"LimitUIDRange 0 65000\n{hosts}", start=False)
    starter = world.folder / "starter"
    starter.write_text(
        f"#!/bin/sh\nmount --bind {switch} /etc/nsswitch.conf && mount --bind {library} {place} &&\n"
        f'exec {sys.executable} "$@"\n'
    )
    starter.chmod(0o755)
    outer = world.folder / "outer"
    outer.write_text(f'#!/bin/sh\nexec unshare -m {starter} "$@"\n')
    outer.chmod(0o755)
    return server.start(python=str(outer))


def test_a_database_that_does_not_answer_holds_up_who_asks_and_is_given_up(slow: Server) -> None:
    """A taken-over worker of alice's has as many names looked up as it can ask for."""
    assert slow.get("alice.test").status == 500, "it names nobody; alice has a worker now"
    assert ask(slow, "bob", "games") == 200
    worker = slow.worker(ALICE)
    with standing([worker]), socket.socket(fileno=steal(worker.pid, 3)) as taken:
        channel = Channel(taken, FROM_SUPERVISOR["worker"])
        channel.sock.settimeout(20)
        for number in range(32):
            channel.send(Relay(number, 1, f"slow{number}", f"#{ALICE}", 0))
        eventually(lambda: len(resolvers(slow)) == 2)
        with slow.connect() as client:
            for user in ("news", "games", "news"):
                client.sendall(f"GET / HTTP/1.1\r\nHost: bob.test\r\nX-User: {user}\r\n\r\n".encode())
                assert answer(client).status == 200
        channel.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            channel.receive()
        channel.sock.setblocking(True)
        channel.sock.settimeout(20)
        for _ in range(32):
            received = channel.receive()
            assert received is not None
            assert isinstance(received[0], NotRelayed)
            assert "did not answer in time" in received[0].reason
    eventually(lambda: re.search(r"resolver \(pid \d+\) has stood still for \d+ s: it is ended", slow.log()))
    eventually(lambda: ask(slow, "alice", "games") == 200, 20)


def test_a_database_that_makes_somebody_root_makes_nobody_root(slow: Server) -> None:
    assert ask(slow, "alice", "asroot") == 500
    eventually(lambda: "asroot (uid 0) is root's" in slow.log())
    assert not [worker for worker in slow.processes("worker") if worker.uid == 0]
