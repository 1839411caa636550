"""Logs of the real server: who writes which, what stands in them, and that no line is lost or torn."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

BIG = 30_000_000  # bytes: more than the kernel's socket buffers take
FORMAT = 'LogFormat "%v %s %{id}i %r" who\n'
SIZES = 'LogFormat "%{id}i %I %O %B %b %k %X %>s" sizes\n'


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """alice.test has logs of its own; bob.test has none."""
    world = World()
    try:
        alice = (
            "CustomLog @DIR@/alice.log who\nTransferLog @DIR@/alice.transfer\nCustomLog @DIR@/alice.sizes sizes\n"
            "CustomLog @DIR@/only.log who env=ONLY\nCustomLog @DIR@/not.log who env=!ONLY\nErrorLog @DIR@/alice.error\n"
            "<Location /only>\nSetEnv ONLY 1\n</Location>\nErrorDocument 404 /only.html\n"
            'ErrorLogFormat "[%m:%l] %{Referer}i %v: %M"\n'
        )
        files: dict[str, str | bytes] = {"index.html": "alice\n", "only": "only\n", "only.html": "no\n"}
        yield world.server(
            FORMAT
            + SIZES
            + 'LogFormat "transfer %r"\nCustomLog @DIR@/main.log who\nGlobalLog @DIR@/global.log who\n'
            + "RequestReadTimeout header=1\nKeepAliveTimeout 1\n"
            + world.virtual_host("alice", ALICE, alice, files | {"big": b"\0" * BIG})
            + world.virtual_host("bob", BOB)
        )
    finally:
        world.close()


_ids = iter(range(10_000))


def new_id() -> str:
    """A name for one request, by which it is found again."""
    return f"id-{next(_ids)}-"


def line_with(server: Server, name: str, text: str) -> str:
    """The one line of a log that has a text in it; waits until it is there."""
    eventually(lambda: text in server.log(name), message=f"{name} has nothing about {text}")
    found = [line for line in server.log(name).splitlines() if text in line]
    assert len(found) == 1, found
    return found[0]


def ask(server: Server, host: str, path: str = "/", **headers: str) -> str:
    """A request; its id."""
    name = new_id()
    server.get(host, path, id=name, **headers)
    return name


# Which requests go where


def test_a_virtual_host_with_logs_writes_to_those_and_to_the_global_one(shared: Server) -> None:
    name = ask(shared, "alice.test")
    assert line_with(shared, "alice.log", name) == f"alice.test 200 {name} GET / HTTP/1.1"
    line_with(shared, "global.log", name)
    assert name not in shared.log("main.log")


def test_a_virtual_host_without_logs_writes_to_the_main_servers(shared: Server) -> None:
    name = ask(shared, "bob.test")
    assert line_with(shared, "main.log", name) == f"bob.test 200 {name} GET / HTTP/1.1"
    line_with(shared, "global.log", name)


def test_a_transfer_log_has_the_format_without_a_nickname(shared: Server) -> None:
    name = new_id()
    shared.get("alice.test", f"/?{name}")
    assert line_with(shared, "alice.transfer", name) == f"transfer GET /?{name} HTTP/1.1"


def test_conditions(shared: Server) -> None:
    inside, outside = ask(shared, "alice.test", "/only"), ask(shared, "alice.test")
    line_with(shared, "only.log", inside)
    line_with(shared, "not.log", outside)
    line_with(shared, "alice.log", inside)
    assert outside not in shared.log("only.log")
    assert inside not in shared.log("not.log")


def test_a_log_of_one_owner_is_open_in_that_owners_worker_alone(shared: Server) -> None:
    ask(shared, "alice.test")
    ask(shared, "bob.test")
    folder = str(shared.folder)

    def logs(uid: int) -> set[str]:
        names = shared.worker(uid).descriptors().values()
        return {name.removeprefix(f"{folder}/") for name in names if name.startswith(folder)}

    assert logs(ALICE) == {"alice.log", "alice.transfer", "alice.sizes", "only.log", "not.log", "alice.error"}
    assert logs(BOB) == set()
    (logger,) = shared.processes("logger")
    held = {name.removeprefix(f"{folder}/") for name in logger.descriptors().values() if name.startswith(folder)}
    assert held == {"error.log", "global.log", "main.log"}


def test_the_error_log_of_a_virtual_host_in_its_format(shared: Server) -> None:
    name = new_id()
    (shared.folder / "alice" / "closed").write_text("")
    (shared.folder / "alice" / "closed").chmod(0)
    assert shared.get("alice.test", "/closed", Referer=f"http://{name}/\t\\").status == 403
    line = line_with(shared, "alice.error", name)
    assert re.fullmatch(rf"\[core:error\] http://{name}/\\t\\\\ alice\.test: .+closed.*", line), line
    assert name not in shared.log()


# What stands in a line


def test_sizes_are_what_a_client_saw(shared: Server) -> None:
    name = new_id()
    output = "%{http_code} %{size_request} %{size_header} %{size_download}"
    url = f"http://127.0.0.1:{shared.port}"
    command = ["curl", "-s", "-o", "/dev/null", "-w", output, "-H", "Host: alice.test"]
    for number, arguments in enumerate(
        ([url], [url + "/big"], ["-I", url], ["-r", "5-24", url + "/big"], [url + "/none"])
    ):
        done = subprocess.run(
            [*command, "-H", f"id: {name}{number}", *arguments], capture_output=True, text=True, check=True
        )
        status, request, header, body = map(int, done.stdout.split())
        line = line_with(shared, "alice.sizes", f"{name}{number}")
        assert line.split() == [
            *(f"{name}{number}", str(request), str(header + body), str(body), str(body) if body else "-"),
            *("0", "+", str(status)),
        ], arguments


def test_requests_on_one_connection(shared: Server) -> None:
    names = [new_id() for _ in range(4)]
    rest = [
        "\r\n",
        f"Content-Length: 70000\r\n\r\n{'x' * 70_000}",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n000\r\n\r\n",
        "Connection: close\r\n\r\n",
    ]
    requests = [
        f"GET / HTTP/1.1\r\nHost: alice.test\r\nid: {name}\r\n{end}" for name, end in zip(names, rest, strict=True)
    ]
    shared.raw("".join(requests).encode())
    lines = [line_with(shared, "alice.sizes", name).split() for name in names]
    assert [line[1] for line in lines] == [str(len(request)) for request in requests]
    assert [line[5:7] for line in lines] == [["0", "+"], ["1", "+"], ["2", "+"], ["3", "-"]]


def test_an_aborted_download(shared: Server) -> None:
    name = new_id()
    with shared.connect() as sock:
        sock.sendall(f"GET /big HTTP/1.1\r\nHost: alice.test\r\nid: {name}\r\n\r\n".encode())
        received = len(sock.recv(65_536))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, at once
    line = line_with(shared, "alice.sizes", name).split()
    assert line[6:] == ["X", "200"]
    assert received <= int(line[2]) < BIG
    assert 0 < int(line[2]) - int(line[3]) < 1_000, "what was sent of the body and what was sent in all"


def test_the_status_of_an_error_document(shared: Server) -> None:
    name = ask(shared, "alice.test", "/none")
    assert line_with(shared, "alice.log", name).split()[1] == "404"
    assert line_with(shared, "alice.sizes", name).split()[3] == "3"


# What a client cannot do to a line


INJECTIONS = [
    b"GET /{id}\nGET HTTP/1.1\r\nHost: bob.test\r\n\r\n",
    b"GET /{id}\rGET HTTP/1.1\r\nHost: bob.test\r\n\r\n",
    b"GET /{id}\x1b[2J\x00 HTTP/1.1\r\nHost: bob.test\r\n\r\n",
    b'GET /{id}"\\ HTTP/1.1\r\nHost: bob.test\r\nConnection: close\r\n\r\n',
    b"GET /{id}%0d%0a%22fake HTTP/1.1\r\nHost: bob.test\r\nConnection: close\r\n\r\n",
    b"GET /{id}?%0d%0afake HTTP/1.1\r\nHost: bob.test\r\nConnection: close\r\n\r\n",
    b"GET /{id}\xe2\x80\xa8\xff HTTP/1.1\r\nHost: bob.test\r\nConnection: close\r\n\r\n",
    b'GET /?{id} HTTP/1.1\r\nHost: bob.test\r\nid: \x0b\x0c\x85"\\n%s\r\nConnection: close\r\n\r\n',
    b"GET /?{id} HTTP/1.1\r\nHost: bob.test\r\nid: 1\r\n folded\r\nConnection: close\r\n\r\n",
    b"{id}\x16\x03\x01\x02\x00\r\n\r\n",
    b"GET /{id} HTTP/9.9\r\nHost: bob.test\r\n\r\n",
    b'GET /{id} HTTP/1.1\r\nHost: bob.test"\x07\r\n\r\n',
]


@pytest.mark.parametrize("request_", INJECTIONS)
def test_injections_stay_in_their_line(shared: Server, request_: bytes) -> None:
    first, name = ask(shared, "bob.test"), new_id()
    line_with(shared, "global.log", first)
    assert shared.raw(request_.replace(b"{id}", name.encode())).startswith(b"HTTP/1.1 ")
    line_with(shared, "global.log", name)
    last = ask(shared, "bob.test")
    line_with(shared, "global.log", last)
    text = (shared.folder / "global.log").read_bytes().decode("ascii")
    lines = text[text.index(first) : text.index(last)].split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    # A head that is no request belongs to the server that its connection came to first.
    assert lines[1].split()[0] in ("bob.test", "alice.test", "server.test")
    error_lines = shared.log().splitlines() + shared.log("alice.error").splitlines()
    assert all(line.isprintable() and line.startswith("[") for line in error_lines)


def test_what_is_no_request_is_logged_with_its_first_line(shared: Server) -> None:
    name = new_id()
    assert shared.raw(f"{name} rubbish\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")
    server, status, id_, line = line_with(shared, "global.log", name).split(" ", 3)
    assert (status, id_, line) == ("400", "-", f"{name} rubbish")
    assert server in ("alice.test", "server.test")


def test_a_head_that_takes_too_long_is_logged(shared: Server) -> None:
    name = new_id()
    with shared.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
        sock.sendall(f"GET /{name} HTTP/1.1\r\nHost".encode())
        assert sock.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert line_with(shared, "alice.log", name) == f"alice.test 408 - GET /{name} HTTP/1.1"
    assert name not in shared.log("main.log")


def test_a_head_that_takes_too_long_for_a_gate_is_in_the_error_log(shared: Server) -> None:
    with shared.connect() as sock:
        port = sock.getsockname()[1]
        sock.sendall(b"GET / HTTP/1.1\r\nHost")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert "AH01382: Request header read timeout" in line_with(shared, "error.log", f"[client 127.0.0.1:{port}]")


# Many writers


class Load:
    """Clients that ask all owners in turn until told to stop, or refused. `answered` holds the ids of what they got."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.server = server
        self.answered: set[str] = set()
        self.stopping = False
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, client: int) -> None:
        number = 0
        while not self.stopping:
            try:
                with self.server.connect() as sock:
                    for _ in range(5):
                        number += 10
                        self.send(sock, [f"id-{client}-{number + step}-" for step in range(10)])
            except OSError:
                assert self.server.process is not None
                with suppress(subprocess.TimeoutExpired):
                    self.server.process.wait(0.01)
                    return

    def send(self, sock: socket.socket, names: list[str]) -> None:
        """Pipelined requests to both owners by turns."""
        hosts = ["alice.test", "bob.test"] * 5
        heads = [f"GET / HTTP/1.1\r\nHost: {h}\r\nid: {name}\r\n\r\n" for h, name in zip(hosts, names, strict=True)]
        sock.sendall("".join(heads).encode())
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 10 or not received.endswith((b"alice\n", b"bob\n")):
            chunk = sock.recv(65_536)
            received += chunk
            if not chunk:
                break
        # Each body is five or four bytes and a newline that no head has at this place.
        self.answered |= set(names[: len(re.findall(rb"\r\n\r\n(?:alice|bob)\n", received))])

    def stop(self) -> None:
        self.stopping = True
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def ids(server: Server, name: str) -> list[str]:
    """The ids of a log's lines, every one of which must be whole."""
    found = []
    for line in server.log(name).splitlines():
        match = re.fullmatch(r"(alice|bob)\.test 200 (id-\d+-\d+-) GET / HTTP/1\.1", line)
        assert match is not None, line
        found.append(match[2])
    return found


