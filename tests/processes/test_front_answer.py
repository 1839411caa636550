"""What a worker may answer through a front: one answer, whose end nobody can mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.head import parse_head
from ownhost.http.limits import HeadLimits
from ownhost.processes.front.answer import LONGEST_HEAD, Answer, AnswerError

LIMITS = HeadLimits(8190, 100, 8190, 65536)


def answer(method: str = "GET", fields: str = "", version: str = "1.1") -> Answer:
    head = f"{method} / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"
    return Answer(parse_head(head.encode(), LIMITS))


def octets(text: str) -> bytes:
    return text.replace("|", "\r\n").encode("latin-1")


def feed(one: Answer, data: bytes, cut: int) -> bytes:
    return b"".join(one.feed(data[start : start + cut]) for start in range(0, len(data), cut))


WHOLE = [
    "HTTP/1.1 200 OK|Content-Length: 2||ok",
    "HTTP/1.1 200|Content-Length: 0||",
    "HTTP/1.0 200 OK|content-length:  2 |X: \xe4\t||ok",
    "HTTP/1.1 204 No Content||",
    "HTTP/1.1 304 Not Modified|Content-Length: 100||",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|0||",
    "HTTP/1.1 200 OK|Transfer-Encoding: Chunked||2;x=y|ok|0|Trailer: x||",
    "HTTP/1.1 999 What|Content-Length: 1||x",
]


@pytest.mark.parametrize("text", WHOLE)
def test_what_is_one_answer_passes_as_it_is(text: str) -> None:
    data = octets(text)
    for cut in (len(data), 1):
        one = answer()
        assert feed(one, data, cut) == data
        assert one.complete
        assert one.keeps
        with pytest.raises(AnswerError):
            one.feed(b"x")


def test_an_answer_to_head_ends_with_its_head() -> None:
    one = answer("HEAD")
    one.feed(octets("HTTP/1.1 200 OK|Content-Length: 20||"))
    assert one.complete


def test_an_answer_without_a_length_ends_the_connection() -> None:
    one = answer()
    one.feed(octets("HTTP/1.1 200 OK||some"))
    assert not one.complete
    assert one.ends_with_stream
    assert not one.keeps


NONE = [
    "x",
    "HTTP/1.1 20 OK||",
    "HTTP/2 200 OK||",
    "HTTP/1.1 200 OK\n\n||",
    "HTTP/1.1 200 OK|X: a\nY: b||",
    "HTTP/1.1 200 OK|X: a\rb||",
    "HTTP/1.1 200 OK|X: a\0b||",
    "HTTP/1.1 200 OK|X: a| folded||",
    "HTTP/1.1 200 OK|Content-Length : 2||ok",
    "HTTP/1.1 200 OK| Content-Length: 2||ok",
    "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2||ok",
    "HTTP/1.1 200 OK|Content-Length: 2, 2||ok",
    "HTTP/1.1 200 OK|Content-Length: +2||ok",
    "HTTP/1.1 200 OK|Content-Length: 0x2||ok",
    "HTTP/1.1 200 OK|Content-Length:||ok",
    "HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked||ok",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 2||ok",
    "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked||",
    "HTTP/1.1 200 OK|Transfer-Encoding: xchunked||",
    "HTTP/1.0 200 OK|Transfer-Encoding: chunked||0||",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked||x|",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked||1|ab|",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked||1\na|0||",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0||HTTP/1.1 200 OK||",
    "HTTP/1.1 200 OK|Content-Length: 2||okHTTP/1.1 200 OK||",
    "HTTP/1.1 204 No Content|Content-Length: 2||",
    "HTTP/1.1 204 No Content|Transfer-Encoding: chunked||",
    "HTTP/1.1 304 Not Modified||x",
    "HTTP/1.1 101 Switching Protocols||",
]


@pytest.mark.parametrize("text", NONE)
def test_what_could_be_taken_for_something_else_is_an_error(text: str) -> None:
    data = octets(text) + octets("||")
    for cut in (len(data), 1):
        one = answer()
        with pytest.raises(AnswerError):
            feed(one, data, cut)


def test_interim_answers_come_to_those_alone_who_asked() -> None:
    hints = octets("HTTP/1.1 103 Early Hints|Link: x||HTTP/1.1 102 Processing||")
    go_on = octets("HTTP/1.1 100 Continue|X: y||")
    asked = answer("POST", "Content-Length: 1\r\nExpect: 100-continue\r\n")
    assert asked.feed(hints + go_on + go_on) == octets("HTTP/1.1 100 Continue||")
    assert not asked.begun
    assert answer().feed(hints + go_on) == b""


def test_chunks_are_for_those_who_know_them() -> None:
    with pytest.raises(AnswerError):
        answer(version="1.0").feed(octets("HTTP/1.1 200 OK|Transfer-Encoding: chunked||"))


def test_a_head_has_an_end() -> None:
    one = answer()
    with pytest.raises(AnswerError):
        feed(one, b"x" * (LONGEST_HEAD + 1_000), 1_000)


@given(st.sampled_from(WHOLE), st.data())
def test_how_it_is_cut_makes_no_difference(text: str, data: st.DataObject) -> None:
    whole = octets(text)
    one, passed, place = answer(), b"", 0
    while place < len(whole):
        size = data.draw(st.integers(1, 20))
        passed += one.feed(whole[place : place + size])
        place += size
    assert (passed, one.complete) == (whole, True)
