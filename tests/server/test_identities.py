"""Identities per folder and per request: expressions, rewriting, and connections that move between users.

The users are Debian's own games and news, which have accounts and no rights.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World, answer, standing
from waiting import eventually

GAMES, NEWS = pwd.getpwnam("games").pw_uid, pwd.getpwnam("news").pw_uid
UIDS = {"games": GAMES, "news": NEWS}
EXAMPLE = "RewriteEngine on\nRewriteRule /~([a-z]+)/ - [E=ITKUID:$1]\nAssignUserIDExpr %{reqenv:ITKUID}\n"


@dataclass
class Shared:
    """shared.test: each user's folder is served as that user, everything else as alice."""

    server: Server
    root: Path

    def line(self, name: str) -> str:
        """The log line that has a text."""
        eventually(lambda: name in self.server.log(), message=f"no line with {name!r}")
        return next(line for line in self.server.log().splitlines() if name in line)


def make(world: World, extra: str, more: str = "") -> Shared:
    """A tree with a 0700 folder per user: only a process of that user can read what is in it."""
    host = world.virtual_host("shared", ALICE, extra, {"index.html": "alice\n", "~games/x": "", "~news/x": ""})
    root = world.folder / "shared"
    root.chmod(0o711)
    for name, uid in UIDS.items():
        folder = root / f"~{name}"
        (folder / "x").write_text(f"{name}\n")
        (folder / "big").write_bytes(name.encode() * 40_000)
        for path in (folder, *folder.iterdir()):
            os.chown(path, uid, uid)
            path.chmod(0o700)
    return Shared(world.server(host + more), root)


@pytest.fixture
def shared(world: World) -> Shared:
    """mpm-itk's own example, as written."""
    return make(world, EXAMPLE, world.virtual_host("bob", BOB))


def test_the_example_works_as_written(shared: Shared) -> None:
    for name in ("games", "news"):
        response = shared.server.get("shared.test", f"/~{name}/x")
        assert (response.status, response.content) == (200, f"{name}\n".encode())
    workers = {(worker.uid, worker.status["Gid"].split()[0]) for worker in shared.server.processes("worker")}
    # AssignUserIDExpr gives the uid; the gid stays AssignUserID's.
    assert {(GAMES, str(ALICE)), (NEWS, str(ALICE))} <= workers


def test_an_unknown_user_is_500_and_named_in_the_log(shared: Shared) -> None:
    for _ in range(2):
        assert shared.server.get("shared.test", "/~nosuchuser/x").status == 500
    line = shared.line("nosuchuser")
    assert "[mpm_itk:error]" in line
    assert "no user named 'nosuchuser'" in line


def test_root_is_refused_by_the_default_range(shared: Shared) -> None:
    assert shared.server.get("shared.test", "/~root/x").status == 500
    assert "LimitUIDRange" in shared.line("root (uid 0)")


def test_an_expression_that_gives_no_name_is_500_and_quoted_in_the_log(shared: Shared) -> None:
    assert shared.server.get("shared.test", "/index.html").status == 500
    assert "AssignUserIDExpr" in shared.line("''")


def test_a_user_that_comes_to_be_is_served_without_a_restart(world: World) -> None:
    """What is remembered of accounts is remembered briefly."""
    made = make(world, "AssignUserIDExpr %{HTTP:X-User}\n")
    assert made.server.get("shared.test", "/~games/x", X_User="ohnewuser").status == 500
    passwd = Path("/etc/passwd")
    before = passwd.read_bytes()
    passwd.write_bytes(before + f"ohnewuser:x:{GAMES}:60::/:/bin/false\n".encode())
    try:
        eventually(lambda: made.server.get("shared.test", "/~games/x", X_User="ohnewuser").status == 200)
    finally:
        passwd.write_bytes(before)


