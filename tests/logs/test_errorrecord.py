"""What a sender says to the logger: records survive the way, nothing else is one, and no record breaks a line."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config.directive import Settings, Source
from ownhost.config.model import VirtualHost
from ownhost.config.server_name import SERVER_NAME, ServerName
from ownhost.http.message import Head
from ownhost.request.errorformat import DEFAULT, Entry, Format
from ownhost.request.errorlog import ERROR_LOG_FORMAT, ErrorLog
from ownhost.request.errorrecord import LONGEST, MOST, Record, RecordError, decode, entry_of
from ownhost.request.hosts import USE_CANONICAL_NAME
from ownhost.request.request import Endpoints, Level, Request

modules.load()

NOW = 1_700_000_000.25
CLIENT = "192.0.2.7:1234"
anything = st.text(st.characters(exclude_categories=()), max_size=60)


def server(format_: str = DEFAULT, **settings: Any) -> VirtualHost:
    values = {SERVER_NAME.name: ServerName("www.example.org"), ERROR_LOG_FORMAT.name: format_, **settings}
    return VirtualHost(3, Source("test", 1), (), Settings(values))


def request(host: str = "other.example.org", **values: str) -> Request:
    head = Head("GET", "/", 1, host, "/", None, [], values, keep_alive=True)
    made = Request(head, Endpoints("192.0.2.7", 1234, "192.0.2.1", 80), SimpleNamespace(), NOW, lambda *_: None)  # type: ignore[arg-type]
    made.env, made.notes = {"KEY": "value"}, {"note": "noted"}
    return made


def sent(made: VirtualHost, of: Request | None, message: str = "it broke") -> Record:
    """What arrives of a message that a process logs to a shared log."""
    lines: list[str] = []
    ErrorLog(made, lines.append, shared=True).log(Level.ERROR, "core", message, CLIENT, of)
    return decode(lines[0].encode("ascii"))


@pytest.mark.parametrize(
    "format_", [DEFAULT, "%v %V %{Referer}i %{KEY}e %{note}n %a %A %m %l %M", "%{X}i|%M", "%3v %M"]
)
@pytest.mark.parametrize("of", [None, request(referer="http://a/\n\\")])
@pytest.mark.parametrize("canonical", [False, True])
def test_a_line_is_the_same_whoever_makes_it(format_: str, of: Request | None, canonical: bool) -> None:
    made = server(format_, **{USE_CANONICAL_NAME.name: canonical})
    entry = Entry(NOW, Level.ERROR, "core", 77, made, "it\tbroke", CLIENT, of)
    record = sent(made, of, "it\tbroke")
    assert Format(format_).line(entry_of(record, NOW, 77, made)) == Format(format_).line(entry)


def test_the_name_that_use_canonical_name_means_is_not_the_senders_to_say() -> None:
    made = server("%V %M", **{USE_CANONICAL_NAME.name: True})
    record = Record(3, Level.ERROR, "core", "", "m", ("bank.example",))
    assert Format("%V %M").line(entry_of(record, NOW, 1, made)) == "www.example.org m\n"


@given(message=anything, value=anything)
def test_nothing_breaks_a_line(message: str, value: str) -> None:
    made = server()
    record = sent(made, request(referer=value), message)
    line = Format(DEFAULT).line(entry_of(record, NOW, 1, made))
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("message", ["x" * 1_000_000, "\x00" * 100_000, "\U0001f40e" * 50_000])
def test_a_record_has_a_longest_length(message: str) -> None:
    found = sent(server(), request(referer="\x01" * 100_000), message)
    assert 1_000 < len(found.message) <= LONGEST
    assert len(found.encode()) <= MOST


GOOD = [3, 3, "core", CLIENT, "m", []]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[Sat Nov 28 22:30:00 2026] [core:crit] [pid 1] [client 203.0.113.7:4711] forged",
        b"{}",
        b"[]",
        b"1",
        b"[" * 20_000,
        b"[1" + b"0" * 10_000 + b"]",
        b"\xff",
        *(
            json.dumps([*GOOD[:place], wrong, *GOOD[place + 1 :]]).encode()
            for place, wrong in [
                (0, "3"),
                (0, True),
                (0, None),
                (1, 99),
                (1, "error"),
                (2, "core] [x"),
                (2, ""),
                (2, None),
                (3, "1.2.3.4] x"),
                (3, "a b"),
                (3, 1),
                (4, 1),
                (5, "text"),
                (5, ["a\nb"]),
                (5, ["\x1b[2J"]),
                (5, [1]),
            ]
        ),
        json.dumps([*GOOD, 1]).encode(),
        json.dumps(GOOD[:5]).encode(),
    ],
)
def test_nothing_else_is_a_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


@given(st.binary(max_size=200))
def test_bytes_are_a_record_or_an_error(data: bytes) -> None:
    try:
        record = decode(data)
    except RecordError:
        return
    assert decode(record.encode().encode()) == record