def two(world: World, logs: str) -> Server:
    return world.server(FORMAT + logs + world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))


@pytest.mark.parametrize("number", [signal.SIGWINCH, signal.SIGTERM])
def test_a_stop_under_load_loses_no_line(world: World, number: signal.Signals) -> None:
    """A shared log and one behind a program, from workers of two owners: whole lines, each once, none missing."""
    server = two(world, 'CustomLog @DIR@/file.log who\nCustomLog "|$sleep 0.2; cat > @DIR@/piped.log" who\n')
    load = Load(server)
    eventually(lambda: len(load.answered) > 1_500)
    assert server.process is not None
    server.process.send_signal(number)
    assert server.process.wait(15) == 0
    load.stop()
    for name in ("file.log", "piped.log"):
        logged = ids(server, name)
        assert len(logged) == len(set(logged))
        if number == signal.SIGWINCH:  # finishes what is begun; what TERM cuts off may miss its line
            assert load.answered <= set(logged)
        else:
            assert len(load.answered - set(logged)) <= 40


def test_what_was_answered_before_a_stop_is_logged(world: World) -> None:
    server = two(world, "CustomLog @DIR@/file.log who\n")
    load = Load(server, 1)
    eventually(lambda: len(load.answered) > 200)
    load.stop()
    server.stop()
    assert sorted(ids(server, "file.log")) == sorted(load.answered)


