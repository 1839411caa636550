"""How CGI programs end: with their answer, with their client, by a limit, in a stop; and what is left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgi_scripts import SHELL, children_of, content, serve
from harness import ALICE, Process, World
from waiting import eventually

LINGERS = """#!/bin/sh
sleep 1000 &
echo $! >child
%s
echo $$ >pid
wait
"""


def pids(world: World) -> list[int]:
    folder = world.folder / "alice" / "cgi-bin"
    eventually((folder / "pid").exists)
    return [int(eventually((folder / name).read_text)) for name in ("child", "pid")]


def are_gone(found: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in found)


@pytest.mark.parametrize("before", ["", r"printf 'Content-Type: text/plain\n\nsome'"])
def test_a_program_ends_with_its_children_when_the_client_leaves(world: World, before: str) -> None:
    server = serve(world, linger=LINGERS % before)
    sock = server.connect()
    sock.sendall(b"GET /cgi-bin/linger HTTP/1.1\r\nHost: alice.test\r\n\r\n")
    found = pids(world)
    if before:
        received = b""
        while b"some" not in received:
            received += sock.recv(1000)
    sock.close()
    eventually(lambda: are_gone(found), message="the program goes on for nobody")


@pytest.mark.parametrize("before", ["", r"printf 'Content-Type: text/plain\n\nsome'"])
def test_a_program_that_is_silent_for_too_long(world: World, before: str) -> None:
    server = serve(world, "Timeout 1\n", linger=LINGERS % before)
    answer = server.raw(b"GET /cgi-bin/linger HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
    if before:
        assert answer.endswith(b"some\r\n"), "cut off, and not as if it were whole"
    else:
        assert answer.startswith(b"HTTP/1.1 504 ")
    eventually(lambda: are_gone(pids(world)), message="the program goes on for nobody")


LEAVES = """#!/bin/sh
sleep 1000 2>/dev/null &
echo $! >child
sleep 1000 >/dev/null 2>&1 &
echo $! >other
echo $$ >pid
printf 'Content-Type: text/plain\\n\\nsome'
"""


def test_what_holds_the_output_of_an_ended_program_ends_when_the_client_leaves(world: World) -> None:
    server = serve(world, leaves=LEAVES)
    with server.connect() as sock:
        sock.sendall(b"GET /cgi-bin/leaves HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        child, program = pids(world)
        eventually(lambda: Process(program).title == "", message="the program itself has ended")
        received = b""
        while b"some" not in received:
            received += sock.recv(1000)
        assert Process(child).alive
    eventually(lambda: are_gone([child, program]), message="the output is held for nobody")


def test_what_holds_the_output_of_an_ended_program_ends_after_timeout(world: World) -> None:
    server = serve(world, "Timeout 1\n", leaves=LEAVES)
    answer = server.raw(b"GET /cgi-bin/leaves HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"some\r\n"), "cut off, and not as if it were whole"
    eventually(lambda: are_gone(pids(world)), message="the output is held for nobody")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_holds_no_output_goes_on(world: World, method: str) -> None:
    script = LEAVES.replace("sleep 1000 2>/dev/null &", "sleep 0 &")
    server = serve(world, leaves=script)
    assert server.get("alice.test", "/cgi-bin/leaves", method).status == 200
    eventually(lambda: are_gone(pids(world)), message="the program is not collected")
    other = int((world.folder / "alice/cgi-bin/other").read_text())
    eventually(lambda: "(0 programs)" in server.processes("launcher")[0].title)
    assert Process(other).alive
    server.stop()
    assert are_gone([other])


def test_nothing_is_left_of_programs(world: World) -> None:
    server = serve(
        world, sh=SHELL, bad="#!/bin/sh\nexit 1\n", much="#!/bin/sh\nprintf '\n'\nhead -c 9000000 /dev/zero\n"
    )
    assert server.get("alice.test", "/cgi-bin/sh").status == 200
    launcher, worker = server.processes("launcher")[0], server.worker(ALICE)
    eventually(lambda: not children_of(server), message="a program is left")
    before = [len(process.descriptors()) for process in (launcher, worker)]
    for _ in range(5):
        assert server.get("alice.test", "/cgi-bin/sh").status == 200
        assert server.get("alice.test", "/cgi-bin/bad").status == 500
        assert server.get("alice.test", "/cgi-bin/much", "HEAD").status == 200
        with server.connect() as sock:
            sock.sendall(b"GET /cgi-bin/much HTTP/1.1\r\nHost: alice.test\r\n\r\n")
            sock.recv(1000)
    eventually(lambda: not children_of(server), message="a program is left")
    eventually(
        lambda: all(
            len(process.descriptors()) <= count for process, count in zip((launcher, worker), before, strict=True)
        ),
        message="a descriptor is left",
    )


def test_limits(world: World) -> None:
    limits = "#!/bin/bash\nprintf '\n'; ulimit -Ht; ulimit -Hv; ulimit -Su; ulimit -Hu\n"
    extra = "RLimitCPU 7 9\nRLimitMEM 300000000\nRLimitNPROC 50 60\n"
    server = serve(world, extra, limits=limits, loop="#!/bin/sh\nwhile :; do :; done\n")
    assert content(server.get("alice.test", "/cgi-bin/limits")).split() == [b"9", b"292968", b"50", b"60"]


def test_a_program_gets_no_more_memory_than_it_may_have(world: World) -> None:
    takes = "#!/usr/bin/perl\nprint qq(\n); print length('x' x 200_000_000);"
    server = serve(world, "RLimitMEM 100000000\n", takes=takes, little=takes.replace("200_000_000", "20_000_000"))
    assert content(server.get("alice.test", "/cgi-bin/little")) == b"20000000"
    assert b"200000000" not in server.get("alice.test", "/cgi-bin/takes").read()
    eventually(lambda: "Out of memory" in server.log("error.log"))


def test_a_program_that_uses_up_its_time_is_ended(world: World) -> None:
    server = serve(world, "RLimitCPU 1\n", loop="#!/bin/sh\nwhile :; do :; done\n")
    assert server.get("alice.test", "/cgi-bin/loop").status == 500


def test_a_program_has_only_its_three_descriptors(world: World) -> None:
    server = serve(world, fds="#!/bin/sh\nprintf '\n'; ls /proc/$$/fd\n")
    assert set(content(server.get("alice.test", "/cgi-bin/fds")).split()) <= {b"0", b"1", b"2", b"10", b"255"}
