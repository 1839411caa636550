"""The real WSGI runner, on a real socket."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastcgi_client import ABORT, PARAMS, RUNNER, STDIN, Client, Runner, begin, environment, pairs, record
from harness import Process
from waiting import eventually

pytestmark = pytest.mark.slow

Start = Callable[..., Runner]
HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""
MIB = 1 << 20


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a runner for the text of a script."""
    runners: list[Runner] = []

    def make(text: str, *options: str, **more: str) -> Runner:
        script = tmp_path / "site.wsgi"
        script.write_text(text)
        runners.append(Runner(tmp_path, script, options, **more))  # type: ignore[arg-type]
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


@pytest.mark.parametrize("path", sorted(RUNNER.parent.glob("*.py")), ids=lambda path: path.name)
def test_the_runner_is_python_3_8_with_the_standard_library_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"fastcgi_responder"}


def test_what_is_single_has_a_length(start: Start) -> None:
    reply = start(HELLO).get()
    assert reply.head == {"Status": "200 OK", "Content-Type": "text/plain", "Content-Length": "5"}
    assert (reply.body, reply.status, reply.errors) == (b"hello", 0, "")


def test_the_environ(start: Start) -> None:
    reply = start(
        """
def application(environ, start_response):
    start_response("200 OK", [])
    wanted = ("wsgi.version", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once",
              "SCRIPT_NAME", "PATH_INFO", "HTTP_X", "mod_wsgi.process_group", "HOME")
    return [repr([environ.get(name) for name in wanted]).encode()]
""",
        "--process-group=blog",
        environment={"HOME": "/secret"},
    ).get("/caf\xc3\xa9", HTTPS="on", HTTP_X="\xff")
    expected = [(1, 0), "https", False, True, False, "", "/caf\xc3\xa9", "\xff", "blog", None]
    assert reply.body.decode() == repr(expected)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_wsgiref_validates_it(start: Start, method: str) -> None:
    runner = start(
        """
from wsgiref.validate import validator
@validator
def application(environ, start_response):
    body = environ["wsgi.input"]
    lines = [body.readline(), body.read(3), *body.readlines(), *body, body.read(1)]
    environ["wsgi.errors"].write("noted\\n")
    environ["wsgi.errors"].writelines(["twice\\n"])
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    return iter([b"", repr(lines).encode()])
"""
    )
    body = [b"one\ntwo\nth", b"ree\nfour"] if method == "POST" else []
    reply = runner.ask(environment(method=method, CONTENT_LENGTH=str(sum(map(len, body)))), body)
    lines = [b"one\n", b"two", b"\n", b"three\n", b"four", b""] if method == "POST" else [b"", b"", b""]
    assert reply.errors == "noted\ntwice\n"
    assert reply.head["Status"] == "200 OK"
    assert reply.body == (b"" if method == "HEAD" else b"written " + repr(lines).encode())


def test_nothing_is_sent_before_there_is_something(start: Start) -> None:
    """start_response may change its mind up to the first bytes that are not empty."""
    reply = start(
        """
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    yield b""
    try:
        raise ValueError
    except ValueError:
        start_response("418 Teapot", [], sys.exc_info())
    yield b"short"
"""
    ).get()
    assert reply.head["Status"] == "418 Teapot"
    assert reply.body == b"short"


def test_too_late_to_change_the_head(start: Start) -> None:
    reply = start(
        """
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"begun"
    try:
        raise ValueError("the cause")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
"""
    ).get()
    assert reply.body == b"begun"
    assert reply.status == 1
    assert "ValueError: the cause" in reply.errors


@pytest.mark.parametrize(
    "wrong",
    [
        'start_response("200 OK", []); start_response("200 OK", []); return [b"x"]',
        'return [b"x"]',
        'start_response("fine", []); return [b"x"]',
        'start_response("200 OK\\r\\nX: y", []); return [b"x"]',
        'start_response("200 OK", [("X", "y\\n")]); return [b"x"]',
        'start_response("200 OK", [("X", "\\u20ac")]); return [b"x"]',
        'start_response("200 OK", [("Content-Length", "-1")]); return [b"x"]',
        'start_response("200 OK", []); return ["text"]',
        'start_response("200 OK", []); return None',
        "raise SystemExit",
        "return 1 / 0",
    ],
)
def test_a_mistake_is_a_500_and_the_next_request_is_served(start: Start, wrong: str) -> None:
    runner = start(
        f"""
def application(environ, start_response):
    if environ["PATH_INFO"] == "/wrong":
        {wrong}
    start_response("200 OK", [])
    return [b"right"]
"""
    )
    reply = runner.get("/wrong")
    assert reply.head["Status"] == "500 Internal Server Error"
    assert reply.status == 1
    assert "Traceback" in reply.errors
    assert runner.get().body == b"right"


