"""LogFormat: every format code, conditions, escapes and errors; expectations were compared with Apache 2.4."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError, Settings, Source
from ownhost.config.model import ListenAddress, VirtualHost
from ownhost.config.server_name import SERVER_NAME, ServerName
from ownhost.http.message import Head, Response
from ownhost.modules.logformat import compile_format, escape, escape_name
from ownhost.request.exchange import Exchange
from ownhost.request.hosts import USE_CANONICAL_NAME
from ownhost.request.request import Endpoints, Request

STARTED = 1_700_000_000.123456  # 2023-11-14 22:13:20 UTC
ENDPOINTS = Endpoints("192.0.2.7", 40_123, "192.0.2.1", 8080)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def server(name: str = "www.example.org", port: int = 0, address_port: int = 0, **settings: Any) -> VirtualHost:
    values: dict[str, Any] = {SERVER_NAME.name: ServerName(name, port), **settings}
    addresses = (ListenAddress("", address_port),) if address_port else ()
    return VirtualHost(1, Source("test", 1), addresses, Settings(values))


def request(**changes: Any) -> Request:
    fields = [("Host", "WWW.example.org"), ("Referer", "http://else.where/"), ("Cookie", "a=1; c = q ; d=x=y; e")]
    head = Head(
        method="GET",
        target="/a%20b?x=1",
        minor=1,
        host="www.example.org",
        path="/a%20b",
        query="x=1",
        fields=fields,
        values={name.lower(): value for name, value in fields},
        keep_alive=True,
    )
    head_changes = {key: changes.pop(key) for key in list(changes) if key in ("method", "minor", "host", "values")}
    if "values" in head_changes:
        head_changes["values"] = head.values | head_changes["values"]
    for key, value in head_changes.items():
        setattr(head, key, value)
    made = Request(head, ENDPOINTS, SimpleNamespace(settings=Settings()), STARTED, lambda *_: None)  # type: ignore[arg-type]
    made.uri, made.query, made.filename = "/a b", "x=1", "/srv/www/a b"
    made.env, made.notes = {"KEY": "value"}, {"note": "noted"}
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def exchange(request_: Request | None = None, **changes: Any) -> Exchange:
    made = Exchange(
        request=request() if request_ is None else request_,
        response=Response(200),
        endpoints=ENDPOINTS,
        request_line="GET /a%20b?x=1 HTTP/1.1",
        started=STARTED,
        duration=1.234567,
        first_status=404,
        body_bytes=2326,
        bytes_in=311,
        bytes_out=2600,
        keep_alive_requests=3,
        kept_alive=True,
        aborted=False,
        head_sent=(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nVary: Accept\r\n"
            b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Colon: a: b\r\n\r\n"
        ),
    )
    return dataclasses.replace(made, **changes)


def no_request(**changes: Any) -> Exchange:
    """What a 400 for something that is no request leaves."""
    return dataclasses.replace(
        exchange(), request=None, request_line="rubbish", first_status=400, response=Response(400), **changes
    )


def line(format_: str, of: Exchange | None = None, server_: VirtualHost | None = None) -> str:
    text = compile_format(format_, server() if server_ is None else server_)(exchange() if of is None else of)
    assert text.endswith("\n")
    return text[:-1]


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("%%", "%"),
        ("100%% %%h", "100% %h"),
        ("%a %{c}a", "192.0.2.7 192.0.2.7"),
        ("%A", "192.0.2.1"),
        ("%B %b", "2326 2326"),
        ("%{c}C %{a}C %{d}C", "q 1 x=y"),
        ("%{none}C %{e}C %C", "- - -"),
        ("%D", "1234567"),
        ("%{KEY}e %{NONE}e %e", "value - -"),
        ("%f", "/srv/www/a b"),
        ("%h", "192.0.2.7"),
        ("%H", "HTTP/1.1"),
        ("%{Host}i %{rEFERER}i", "WWW.example.org http://else.where/"),
        ("%{User-Agent}i %i %{}i", "- - -"),
        ("%k", "3"),
        ("%l", "-"),
        ("%L", "-"),
        ("%m", "GET"),
        ("%{note}n %{none}n", "noted -"),
        ("%{Vary}o %{vary}o %{None}o", "Accept Accept -"),
        ("%{Content-Type}o", "text/html"),
        ("%{Set-Cookie}o", "a=1, b=2"),
        ("%{X-Colon}o", "a: b"),
        ("%p", "8080"),
        ("%{canonical}p %{local}p %{remote}p", "8080 8080 40123"),
        ("%q", "?x=1"),
        ("%r", "GET /a%20b?x=1 HTTP/1.1"),
        ("%R", "-"),
        ("%s %<s %>s", "404 404 200"),
        ("%t %{}t", "[14/Nov/2023:23:13:20 +0100] [14/Nov/2023:23:13:20 +0100]"),
        ("%{%Y-%m-%d %H:%M:%S}t", "2023-11-14 23:13:20"),
        ("%{begin:%M}t %{end:%S}t", "13 21"),
        ("%{begin:}t %{end:}t", "[14/Nov/2023:23:13:20 +0100] [14/Nov/2023:23:13:21 +0100]"),
        ("%{sec}t %{msec}t %{usec}t", "1700000000 1700000000123 1700000000123456"),
        ("%{msec_frac}t %{usec_frac}t", "123 123456"),
        ("%{end:sec}t %{end:msec_frac}t", "1700000001 358"),
        ("%T %{s}T %{ms}T %{us}T", "1 1 1234 1234567"),
        ("%u", "-"),
        ("%U", "/a b"),
        ("%v", "www.example.org"),
        ("%V", "www.example.org"),
        ("%X", "+"),
        ("%I %O %S", "311 2600 2911"),
        ("%^FB %{x}^ti %{x}^to", "- - -"),
        ("%{SSL_PROTOCOL}x", "-"),
        ("", ""),
        ("no codes at all", "no codes at all"),
        (r"a\tb\\c\"d\x", 'a\tb\\c"d\\x'),
        (r"one\ntwo\r", "one\ntwo\r"),
        ("tail\\", "tail\\"),
        ("%h,%l;%u", "192.0.2.7,-;-"),
        ("ümlaut %h", "ümlaut 192.0.2.7"),
    ],
)
def test_codes(format_: str, expected: str) -> None:
    assert line(format_) == expected


def test_the_process() -> None:
    pid = os.getpid()
    assert line("%P %{pid}P %{tid}P %{hextid}P") == f"{pid} {pid} {pid} {pid:x}"


def test_combined() -> None:
    combined = r"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""
    assert line(combined) == (
        '192.0.2.7 - - [14/Nov/2023:23:13:20 +0100] "GET /a%20b?x=1 HTTP/1.1" 200 2600 "http://else.where/" "-"'
    )


@pytest.mark.parametrize(
    ("format_", "changes", "expected"),
    [
        ("%b %B", {"body_bytes": 0}, "- 0"),
        ("%X", {"kept_alive": False}, "-"),
        ("%X", {"kept_alive": False, "aborted": True}, "X"),
        ("%r", {"request_line": ""}, "-"),
        ("%T %D", {"duration": 0.0}, "0 0"),
        ("%{X}o", {"head_sent": b""}, "-"),
        ("%{X}o %{Y}o", {"head_sent": b"HTTP/1.1 200 OK\r\nX: \r\nY: 1\r\n\r\n"}, " 1"),
    ],
)
def test_codes_by_what_happened(format_: str, changes: dict[str, Any], expected: str) -> None:
    assert line(format_, exchange(**changes)) == expected


@pytest.mark.parametrize(
    ("format_", "changes", "expected"),
    [
        ("%q", {"query": None}, ""),
        ("%q", {"query": ""}, "?"),
        ("%f", {"filename": ""}, "-"),
        ("%R", {"handler": "cgi-script"}, "cgi-script"),
        ("%u", {"user": "alice"}, "alice"),
        ("%u", {"user": ""}, '""'),
        ("%m %H", {"method": "PROPFIND", "minor": 0}, "PROPFIND HTTP/1.0"),
        ("%U", {"uri": ""}, "/a%20b"),
        ("%{Referer}i", {"values": {"referer": ""}}, ""),
        ("%V", {"host": ""}, "www.example.org"),
        ("%V", {"host": "other.example.org"}, "other.example.org"),
    ],
)
def test_codes_by_request(format_: str, changes: dict[str, Any], expected: str) -> None:
    assert line(format_, exchange(request(**changes))) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (server(), "www.example.org www.example.org 8080"),
        (server(port=443), "www.example.org www.example.org 443"),
        (server(address_port=81), "www.example.org www.example.org 81"),
        (server(port=82, address_port=81), "www.example.org www.example.org 82"),
        (server(name=""), "192.0.2.1 www.example.org 8080"),
        (server(name="canonical.test", **{USE_CANONICAL_NAME.name: True}), "canonical.test canonical.test 8080"),
    ],
)
def test_names_and_ports_of_the_server(made: VirtualHost, expected: str) -> None:
    assert line("%v %V %p", server_=made) == expected


def test_what_is_no_request_still_has_a_line() -> None:
    assert line('%v:%p %h %u %t "%r" %>s %b', no_request()) == (
        'www.example.org:8080 192.0.2.7 - [14/Nov/2023:23:13:20 +0100] "rubbish" 400 2326'
    )
    assert line("%m %U %q %f %H %R %V %{Host}i %{KEY}e %{note}n %{c}C", no_request()) == (
        "- - - - - - www.example.org - - - -"
    )


@pytest.mark.parametrize(
    ("format_", "status", "expected"),
    [
        ("%400,501{Referer}i", 400, "http://else.where/"),
        ("%400,501{Referer}i", 501, "http://else.where/"),
        ("%400,501{Referer}i", 200, "-"),
        ("%!200,304,302{Referer}i", 200, "-"),
        ("%!200,304,302{Referer}i", 500, "http://else.where/"),
        ("%200>s", 200, "200"),
        ("%>200s", 200, "200"),
        ("%200{Referer}>i", 200, "http://else.where/"),
        ("%!404T", 404, "-"),
    ],
)
def test_conditions_look_at_the_final_status(format_: str, status: int, expected: str) -> None:
    assert line(format_, exchange(response=Response(status))) == expected


@pytest.mark.parametrize(
    ("format_", "message"),
    [
        ("%z", "there is no format code %z (column 1: '%z')"),
        ("%h %g", "there is no format code %g (column 4: '%g')"),
        ("%{x}J", "there is no format code %J"),
        ("%", "expected a format code such as %h"),
        ("%h %", "at column 4: '%'"),
        ("100% sure", "at column 4: '% sure'"),
        ("%{Referer", "a { without } at column 1"),
        ("%{Referer}", "expected a format code"),
        ("%4s", "expected a format code"),
        ("%!s", "expected a format code"),
        ("%200%", "expected a format code"),
        ("%^xx", "expected a format code"),
        ("%{min}T", "expected ms, us or s in %{...}T, not 'min'"),
        ("%{x}a", "expected nothing or c in %{...}a, not 'x'"),
        ("%{x}p", "expected canonical, local or remote in %{...}p, not 'x'"),
        ("%{x}P", "expected pid, tid or hextid in %{...}P, not 'x'"),
    ],
)
def test_errors(format_: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        compile_format(format_)


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        ("plain text", "plain text"),
        ('quo"te\\ba\tck', r"quo\"te\\ba\tck"),
        ("\r\n127.0.0.1 - root", r"\r\n127.0.0.1 - root"),
        ("\x00\x01\x1b[2J\x7f", r"\x00\x01\x1b[2J\x7f"),
        ("\b\v\f", r"\b\v\f"),
        ("\xc3\xa9\xff", r"\xc3\xa9\xff"),
        ("\x85\x9b", r"\x85\x9b"),
        ("%s %h", "%s %h"),
    ],
)
def test_what_a_client_sent_is_escaped(sent: str, logged: str) -> None:
    assert escape(sent) == logged
    assert line("%{Referer}i", exchange(request(values={"referer": sent}))) == logged
    assert line("%r", exchange(request_line=sent)) == logged


def test_names_are_shown_as_their_bytes() -> None:
    assert escape_name("/é\udcff\u2028") == r"/\xc3\xa9\xff\xe2\x80\xa8"
    assert line("%f %U", exchange(request(filename="/srv/é", uri="/é"))) == r"/srv/\xc3\xa9 /\xc3\xa9"
    assert escape_name("\ud800") == "?"
    assert escape("\u2028é") == r"\xe2\x80\xa8\xc3\xa9"
    assert line("%R", exchange(request(handler='a"\nb'))) == r"a\"\nb"


ALL_CODES = (
    '%a %A %B %b %{x}C %D %{x}e %f %h %H %{x}i %k %l %L %m %{x}n %{X}o %p %P %q "%r" %R %s %>s %t %T %u %U %v %V %X '
    "%I %O %S %400,501{x}i %!200{x}i %{x}^ti %^FB %{x}x"
)
anything = st.text(st.characters(max_codepoint=0x10FFFF, exclude_categories=()), max_size=40)
wire = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))


@given(text=anything, sent=wire, status=st.integers(100, 599))
def test_no_content_ever_breaks_a_line_or_a_quoted_field(text: str, sent: str, status: int) -> None:
    made = request(
        method=sent,
        host=sent,
        values={"x": sent, "cookie": f"x={sent}"},
        query=sent,
        uri=text,
        filename=text,
        handler=text,
        env={"x": text},
        user=text,
        notes={"x": text},
    )
    made.head.path = sent
    of = exchange(
        made,
        request_line=sent,
        response=Response(status),
        head_sent=b"HTTP/1.1 200 OK\r\nX: " + sent.encode("latin-1") + b"\r\n\r\n",
    )
    logged = line(ALL_CODES, of, server(name=text))
    assert logged.isascii()
    assert logged.isprintable()
    # The only quotes that are not escaped are the format's own; %u's are where there is no user's name.
    bare = re.sub(r"\\.", "", logged)
    assert bare.count('"') == (4 if text == "" else 2)


@given(format_=st.text(st.sampled_from('%<>!,0123456789{}^tiohrsTPpaxzFB\\"n ä\udcff')))
def test_any_format_compiles_or_is_refused(format_: str) -> None:
    try:
        log = compile_format(format_)
    except ArgumentError:
        return
    assert log(exchange()).endswith("\n")
    assert log(no_request()).endswith("\n")