def test_a_logger_that_dies_loses_nothing_that_is_said_meanwhile(world: World) -> None:
    server = two(world, "CustomLog @DIR@/file.log who\n")
    names: list[str] = []
    for _ in range(3):
        names += [f"id-0-{len(names)}-", f"id-0-{len(names) + 1}-"]
        for name, host in zip(names[-2:], ("alice.test", "bob.test"), strict=True):
            server.get(host, id=name)
        (logger,) = server.processes("logger")
        eventually(lambda: set(names) == set(ids(server, "file.log")))  # noqa: B023
        os.kill(logger.pid, signal.SIGKILL)
        names.append(f"id-0-{len(names)}-")
        server.get("alice.test", id=names[-1])
        eventually(lambda: names[-1] in server.log("file.log"))  # noqa: B023
    assert sorted(ids(server, "file.log")) == sorted(names), "in whatever order: two workers have sent them"


# Programs


def log_programs(server: Server) -> list[int]:
    """The pids of a server's log programs."""
    return [process.pid for process in server.processes() if process.title == "/usr/bin/cat"]


def test_a_program_that_died_is_started_again_and_misses_nothing(world: World) -> None:
    server = two(world, 'CustomLog "|$exec /usr/bin/cat >> @DIR@/piped.log" who\n')
    server.get("alice.test", id="id-0-0-")
    eventually(lambda: "id-0-0-" in server.log("piped.log"))
    (program,) = log_programs(server)
    os.kill(program, signal.SIGKILL)
    server.get("bob.test", id="id-0-1-")
    eventually(lambda: "id-0-1-" in server.log("piped.log"))
    assert ids(server, "piped.log") == ["id-0-0-", "id-0-1-"]
    eventually(lambda: "/usr/bin/cat" in server.log() and "ended: started again" in server.log())
    assert log_programs(server) != [program]