def test_the_result_is_closed_whatever_happens(start: Start) -> None:
    runner = start(
        """
class Result(list):
    def __iter__(self):
        yield b"x"
        raise ValueError
    def close(self):
        print("closed")
def application(environ, start_response):
    start_response("200 OK", [])
    return Result()
"""
    )
    assert "closed\n" in runner.get().errors


def test_content_length_is_kept(start: Start) -> None:
    runner = start(
        """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"four", environ["QUERY_STRING"].encode()]
"""
    )
    assert runner.get(QUERY_STRING="more").body == b"fourmo"
    less = runner.get(QUERY_STRING="1")
    assert less.status == 1
    assert "1 bytes shorter than its Content-Length" in less.errors


def test_head_keeps_the_length_and_leaves_out_the_body(start: Start) -> None:
    reply = start(HELLO).ask(environment(method="HEAD"))
    assert reply.head["Content-Length"] == "5"
    assert reply.body == b""


def test_a_wrapped_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(range(256)) * 1000)
    reply = start(
        f"""
def application(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open({str(tmp_path / "data")!r}, "rb"), 7777)
"""
    ).get()
    assert reply.body == bytes(range(256)) * 1000


def test_a_streamed_response_arrives_while_it_is_made(start: Start) -> None:
    """The second part is made only after the client has seen the first, and said so by making a file."""
    runner = start(
        """
import os, time
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"first"
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.01)
    yield b"second"
"""
    )
    seen = runner.folder / "seen"
    client = Client(runner.path)
    client.send(environment(QUERY_STRING=str(seen)))
    parts = client.records()
    assert next(parts)[1].endswith(b"first")
    seen.touch()
    assert next(parts)[1] == b"second"
    client.close()


def test_large_bodies_take_no_memory(start: Start) -> None:
    runner = start(
        """
def application(environ, start_response):
    total = 0
    while True:
        part = environ["wsgi.input"].read(1 << 20)
        if not part:
            break
        total += len(part)
    start_response("200 OK", [("X-Total", str(total))])
    return (bytes(1 << 20) for _ in range(int(environ["QUERY_STRING"])))
"""
    )
    runner.get(QUERY_STRING="1")
    before = runner.peak()
    client = Client(runner.path)
    params = environment(method="POST", CONTENT_LENGTH=str(1024 * MIB), QUERY_STRING="256")
    client.send(params, (bytes(MIB) for _ in range(1024)))
    head, received = b"", 0
    for kind, content in client.records():
        if kind == 3:
            break
        head = head or content
        received += len(content)
    client.close()
    assert b"X-Total: 1073741824\r\n" in head
    assert received > 256 * MIB
    assert runner.peak() - before < 16 * MIB


def test_a_body_that_nobody_reads_does_not_matter(start: Start) -> None:
    runner = start(HELLO)
    client = Client(runner.path)
    for _ in range(2):
        client.send(environment(method="POST"), [bytes(MIB)], keep=True)
        assert client.reply().body == b"hello"
    client.close()


def test_connections_stay_where_they_are_asked_to(start: Start) -> None:
    runner = start(HELLO)
    client = Client(runner.path)
    for _ in range(3):
        client.send(environment(), keep=True)
        assert client.reply().status == 0
    client.send(environment())
    assert client.reply().status == 0
    assert client.file.read() == b""
    client.close()


