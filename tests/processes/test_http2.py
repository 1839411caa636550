"""A worker's HTTP/2 connection, with the h2 library as its client."""

from __future__ import annotations

from collections.abc import Callable

from h2.errors import ErrorCodes
from hyperframe.frame import PriorityFrame

from h2_pair import BIG, Pair
from waiting import soon

# Answers


def test_files(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        for _ in range(3):
            answer = await peer.get("/a.txt")
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.headers["content-length"] == "5"
            assert answer.headers["server"].startswith("Ownhost")
            assert answer.headers["date"].endswith("GMT")
        assert (await peer.get("/big.bin")).body == BIG
        assert (await peer.get("/big.bin", ("range", "bytes=999990-"))).body == BIG[-10:]
        assert (await peer.get("/none")).status == 404

    pair.run(work())


def test_answers_without_a_body(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        answer = await peer.get("/a.txt")
        head = await peer.get("/a.txt", method="HEAD")
        assert (head.body, head.headers["content-length"]) == (b"", "5")
        big = await peer.get("/big.bin", method="HEAD")
        assert (big.body, big.headers["content-length"]) == (b"", "1000000")
        same = await peer.get("/a.txt", ("if-none-match", answer.headers["etag"]))
        assert (same.status, same.body, "content-length" in same.headers) == (304, b"", False)
        assert head.ended
        assert same.ended

    pair.run(work())


def test_many_at_once(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        streams = [peer.ask("/big.bin" if number % 10 == 0 else "/a.txt") for number in range(100)]
        for number, stream in enumerate(streams):
            assert (await peer.answer(stream)).body == (BIG if number % 10 == 0 else b"hello")

    pair.run(work())


def test_streams_take_turns(pair: Pair) -> None:
    """A large answer does not hold up a small one that was asked for after it, nor another large one."""

    async def work() -> None:
        peer = pair.connect(buffer=65_536)
        first, second = peer.ask("/big.bin"), peer.ask("/big.bin")
        await peer.until(lambda: len(peer.answers[first].body) > 50_000)
        assert len(peer.answers[second].body) > 20_000
        assert (await peer.get("/a.txt")).body == b"hello"
        assert not peer.answers[first].ended
        assert (await peer.answer(first)).body == (await peer.answer(second)).body == BIG

    pair.run(work())


def test_what_the_rest_of_the_server_sees(make: Callable[[str], Pair]) -> None:
    text = "<If \"%{HTTP2} == 'on' && %{SERVER_PROTOCOL} == 'HTTP/2.0'\">\nErrorDocument 404 spoken\n</If>"
    pair = make(text)

    async def work() -> None:
        assert (await pair.connect().get("/none")).body == b"spoken"

    pair.run(work())


def test_an_access_log(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        await peer.get("/a.txt")
        await peer.get("/none?x")
        await peer.get("/big.bin")

    pair.run(work())
    first, second, third = (line.split() for line in pair.accesses())
    assert first[:5] == ["GET", "/a.txt", "HTTP/2.0", "200", "5"]
    assert first[7:] == ["0", "+", "HTTP/2.0", "text/plain"]
    assert second[:4] == ["GET", "/none?x", "HTTP/2.0", "404"]
    assert second[7:] == ["1", "+", "HTTP/2.0", "text/html"]
    assert third[4] == "1000000"
    assert 1_000_000 + 62 * 9 < int(third[6]) < 1_002_000


# Hosts, and what is not taken


def test_another_host_is_misdirected(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        assert (await peer.get("/a.txt", host="other.test")).status == 421
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())


def test_refusals_are_answers(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        assert (await peer.get("/" + "a" * 9_000)).status == 414
        assert (await peer.get("/", ("x", "a" * 9_000))).status == 431
        assert (await peer.get("/", *((f"x{number}", "y") for number in range(101)))).status == 431
        assert (await peer.get("/", ("expect", "a miracle"))).status == 417
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())
    assert [line.split()[3] for line in pair.accesses()] == ["414", "431", "431", "417", "200"]


def test_malformed_requests_end_their_stream_alone(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        for name, value in (
            ("Upper", "x"),
            ("connection", "close"),
            ("x", "a\r\nb"),
            ("te", "gzip"),
            ("content-length", "5"),
        ):
            assert (await peer.get("/a.txt", (name, value))).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())
    assert len(pair.accesses()) == 1


# Leaving


def test_a_client_that_takes_nothing_costs_little(make: Callable[[str], Pair]) -> None:
    pair = make("Timeout 1")

    async def work() -> None:
        peer = pair.connect(buffer=20_000)
        peer.acknowledges = False
        streams = [peer.ask("/big.bin") for _ in range(10)]
        peer.h2.increment_flow_control_window(2**30)
        for stream in streams:
            peer.h2.increment_flow_control_window(2**30, stream)
        await peer.send()
        await soon(lambda: not pair.worker.connections or len(peer.connection.talk.output.waiting) > 200_000)
        assert not pair.worker.connections, "too much waits for it"

    pair.run(work())


def test_priorities_are_harmless(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        await peer.send(PriorityFrame(7, depends_on=3, stream_weight=200))
        update = b"\x00\x00\x07\x10\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x01u=1"
        await peer.send(update)
        assert (await peer.get("/a.txt", ("priority", "u=0, i"))).body == b"hello"

    pair.run(work())


def test_clients_are_counted_once(make: Callable[[str], Pair]) -> None:
    pair = make("")

    class Counted:
        entered = left = 0

        def enter(self, most: int) -> bool:
            self.entered += 1
            return self.entered <= most

        def leave(self) -> None:
            self.left += 1

    counted = Counted()
    pair.service.clients = counted  # type: ignore[assignment]
    pair.service.max_clients = 1

    async def work() -> None:
        first, second = pair.connect(), pair.connect()
        assert {(await first.get("/a.txt")).status for _ in range(5)} == {200}
        assert (await second.get("/a.txt")).status == 503
        first.connection.close()
        assert counted.left == 1

    pair.run(work())