def test_a_program_without_a_shell_for_the_error_log(world: World) -> None:
    script = world.folder / "log program"
    script.write_text('#!/bin/sh\nexec cat > "$1"\n')
    script.chmod(0o755)
    server = two(world, f"ErrorLog \"|'{script}' '@DIR@/errors of all'\"\n")
    eventually(lambda: "listening on" in server.log("errors of all"))
    server.get("none.test", "/../../x")
    eventually(lambda: "invalid URI path (/../../x)" in server.log("errors of all"))
    server.stop()
    assert "caught SIGTERM" in server.log("errors of all")
    assert "Traceback" not in server.log("errors of all")


def test_log_programs_have_no_more_rights_than_they_are_meant_to(world: World) -> None:
    server = two(world, 'CustomLog "|$exec /usr/bin/cat > @DIR@/piped.log" who\n')
    rights = []
    for _ in range(2):
        (program,) = eventually(lambda: log_programs(server))
        status = Path(f"/proc/{program}/status").read_text()
        rights.append(re.findall(r"^(?:CapEff|CapBnd|NoNewPrivs|Uid):.*", status, re.MULTILINE))
        os.kill(program, signal.SIGKILL)
        eventually(lambda: program not in log_programs(server))  # noqa: B023
    assert rights[0] == rights[1], "one started again must be as the first"
    assert "NoNewPrivs:\t1" in rights[0]


# Places


