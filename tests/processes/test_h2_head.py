"""Field sections of HTTP/2: what becomes a request, what is refused with a response, what is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.head import parse_head
from ownhost.http.limits import HeadLimits
from ownhost.http.message import HTTPError, Response
from ownhost.processes.worker.h2_head import Malformed, RawFields, read_head, refused_head, response_fields

LIMITS = HeadLimits(line=100, fields=10, field_size=200, total=1_000)
USUAL = ((":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "Site.test:8443"))
Fields = tuple[tuple[str, str], ...]


def raw(fields: Fields) -> RawFields:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def changed(name: str, value: str | None) -> Fields:
    """The usual request with one pseudo-header field changed, or left out."""
    return tuple((said, value if said == name else old) for said, old in USUAL if said != name or value is not None)  # type: ignore[misc]


def test_a_request() -> None:
    head = read_head(raw((*USUAL, ("accept", "a"), ("accept", "b"))), LIMITS, ended=True)
    assert (head.method, head.target, head.path, head.query) == ("GET", "/a?b", "/a", "b")
    assert (head.host, head.host_port, head.protocol) == ("site.test", 8443, "HTTP/2.0")
    assert head.values == {"host": "Site.test:8443", "accept": "a, b"}
    assert list(head.fields) == [("host", "Site.test:8443"), ("accept", "a"), ("accept", "b")]
    assert not head.has_body


def test_bodies() -> None:
    assert read_head(raw(USUAL), LIMITS, ended=False).has_body
    head = read_head(raw((*USUAL, ("content-length", "5"))), LIMITS, ended=False)
    assert (head.has_body, head.content_length, head.chunked) == (True, 5, False)
    assert not read_head(raw((*USUAL, ("content-length", "0"))), LIMITS, ended=True).has_body


def test_expect() -> None:
    head = read_head(raw((*USUAL, ("expect", "100-Continue"))), LIMITS, ended=False)
    assert head.expect_continue
    assert not read_head(raw((*USUAL, ("expect", "100-continue"))), LIMITS, ended=True).expect_continue


def test_cookies_are_put_together() -> None:
    head = read_head(raw((*USUAL, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"))), LIMITS, ended=True)
    assert head.values["cookie"] == "a=1; b=2"
    assert [value for name, value in head.fields if name == "cookie"] == ["a=1; b=2"]


def test_host_in_the_place_of_authority() -> None:
    head = read_head(raw((*changed(":authority", None), ("host", "site.test"))), LIMITS, ended=True)
    assert (head.host, head.values["host"]) == ("site.test", "site.test")


def test_host_beside_the_same_authority() -> None:
    head = read_head(raw((*USUAL, ("host", "site.TEST:8443"))), LIMITS, ended=True)
    assert [value for name, value in head.fields if name == "host"] == ["site.TEST:8443"]


def test_the_same_fields_for_two_hosts() -> None:
    fields = (("user-agent", "the same"),)
    for name in ("one.test", "two.test"):
        head = read_head(raw((*changed(":authority", name), *fields)), LIMITS, ended=True)
        assert (head.host, head.values["host"]) == (name, name)


def test_options_of_everything() -> None:
    fields = ((":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), (":authority", "site.test"))
    assert read_head(raw(fields), LIMITS, ended=True).path == "*"


MALFORMED: tuple[Fields, ...] = (
    *(changed(name, None) for name in (":method", ":scheme", ":path")),
    changed(":path", ""),
    changed(":path", "/a\r\nx: y"),
    changed(":path", "/a\0"),
    changed(":path", " /a"),
    changed(":method", "GE T"),
    changed(":method", ""),
    changed(":scheme", "ftp"),
    (*USUAL, (":path", "/twice")),
    (*USUAL, (":status", "200")),
    (*USUAL, (":protocol", "websocket")),
    (*USUAL, ("", "x")),
    (*USUAL, (":", "x")),
    (("x", "first"), *USUAL),
    (*USUAL[:3], ("x", "between"), USUAL[3]),
    (*USUAL, ("Accept", "upper case")),
    (*USUAL, ("a b", "x")),
    (*USUAL, ("a\n", "x")),
    (*USUAL, ("a:", "x")),
    (*USUAL, ("\xe4", "x")),
    (*USUAL, ("a", "x\r\ny")),
    (*USUAL, ("a", "x\ny")),
    (*USUAL, ("a", "x\0")),
    (*USUAL, ("a", " x")),
    (*USUAL, ("a", "x\t")),
    (*USUAL, ("connection", "close")),
    (*USUAL, ("proxy-connection", "close")),
    (*USUAL, ("keep-alive", "5")),
    (*USUAL, ("transfer-encoding", "chunked")),
    (*USUAL, ("upgrade", "websocket")),
    (*USUAL, ("te", "gzip")),
    (*USUAL, ("host", "other.test")),
    (*USUAL, ("host", "site.test:8443"), ("host", "site.test:8443")),
    (*USUAL, ("content-length", "5")),  # and no body
    (*USUAL, ("content-length", "-1")),
    (*USUAL, ("content-length", "+5")),
    (*USUAL, ("content-length", "0"), ("content-length", "0")),
    ((":method", "CONNECT"), *USUAL[1:]),
)


@pytest.mark.parametrize("fields", MALFORMED, ids=repr)
def test_malformed(fields: Fields) -> None:
    with pytest.raises(Malformed):
        read_head(raw(fields), LIMITS, ended=True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (changed(":authority", None), 400),
        (changed(":authority", ""), 400),
        (changed(":authority", "user@site.test"), 400),
        (changed(":authority", "a b"), 400),
        (changed(":authority", "0x7f.1"), 400),
        (changed(":authority", "127.01.0.1:8443"), 400),
        (changed(":path", "no-slash"), 400),
        (changed(":path", "https://site.test/"), 400),
        (changed(":path", "*"), 400),
        (changed(":path", "/a#b"), 400),
        (changed(":path", "/a b"), 400),
        (((":method", "CONNECT"), (":authority", "site.test:443")), 405),
        (changed(":path", "/" + "a" * 100), 414),
        ((*USUAL, *((f"x{number}", "") for number in range(11))), 431),
        ((*USUAL, ("x", "a" * 200)), 431),
        ((*USUAL, *((f"x{number}", "a" * 150) for number in range(7))), 431),
        ((*USUAL, ("expect", "a miracle")), 417),
    ],
    ids=repr,
)
def test_refused(fields: Fields, status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        read_head(raw(fields), LIMITS, ended=True)
    assert caught.value.status == status


@pytest.mark.parametrize("target", ["//other.test/a", "/%00", "/a/../b", "/\xe4", "/a?b?c"])
def test_a_target_means_what_it_means_in_http1(target: str) -> None:
    one = parse_head(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode("latin-1"), LIMITS)
    two = read_head(raw(changed(":path", target)), LIMITS, ended=True)
    assert (one.path, one.query) == (two.path, two.query)


TEXT = st.binary(max_size=12)
ANY = st.lists(
    st.one_of(
        st.sampled_from(raw(USUAL)),
        st.tuples(st.sampled_from((b":path", b"host", b"te", b"cookie", b"content-length", b"x")), TEXT),
        st.tuples(TEXT, TEXT),
    ),
    max_size=8,
)


@given(ANY, st.booleans())
def test_whatever_comes_is_a_head_or_one_of_two_errors(fields: RawFields, ended: bool) -> None:
    try:
        head = read_head(fields, LIMITS, ended=ended)
    except HTTPError:
        refused_head(fields)
        return
    except Malformed:
        return
    said = "".join(name + value for name, value in head.fields) + head.target + head.method
    assert not set(said) & {"\r", "\n", "\0"}
    assert head.host
    assert not set(head.values) & {"connection", "transfer-encoding", "upgrade", "keep-alive"}


def fields_of(*headers: tuple[str, str], status: int = 200, body: bytes = b"abc") -> list[tuple[bytes, bytes]]:
    return response_fields(Response(status, list(headers), body), "Ownhost")


def test_a_response() -> None:
    fields = fields_of(("Content-Type", "text/html"), ("X-Two", "a"), ("X-Two", "b"))
    assert fields[:-1] == [
        (b":status", b"200"),
        (b"server", b"Ownhost"),
        (b"content-type", b"text/html"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
        (b"content-length", b"3"),
    ]
    assert fields[-1][0] == b"date"
    assert fields[-1][1].endswith(b" GMT")


def test_a_response_has_nothing_of_http1() -> None:
    fields = fields_of(
        ("Connection", "close, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "1"), ("Transfer-Encoding", "chunked")
    )
    assert [name for name, _ in fields] == [b":status", b"server", b"content-length", b"date"]


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_has_no_body_has_no_length(status: int) -> None:
    assert b"content-length" not in dict(fields_of(status=status, body=b""))


def test_a_program_cannot_break_the_response() -> None:
    fields = dict(fields_of(("X-Bad", " a\r\nset-cookie: x\0 "), ("bad name", "x"), ("", "x"), (":status", "100")))
    assert fields[b"x-bad"] == b"a  set-cookie: x"
    assert set(fields) == {b":status", b"server", b"x-bad", b"content-length", b"date"}
    assert fields[b":status"] == b"200"