@pytest.mark.parametrize("ending", [b"", record(STDIN, b"half"), record(ABORT)])
def test_a_client_that_leaves(start: Start, ending: bytes) -> None:
    runner = start(
        """
def application(environ, start_response):
    try:
        body = environ["wsgi.input"].read()
    except OSError:
        open(environ["QUERY_STRING"], "w").close()
        raise
    start_response("200 OK", [])
    return [body]
"""
    )
    noticed = runner.folder / "noticed"
    params = environment(method="POST", CONTENT_LENGTH="9", QUERY_STRING=str(noticed))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(runner.path))
        sock.sendall(begin() + record(PARAMS, pairs(params)) + record(PARAMS) + ending)
    eventually(noticed.exists)
    assert runner.ask(environment(method="POST"), [b"whole"]).body == b"whole"


def test_a_client_that_leaves_the_response(start: Start) -> None:
    runner = start(
        """
def application(environ, start_response):
    start_response("200 OK", [])
    try:
        while environ["PATH_INFO"] == "/endless":
            yield bytes(1 << 20)
        yield b"done"
    finally:
        open(environ["QUERY_STRING"], "a").close()
"""
    )
    left = runner.folder / "left"
    client = Client(runner.path)
    client.send(environment("/endless", QUERY_STRING=str(left)))
    next(client.records())
    client.close()
    eventually(left.exists)
    assert runner.get(QUERY_STRING=str(left)).body == b"done"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", begin(role=3), record(PARAMS, b"\xff"), b"\x01"])
def test_what_is_no_request_ends_its_connection_alone(start: Start, data: bytes) -> None:
    runner = start(HELLO)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(runner.path))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(100):
                pass
    assert runner.get().body == b"hello"


def test_a_changed_script_is_loaded_before_the_next_request(start: Start) -> None:
    runner = start(HELLO)
    assert runner.get().body == b"hello"
    runner.script.write_text(HELLO.replace("hello", "changed"))
    os.utime(runner.script, (1, 1))
    assert runner.get().body == b"changed"
    assert runner.process.poll() is None


def test_a_connection_outlives_the_change(start: Start) -> None:
    runner = start(HELLO)
    client = Client(runner.path)
    client.send(environment(), keep=True)
    assert client.reply().body == b"hello"
    runner.script.write_text(HELLO.replace("hello", "changed"))
    os.utime(runner.script, (1, 1))
    client.send(environment(), keep=True)
    assert client.reply().body == b"changed"
    client.close()


def test_what_runs_at_exit_runs_before_a_change(start: Start) -> None:
    runner = start("import atexit\natexit.register(print, 'tidied')\n" + HELLO)
    runner.get()
    os.utime(runner.script, (1, 1))
    runner.get()
    assert "tidied" in runner.log.read_text()


def test_reloading_can_be_switched_off(start: Start) -> None:
    runner = start(HELLO, "--no-reload")
    runner.get()
    runner.script.write_text(HELLO.replace("hello", "changed"))
    os.utime(runner.script, (1, 1))
    assert runner.get().body == b"hello"


def test_a_script_that_fails_is_tried_again(start: Start) -> None:
    runner = start("import missing_module\n")
    for _ in range(2):
        reply = runner.get()
        assert reply.head["Status"] == "500 Internal Server Error"
        assert "No module named 'missing_module'" in reply.errors
    runner.script.write_text(HELLO)
    assert runner.get().body == b"hello"


def test_a_script_without_its_application(start: Start) -> None:
    reply = start("app = None\n").get()
    assert reply.status == 1
    assert "has no attribute 'application'" in reply.errors


def test_what_is_printed_goes_to_the_error_log(start: Start) -> None:
    runner = start(
        """
import logging, os, sys
logging.basicConfig(level="INFO")
def application(environ, start_response):
    print("printed")
    logging.info("logged")
    sys.stderr.write("caf\\xe9 \\udcff\\n")
    os.system("echo from a program")
    start_response("200 OK", [])
    return [sys.stdin.read().encode()]
"""
    )
    reply = runner.get()
    assert reply.errors == "printed\nINFO:root:logged\ncaf\xe9 \\udcff\n"
    assert reply.body == b""
    assert runner.log.read_text() == "from a program\n"


def test_threads_of_an_application_may_print_meanwhile(start: Start) -> None:
    runner = start(
        """
import threading
def application(environ, start_response):
    start_response("200 OK", [])
    thread = threading.Thread(target=lambda: [print("x" * 1000) for _ in range(500)])
    thread.start()
    for _ in range(500):
        yield b"y" * 100000
    thread.join()
"""
    )
    reply = runner.get()
    assert reply.body == b"y" * 50_000_000
    assert reply.errors == ("x" * 1000 + "\n") * 500