def test_one_file_under_two_names_is_one_log(world: World) -> None:
    (world.folder / "sub").mkdir()
    server = world.server(
        FORMAT
        + world.virtual_host("alice", ALICE, "CustomLog @DIR@/both.log who\n")
        + world.virtual_host("bob", BOB, "CustomLog @DIR@/sub/../both.log who\n")
    )
    names = [ask(server, "alice.test"), ask(server, "bob.test")]
    for name in names:
        line_with(server, "both.log", name)
    for uid in (ALICE, BOB):
        assert not any(name.endswith("both.log") for name in server.worker(uid).descriptors().values())


def test_a_terminal_is_never_a_workers(world: World) -> None:
    server = world.server(FORMAT + world.virtual_host("alice", ALICE, "CustomLog /dev/null who\nErrorLog /dev/null\n"))
    ask(server, "alice.test")
    null = [place for place, name in server.worker(ALICE).descriptors().items() if name == "/dev/null"]
    assert null == [0, 1, 2], "the standard descriptors, and nothing of a log"


@pytest.mark.parametrize("directive", ["ErrorLog {}", "CustomLog {} common", "TransferLog {}", "GlobalLog {} common"])
def test_a_log_that_cannot_be_opened_is_one_clear_sentence(world: World, directive: str) -> None:
    link = world.folder / "link.log"
    link.symlink_to(world.folder / "target.log")
    server = world.server(directive.format(link) + "\n", start=False).start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) == 1
    assert server.stderr == f"ownhost: cannot open the log {link}: it is a symbolic link, which a log must not be\n"
    assert not (world.folder / "target.log").exists()


@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        ("ErrorLog @DIR@/none/a.log", "cannot open the log {}/none/a.log: there is no folder {}/none; create it first"),
        ("ErrorLog |/no/such", "cannot start the log program |/no/such: No such file or directory"),
    ],
)
def test_other_reasons(world: World, directive: str, sentence: str) -> None:
    server = world.server(directive + "\n", start=False).start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) == 1
    assert server.stderr == f"ownhost: {sentence.format(*[world.folder] * 2)}\n"


def test_a_json_format_as_people_write_it(world: World) -> None:
    server = world.server(
        r'LogFormat "{\"time\":\"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t\",\"host\":\"%V\",\"status\":%>s,'
        r'\"us\":%D,\"request\":\"%r\"}" json'
        "\nCustomLog @DIR@/json.log json\n" + world.virtual_host("alice", ALICE)
    )
    server.get("alice.test")
    with contextlib.suppress(OSError):
        eventually(lambda: server.log("json.log"))
    entry = json.loads(server.log("json.log"))
    assert (entry["host"], entry["status"], entry["request"]) == ("alice.test", 200, "GET / HTTP/1.1")


def test_modes_of_logs(world: World) -> None:
    """In a folder of root's, a log is root's, whatever its mode; in an owner's, it is made by his workers, and his."""
    own = world.site("logs", ALICE, {})
    before = os.umask(0o022)
    try:
        alice = world.virtual_host("alice", ALICE, f'ErrorLog {own}/error.log\nCustomLog {own}/access.log "%r"\n')
        bob = world.virtual_host("bob", BOB, 'LogFileMode 0600\nCustomLog @DIR@/bob.log "%r"\n')
        server = world.server(alice + bob)
    finally:
        os.umask(before)
    assert server.get("alice.test", "/none").status == 404
    paths = ("logs/error.log", "logs/access.log", "bob.log")
    eventually(lambda: all((world.folder / path).exists() for path in paths))
    modes = {path: (world.folder / path).stat() for path in paths}
    assert {path: (found.st_uid, found.st_mode & 0o777) for path, found in modes.items()} == {
        "logs/error.log": (ALICE, 0o644),
        "logs/access.log": (ALICE, 0o644),
        "bob.log": (0, 0o600),
    }


@pytest.mark.parametrize("mode", ["0644", "640", "0600"])
def test_modes_that_may_be_said(world: World, mode: str) -> None:
    server = world.server(f"LogFileMode {mode}\n" + world.virtual_host("alice", ALICE))
    assert server.get("alice.test").status == 200


@pytest.mark.parametrize("mode", ["0755", "0440", "8", "rw", "0100644", "01644"])
def test_modes_that_may_not(world: World, mode: str) -> None:
    server = world.server(f"LogFileMode {mode}\n" + world.virtual_host("alice", ALICE), start=False).start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) != 0
    assert "expected an octal mode such as 0640" in server.stderr