def test_ten_thousand_requests_alternating_between_users_on_one_connection(world: World) -> None:
    shared = make(world, EXAMPLE + "MaxKeepAliveRequests 0\n")
    turns = 10_000
    heads = [f"GET /~{name}/x HTTP/1.1\r\nHost: shared.test\r\n\r\n".encode() for name in ("games", "news")]
    received = b""
    with shared.server.connect(30) as sock:
        for _ in range(turns // 2):
            sock.sendall(heads[0])
            received += sock.recv(65536)
            sock.sendall(heads[1])
            received += sock.recv(65536)
        sock.sendall(b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\nConnection: close\r\n\r\n")
        while data := sock.recv(65536):
            received += data
    bodies = re.findall(rb"HTTP/1.1 (\d+) .*?\r\n\r\n(\w*)\n", received, re.DOTALL)
    assert bodies == [(b"200", b"games"), (b"200", b"news")] * (turns // 2) + [(b"200", b"games")]


def test_pipelined_requests_are_answered_in_order_whoever_they_belong_to(shared: Shared) -> None:
    names = ["games", "news", "news", "games", "games", "news"] * 16
    asked = [f"GET /~{name}/x HTTP/1.1\r\nHost: shared.test\r\n\r\n" for name in names]
    asked[-1] = asked[-1].replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    answer = shared.server.raw("".join(asked).encode())
    bodies = [part.rpartition(b"\r\n\r\n")[2].decode().strip() for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert bodies == names


BODY = 3_000_000  # bytes: larger than any buffer on the way


def chunked(size: int) -> bytes:
    chunk = b"10000\r\n" + b"y" * 65_536 + b"\r\n"
    return chunk * (size // 65_536) + b"0\r\n\r\n"


@pytest.mark.parametrize("form", ["length", "chunked"])
@pytest.mark.parametrize("slowly", [False, True])
def test_bodies_survive_a_move(shared: Shared, form: str, slowly: bool) -> None:
    """A body that arrives while its request moves from games' worker to news', and the request behind it."""
    body = b"x" * BODY if form == "length" else chunked(BODY)
    framing = f"Content-Length: {BODY}" if form == "length" else "Transfer-Encoding: chunked"
    first = b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\n\r\n"
    second = f"POST /~news/x HTTP/1.1\r\nHost: shared.test\r\n{framing}\r\n\r\n".encode()
    third = b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\nConnection: close\r\n\r\n"
    with shared.server.connect(30) as sock:
        sock.sendall(first)
        if slowly:
            assert b"games" in sock.recv(65536)

        def send() -> None:
            sock.sendall(second + body + third)

        sending = threading.Thread(target=send)
        sending.start()
        received = b""
        while data := sock.recv(65536):
            received += data
        sending.join()
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [*([] if slowly else [b"games\n"]), b"news\n", b"games\n"]


def test_expect_100_continue_survives_a_move(shared: Shared) -> None:
    with shared.server.connect() as sock:
        sock.sendall(b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\n\r\n")
        assert b"games" in sock.recv(65536)
        sock.sendall(
            b"POST /~news/x HTTP/1.1\r\nHost: shared.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = sock.recv(65536)
        if answer.startswith(b"HTTP/1.1 100"):
            sock.sendall(b"12345")
            answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"news" in answer


def test_many_connections_of_many_users_at_once(shared: Shared) -> None:
    wrong: list[object] = []

    def client(number: int) -> None:
        for turn in range(60):
            name = ("games", "news")[(number + turn) % 2]
            response = shared.server.get("shared.test", f"/~{name}/big")
            if (response.status, response.content) != (200, name.encode() * 40_000):
                wrong.append((number, turn, response.status))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_first_request_after_a_workers_death_is_answered(shared: Shared) -> None:
    assert shared.server.get("shared.test", "/~games/x").status == 200
    os.kill(shared.server.worker(GAMES).pid, signal.SIGKILL)
    assert shared.server.get("shared.test", "/~games/x").content == b"games\n"


def test_a_group_by_expression(world: World) -> None:
    """AssignGroupIDExpr gives the gid, and only that."""
    shared = make(world, EXAMPLE + "AssignGroupIDExpr %{reqenv:ITKUID}\n")
    assert shared.server.get("shared.test", "/~news/x").status == 200
    status = shared.server.worker(NEWS).status
    assert status["Gid"].split() == [str(pwd.getpwnam("news").pw_gid)] * 4
    assert shared.server.get("shared.test", "/~nosuchgroup/x").status == 500


def test_the_own_group_stays_where_only_the_user_is_computed(world: World) -> None:
    shared = make(world, EXAMPLE.replace("~([a-z]+)", "~([a-z]+)"))
    assert shared.server.get("shared.test", "/~news/x").status == 200
    assert shared.server.worker(NEWS).status["Gid"].split()[0] == str(ALICE)


def test_a_variable_of_setenvif_names_the_user(world: World) -> None:
    shared = make(world, 'SetEnvIf Host "^shared" WHO=news\nAssignUserIDExpr %{reqenv:WHO}\n')
    assert shared.server.get("shared.test", "/~news/x").content == b"news\n"
    assert shared.server.get("shared.test", "/~games/x").status == 403


def test_a_named_group_of_a_section_names_the_user(world: World) -> None:
    extra = '<DirectoryMatch "/~(?<who>[a-z]+)">\nAssignUserIDExpr %{reqenv:MATCH_WHO}\n</DirectoryMatch>\n'
    shared = make(world, extra)
    for name in UIDS:
        assert shared.server.get("shared.test", f"/~{name}/x").content == f"{name}\n".encode()
    assert shared.server.get("shared.test", "/").content == b"alice\n"


def test_a_condition_chooses(world: World) -> None:
    extra = '<If "%{HTTP_COOKIE} =~ /user=news/">\nAssignUserID news news\n</If>\n'
    shared = make(world, extra)
    assert shared.server.get("shared.test", "/").content == b"alice\n"
    assert shared.server.get("shared.test", "/~news/x", Cookie="user=news").content == b"news\n"


def test_what_takes_a_look_at_a_file_is_decided_by_the_own_worker(world: World) -> None:
    """It is the one that may look into the tree."""
    extra = (
        "RewriteEngine on\nRewriteCond %{DOCUMENT_ROOT}/whose-%{HTTP:X-Site} -f\n"
        "RewriteRule ^ - [E=WHO:news]\nAssignUserIDExpr %{reqenv:WHO}\n"
    )
    shared = make(world, extra)
    marker = shared.root / "whose-a"
    marker.write_text("")
    os.chown(marker, ALICE, ALICE)
    shared.root.chmod(0o755)
    for _ in range(3):
        assert shared.server.get("shared.test", "/~news/x", X_Site="a").content == b"news\n"
    assert shared.server.get("shared.test", "/~news/x", X_Site="b").status == 500


def test_what_the_file_system_says_moves_a_request(world: World) -> None:
    """By its name the request is for a file of alice's; what is there is a file of news', with something behind it."""
    extra = "<Files x>\nAssignUserID news news\n</Files>\nAcceptPathInfo On\n"
    shared = make(world, extra)
    os.chown(shared.root / "~news", ALICE, NEWS)
    (shared.root / "~news").chmod(0o710)
    assert shared.server.get("shared.test", "/~news/x/behind").content == b"news\n"


def test_a_request_that_belongs_nowhere_moves_a_bounded_number_of_times(world: World) -> None:
    """games' worker does not see what alice's sees: each passes the request to the other."""
    extra = (
        "RewriteEngine on\nRewriteRule ^ - [E=WHO:games]\n"
        "RewriteCond %{DOCUMENT_ROOT}/secret/x -f\nRewriteRule ^ - [E=WHO:news]\n"
        "RewriteCond %{DOCUMENT_ROOT}/~news/x -f\nRewriteRule ^ - [E=WHO:games]\nAssignUserIDExpr %{reqenv:WHO}\n"
    )
    shared = make(world, extra)
    assert shared.server.get("shared.test", "/~games/x").status in (200, 403, 500)
    assert shared.server.get("bob.test").status in (200, 403, 500)


def test_a_pattern_that_takes_long_holds_up_nobody(world: World) -> None:
    """Somebody's rule with a catastrophic pattern: no gate ever runs it, and it is given up."""
    extra = 'RewriteEngine on\nRewriteRule "^/(a+)+$" - [E=WHO:news]\nAssignUserIDExpr "%{reqenv:WHO}"\n'
    shared = make(world, extra, world.virtual_host("bob", BOB))
    bad = f"GET /{'a' * 60}! HTTP/1.1\r\nHost: shared.test\r\n\r\n".encode()
    stuck = []
    for _ in range(4):
        sock = shared.server.connect()
        sock.sendall(bad)
        stuck.append(sock)
    for _ in range(20):
        assert shared.server.get("bob.test").content == b"bob\n"
    for sock in stuck:
        assert sock.recv(12) == b"HTTP/1.1 500"
        sock.close()
    assert "'^/(a+)+$'" in shared.line("was given up")


def test_no_users_worker_has_a_clients_socket(shared: Shared) -> None:
    """All connections stay with the virtual host's own identity; the users' workers have ends of pairs."""
    with shared.server.connect() as sock:
        for name in ("games", "news", "games"):
            sock.sendall(f"GET /~{name}/x HTTP/1.1\r\nHost: shared.test\r\n\r\n".encode())
            assert answer(sock).content == f"{name}\n".encode()
        ours = sock.getsockname()[1]
        ports = f":{shared.server.port:04X}", f":{ours:04X}"  # others may have the client's alone
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        (inode,) = [f"socket:[{one[9]}]" for one in sockets if (one[1][-5:], one[2][-5:]) == ports]
        holders = {process.uid for process in shared.server.processes() if inode in process.descriptors().values()}
    assert holders == {ALICE}


def test_a_user_who_stands_still_costs_his_own_requests(shared: Shared) -> None:
    """games' worker is stopped: its requests wait for a while and are told so, all others on the connection go on."""
    server = shared.server
    assert server.get("shared.test", "/~games/x").status == 200
    assert server.get("shared.test", "/~news/x").status == 200
    games = server.worker(GAMES)
    with standing([games]), server.connect(30) as sock:
        for _ in range(20):
            assert server.get("shared.test", "/~news/x").content == b"news\n"
        sock.sendall(b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\n\r\n")
        assert answer(sock).status == 503
    assert server.get("shared.test", "/~games/x").content == b"games\n"


def test_a_pair_whose_other_end_has_died_is_replaced(shared: Shared) -> None:
    """Nothing of the request was taken: it is asked again, and the client notices nothing."""
    server = shared.server
    with server.connect(30) as sock:
        sock.sendall(b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\n\r\n")
        assert answer(sock).status == 200
        os.kill(server.worker(GAMES).pid, signal.SIGKILL)
        sock.sendall(b"GET /~games/x HTTP/1.1\r\nHost: shared.test\r\n\r\n")
        assert answer(sock).content == b"games\n"


@pytest.mark.parametrize("role", ["gate", "worker", "logger"])
def test_nobody_near_the_network_can_become_anyone(shared: Shared, role: str) -> None:
    for name in UIDS:
        assert shared.server.get("shared.test", f"/~{name}/x").status == 200
    for process in shared.server.processes(role):
        status = process.status
        assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()


def test_a_computed_identity_knows_its_own_virtual_host_alone(world: World) -> None:
    """news may serve shared.test; of bob's settings and of news' own site's it is told nothing there."""
    secret = "SetEnv PASSWORD {0}-secret-5a5a\n"
    own = world.virtual_host("own", NEWS, secret.format("own")).replace(f'"#{NEWS}" "#{NEWS}"', "news news")
    shared = make(world, EXAMPLE + secret.format("shared"), world.virtual_host("bob", BOB, secret.format("bob")) + own)
    for host, path in (("shared.test", "/~news/x"), ("bob.test", "/"), ("own.test", "/")):
        assert shared.server.get(host, path).status == 200
    workers = [worker for worker in shared.server.processes("worker") if worker.uid == NEWS]
    assert len(workers) == 2
    held = [
        {name for name in ("own", "shared", "bob") if worker.holds(f"{name}-secret-5a5a".encode())}
        for worker in workers
    ]
    assert sorted(map(sorted, held)) == [["own"], ["shared"]]
    for process in shared.server.processes("gate"):
        assert not process.holds(b"-secret-5a5a")


PROGRAM = """#!/bin/sh
while read question; do
    case $question in
        uid) id -u ;;
        news|games) echo $question ;;
        *) echo NULL ;;
    esac
done
"""


def test_a_program_of_the_configuration_names_the_user_and_runs_as_the_owner(world: World) -> None:
    """RewriteMap prg: gates have no programs, so the virtual host's own worker asks, and passes the request on."""
    script = world.folder / "who"
    script.write_text(PROGRAM)
    script.chmod(0o755)
    extra = (
        f"RewriteEngine on\nRewriteMap who prg:{script}\n"
        "RewriteRule ^/uid$ http://elsewhere.test/${who:uid} [R,L]\n"
        "RewriteRule /~([a-z]+)/ - [E=WHO:${who:$1}]\nAssignUserIDExpr %{reqenv:WHO}\n"
    )
    shared = make(world, extra)
    for name in (*UIDS, *UIDS):
        assert shared.server.get("shared.test", f"/~{name}/x").content == f"{name}\n".encode()
    assert shared.server.get("shared.test", "/~nobody/x").status == 500
    assert shared.server.get("shared.test", "/uid").getheader("Location") == f"http://elsewhere.test/{ALICE}"
    programs = [
        process for process in shared.server.processes() if "/who" in process.title or process.title == "/bin/sh"
    ]
    assert programs
    assert all("0" not in process.status["Uid"].split() for process in programs)


def test_a_program_that_ends_is_an_empty_answer_and_a_line_in_the_log(world: World) -> None:
    script = world.folder / "who"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    extra = f"RewriteEngine on\nRewriteMap who prg:{script}\nRewriteRule ^/(.*) - [E=WHO:${{who:$1}}]\n"
    shared = make(world, extra + "Header set X-Who %{WHO}e\n")
    assert shared.server.get("shared.test", "/").status == 200
    assert "is given up" in shared.line("the program")


@pytest.mark.parametrize(("enabled", "count"), [("On", 2), ("Off", 30)])
def test_capabilities_of_the_supervisor(world: World, enabled: str, count: int) -> None:
    """Off is root as file systems know it that have never heard of capabilities. Nobody else has more for it."""
    server = world.server(f"EnableCapabilities {enabled}\n" + world.virtual_host("alice", ALICE))
    assert server.get("alice.test").status == 200
    bits = int(server.processes("supervisor")[0].status["CapEff"], 16).bit_count()
    assert bits == count if enabled == "On" else bits >= count
    for process in server.processes("worker") + server.processes("gate"):
        assert int(process.status["CapEff"], 16) == 0