def test_maximum_requests(start: Start) -> None:
    runner = start(HELLO, "--maximum-requests=2")
    client = Client(runner.path)
    client.send(environment(), keep=True)
    client.reply()
    client.send(environment(), keep=True)
    assert client.reply().body == b"hello"
    assert client.file.read() == b""
    client.close()
    assert runner.process.wait(10) == 0
    runner.start()
    assert runner.get().body == b"hello"


SLOW = """
import os, time
def application(environ, start_response):
    start_response("200 OK", [])
    open(environ["QUERY_STRING"] + ".begun", "w").close()
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.01)
    return [b"finished"]
"""


def test_sigterm_finishes_the_request_under_way(start: Start) -> None:
    runner = start(SLOW)
    go_on = runner.folder / "go"
    client = Client(runner.path)
    client.send(environment(QUERY_STRING=str(go_on)), keep=True)
    eventually(Path(f"{go_on}.begun").exists)
    runner.process.send_signal(signal.SIGTERM)
    go_on.touch()
    assert client.reply().body == b"finished"
    assert runner.process.wait(10) == 0
    client.close()


@pytest.mark.parametrize("keep", [True, False])
def test_sigterm_ends_one_that_waits(start: Start, keep: bool) -> None:
    runner = start(HELLO)
    client = Client(runner.path)
    client.send(environment(), keep=keep)
    client.reply()
    eventually(lambda: Process(runner.process.pid).status["State"].startswith("S"))
    runner.process.send_signal(signal.SIGTERM)
    assert runner.process.wait(10) == 0
    client.close()


def test_a_thread_that_never_ends_does_not_keep_it_from_ending(start: Start) -> None:
    runner = start("import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + HELLO)
    assert runner.get().body == b"hello"
    runner.process.send_signal(signal.SIGTERM)
    assert runner.process.wait(20) == -signal.SIGALRM


def test_an_event_loop_does_not_keep_it_from_ending(start: Start) -> None:
    runner = start(
        """
import asyncio, signal
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
def application(environ, start_response):
    asyncio.run(main())
    start_response("200 OK", [])
    return [b"async"]
"""
    )
    assert runner.get().body == b"async"
    runner.process.send_signal(signal.SIGTERM)
    assert runner.process.wait(10) == 0


def test_home_path_mask_and_title(start: Start, tmp_path: Path) -> None:
    home, library = tmp_path / "home", tmp_path / "library"
    home.mkdir()
    library.mkdir()
    (home / "at_home.py").touch()
    (library / "in_library.py").touch()
    runner = start(
        """
import os, sys, at_home, in_library
def application(environ, start_response):
    start_response("200 OK", [])
    mask = os.umask(0)
    found = [os.getcwd(), sys.path[:2], oct(mask), open("/proc/self/comm").read(), __name__[:10], __file__, sys.argv]
    return [repr(found).encode()]
""",
        f"--home={home}",
        f"--python-path={library}",
        "--umask=027",
        "--title=(wsgi:blog)",
    )
    found = [
        str(home),
        [str(home), str(library)],
        "0o27",
        "(wsgi:blog)\n",
        "_mod_wsgi_",
        str(runner.script),
        ["mod_wsgi"],
    ]
    reply = runner.get()
    assert reply.body.decode() == repr(found), reply.errors


def test_any_name_of_the_application(start: Start) -> None:
    assert start(HELLO.replace("application", "app"), name="app").get().body == b"hello"


def test_several_processes_share_a_socket(start: Start) -> None:
    runner = start(SLOW)
    first = runner.process
    runner.start()
    go_on = runner.folder / "go"
    clients = [Client(runner.path) for _ in range(2)]
    try:
        for number, client in enumerate(clients):
            client.send(environment(QUERY_STRING=f"{go_on}{number}"))
        for number in range(2):
            eventually(Path(f"{go_on}{number}.begun").exists)
        for number in range(2):
            Path(f"{go_on}{number}").touch()
        assert [client.reply().body for client in clients] == [b"finished"] * 2
    finally:
        first.kill()
        first.wait()
        for client in clients:
            client.close()
