"""An exception that nobody expected: a 500 where nothing was sent, else the end, and one report in the error log."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from h2_pair import Pair
from ownhost.http.message import RequestBody, Response
from ownhost.request import bugs
from ownhost.request.phases import PHASES
from ownhost.request.request import Hook, Phase, Request


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, "ErrorDocument 500 default")
    pair.file("a.txt", b"a")
    yield pair
    pair.close()


class Unexpected(Exception):
    """What no code waits for."""


def fail(*_: object) -> None:
    raise Unexpected("told so")


class Broken:
    """A stream that breaks after its first piece."""

    length: int | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"first"
        fail()

    def close(self) -> None:
        """Nothing is held."""


async def fail_later(_: Request, __: RequestBody) -> Response:
    raise Unexpected("told so")


async def fail_in_midst(_: Request, __: RequestBody) -> Response:
    return Response(200, [("Content-Type", "text/plain")], Broken())


def hook(name: str) -> Callable[[Pair], None]:
    """Have a hook of a phase raise."""

    def install(pair: Pair) -> None:
        site = pair.service.site
        hooks = getattr(site, name)
        setattr(site, name, [*hooks, fail] if isinstance(hooks, list) else (*hooks, fail))

    return install


def step(phase: Phase, hook: Hook | None = None) -> Callable[[Pair], None]:
    """Have the first step of a phase raise, or be another one."""

    def install(pair: Pair) -> None:
        site = pair.service.site
        leg = site.road[phase]._replace(hooks=(hook or fail,))
        site.road = (*site.road[:phase], leg, *site.road[phase + 1 :])

    return install


def handler(pair: Pair) -> None:
    pair.service.site.handlers["default-handler"] = fail  # type: ignore[assignment]


def deferred(pair: Pair) -> None:
    pair.program("/a.txt")(fail_later)


def stream(pair: Pair) -> None:
    pair.program("/a.txt")(fail_in_midst)


def memory(pair: Pair) -> None:
    pair.service.site.memory = SimpleNamespace(recall=fail)  # type: ignore[assignment]


def framing(pair: Pair) -> None:
    pair.service.frame = fail  # type: ignore[method-assign, assignment]  # HTTP/1
    pair.service.token = None  # type: ignore[assignment]  # HTTP/2 puts it into bytes


def log(pair: Pair) -> None:
    pair.service.access_log.record = fail  # type: ignore[method-assign, assignment]


BEFORE = {
    "early": hook("earlies"),
    **{phase.name: step(phase) for phase in PHASES},
    "locate": hook("locators"),
    "finish": hook("finishes"),
    "handler": handler,
    "deferred": deferred,
    "memory": memory,
}


@pytest.mark.parametrize("phase", BEFORE)
def test_before_the_response(pair: Pair, phase: str) -> None:
    """A client of HTTP/1 gets a 500 and the end, and there is a line in each log."""
    BEFORE[phase](pair)

    async def work() -> None:
        answer = await pair.ask_http1(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"Connection: close\r\n" in answer
        assert b"Unexpected" not in answer  # nothing of our inside

    pair.run(work(), bugs=1)
    assert len(pair.accesses()) == 1
    assert pair.accesses()[0].startswith("GET /a.txt HTTP/1.1 500 ")
    assert "Unexpected: told so" in pair.errors()


@pytest.mark.parametrize("phase", BEFORE)
def test_before_the_response_http2(pair: Pair, phase: str) -> None:
    """One of HTTP/2 gets a 500 on the stream; the connection goes on."""
    BEFORE[phase](pair)

    async def work() -> None:
        peer = pair.connect()
        answer = await peer.get("/a.txt")
        assert (answer.status, answer.ended, answer.reset) == (500, True, None)
        assert not peer.lost
        assert peer.goaway is None

    pair.run(work(), bugs=1)
    assert len(pair.accesses()) == 1
    assert pair.accesses()[0].startswith("GET /a.txt HTTP/2.0 500 ")
    assert "Unexpected: told so" in pair.errors()


def test_in_midst_of_the_response(pair: Pair) -> None:
    """What was begun is not completed, and the client sees that."""
    stream(pair)

    async def work() -> None:
        answer = await pair.ask_http1(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n5\r\nfirst\r\n")  # and no last chunk

    pair.run(work(), bugs=1)
    assert len(pair.accesses()) == 1
    assert " X " in pair.accesses()[0]  # aborted


def test_in_midst_of_the_response_http2(pair: Pair) -> None:
    stream(pair)

    async def work() -> None:
        peer = pair.connect()
        answer = await peer.get("/a.txt")
        assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"first", False, 2)
        assert (await peer.get("/none")).status == 404  # another stream of the connection

    pair.run(work(), bugs=1)
    assert len(pair.accesses()) == 2


def test_log(pair: Pair) -> None:
    """The response is out: the connection ends after it."""
    log(pair)

    async def work() -> None:
        answer = await pair.ask_http1(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\na")
        assert (await pair.connect().get("/a.txt")).status == 200

    pair.run(work(), bugs=2)


def test_framing(pair: Pair) -> None:
    """Where no response can be made at all, the connection ends."""
    framing(pair)

    async def work() -> None:
        assert await pair.ask_http1(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\n\r\n") == b""

    pair.run(work(), bugs=2)  # the second where the 500 was to be framed


def test_outside_of_requests(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised where there is no request yet ends its connection alone."""
    idle = pair.connect()
    monkeypatch.setattr("ownhost.processes.worker.conversation.head_end", fail)

    async def work() -> None:
        answer = await pair.ask_http1(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert (await idle.get("/a.txt")).status == 200

    pair.run(work(), bugs=1)


def test_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose time cannot be looked at is closed, and the others' time is looked at all the same."""
    monkeypatch.setattr("ownhost.processes.worker.connection.Connection.deadline", lambda _: pair.loop.time())
    monkeypatch.setattr("ownhost.processes.worker.connection.Connection.close_gently", fail)
    monkeypatch.setattr("ownhost.processes.worker.connection.Connection.broke", lambda self, _: self.sock.close())

    async def work() -> None:
        assert await pair.ask_http1(b"") == b""
        assert await pair.ask_http1(b"") == b""

    pair.run(work())
    pair.worker.connections.clear()


def test_error_document(tmp_path: Path) -> None:
    """A bug in a page for an error does not keep the error from its plain page."""
    pair = Pair(tmp_path, "ErrorDocument 404 /a.txt")
    pair.file("a.txt", b"a")
    step(Phase.FIXUPS, lambda request: fail() if request.error_status else None)(pair)

    async def work() -> None:
        answer = await pair.ask_http1(b"GET /none HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")

    pair.run(work(), bugs=1)
    pair.close()


def test_fields_that_no_head_can_have(tmp_path: Path) -> None:
    """What modules and programs say goes through one check, over both versions of HTTP. The access log says 500."""
    pair = Pair(tmp_path, '<Location /bad.txt>\nHeader always set X "a\vb"\n</Location>\nErrorDocument 500 "own page"')
    pair.file("bad.txt", b"a")

    @pair.program("/program")
    async def program(_: Request, __: RequestBody) -> Response:
        return Response(200, [("X", "a\x01b"), ("Content-Type", "text/plain")], Broken())

    async def work() -> None:
        peer = pair.connect()
        for path in ("/bad.txt", "/bad.txt", "/program"):
            answer = await pair.ask_http1(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"\r\nX: " not in answer
            over_2 = await peer.get(path)
            assert (over_2.status, "x" in over_2.headers) == (500, False)

    pair.run(work())
    assert [" 500 " in line for line in pair.accesses()] == [True] * 6
    assert "AH02430: Response header 'X' value of 'a\\vb' contains invalid characters" in pair.errors()
    pair.close()


def test_what_the_system_has_run_out_of_is_no_bug() -> None:
    said: list[str] = []
    bugs.report(lambda *words: said.append(words[2]), OSError(errno.EMFILE, "Too many open files", "/var/tmp"))
    bugs.report(lambda *words: said.append(words[2]), OSError(errno.ENOSPC, "No space left on device"), "spooling")
    bugs.report(lambda *words: said.append(words[2]), OSError(errno.EBADF, "Bad file descriptor"))
    assert said[:2] == ["answering failed: Too many open files: /var/tmp", "spooling failed: No space left on device"]
    assert said[2].startswith("a bug in Ownhost")
