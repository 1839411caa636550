"""The error log: LogLevel, ErrorLog's places, ErrorLogFormat, and what a message cannot do to a line."""

from __future__ import annotations

import os
import pickle
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config.directive import ArgumentError, ConfigError, Settings, Source
from ownhost.config.model import Config, VirtualHost
from ownhost.config.reader import read
from ownhost.config.server_name import SERVER_NAME, ServerName
from ownhost.http.message import Head
from ownhost.request.errorformat import DEFAULT, Entry, compile_format, escape
from ownhost.request.errorlog import ERROR_LOG, ERROR_LOG_FORMAT, LOG_LEVEL, ErrorLog, Levels, LogTarget
from ownhost.request.hosts import USE_CANONICAL_NAME
from ownhost.request.request import Endpoints, Level, Request

modules.load()

NOW = 1_700_000_000.25  # 2023-11-14 22:13:20 UTC


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def config(folder: Path, text: str) -> Config:
    (folder / "ownhost.conf").write_text(text)
    return read(str(folder / "ownhost.conf"), environ={}, resolver=lambda _: ["127.0.0.1"])


def levels(folder: Path, text: str) -> Levels:
    return config(folder, f"Listen 80\n{text}\n").main.settings[LOG_LEVEL]


# LogLevel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Level.WARN),
        ("LogLevel emerg", Level.EMERG),
        ("LogLevel ALERT", Level.ALERT),
        ("LogLevel crit", Level.CRIT),
        ("LogLevel error", Level.ERROR),
        ("LogLevel notice", Level.NOTICE),
        ("LogLevel Info", Level.INFO),
        ("LogLevel debug", Level.DEBUG),
        ("LogLevel trace1", Level.TRACE1),
        ("LogLevel trace8", Level.TRACE8),
        ("LogLevel info\nLogLevel debug", Level.DEBUG),
        ("LogLevel rewrite:trace3", Level.WARN),
    ],
)
def test_a_level_for_all(tmp_path: Path, text: str, expected: Level) -> None:
    assert levels(tmp_path, text).of("core") is expected


@pytest.mark.parametrize("name", ["rewrite", "mod_rewrite.c", "rewrite_module", "mod_rewrite", "ReWrite"])
def test_a_level_for_a_module_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    found = levels(tmp_path, f"LogLevel info {name}:trace3")
    assert found.of("rewrite") is Level.TRACE3
    assert found.of("core") is Level.INFO


@pytest.mark.parametrize(
    ("text", "rewrite", "core"),
    [
        ("LogLevel rewrite:emerg", Level.EMERG, Level.WARN),
        ("LogLevel rewrite:debug\nLogLevel info", Level.INFO, Level.INFO),
        ("LogLevel rewrite:debug info", Level.INFO, Level.INFO),
        ("LogLevel info\nLogLevel rewrite:debug", Level.DEBUG, Level.INFO),
        ("LogLevel rewrite:debug\nLogLevel core:error", Level.DEBUG, Level.ERROR),
        ("LogLevel rewrite:debug rewrite:error", Level.ERROR, Level.WARN),
    ],
)
def test_what_is_said_later(tmp_path: Path, text: str, rewrite: Level, core: Level) -> None:
    found = levels(tmp_path, text)
    assert (found.of("rewrite"), found.of("core")) == (rewrite, core)


@pytest.mark.parametrize(
    ("outer", "inner", "rewrite", "core"),
    [
        ("info rewrite:debug", "", Level.DEBUG, Level.INFO),
        ("info", "rewrite:debug", Level.DEBUG, Level.INFO),
        ("info rewrite:debug", "error", Level.ERROR, Level.ERROR),
        ("info rewrite:debug", "core:error", Level.DEBUG, Level.ERROR),
    ],
)
def test_a_virtual_host_over_the_main_server(
    tmp_path: Path, outer: str, inner: str, rewrite: Level, core: Level
) -> None:
    own = f"LogLevel {inner}\n" if inner else ""
    text = f"Listen 80\nLogLevel {outer}\n<VirtualHost *:80>\n{own}</VirtualHost>\n"
    found = config(tmp_path, text).virtual_hosts[0].settings[LOG_LEVEL]
    assert (found.of("rewrite"), found.of("core")) == (rewrite, core)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LogLevel", "expected at least 1 argument, got none"),
        ("LogLevel loud", "expected a level from emerg to debug or trace1 to trace8, not 'loud'"),
        ("LogLevel trace9", "not 'trace9'"),
        ("LogLevel ssl:loud", "not 'loud'"),
        ("LogLevel ssl:", "not ''"),
        ("LogLevel :info", "expected a module in front of the colon in ':info'"),
        ('ErrorLog ""', "expected a file name or |program, not an empty word"),
        ("ErrorLog |", "expected a program after |"),
        ('ErrorLog "|$ "', "expected a program after |"),
        ("ErrorLog syslog", "syslog is not supported yet"),
        ("ErrorLog syslog:local1", "syslog is not supported yet"),
        ("ErrorLog", "expected one argument, got none"),
        ('ErrorLogFormat request "%M"', "ErrorLogFormat request is not supported"),
        ('ErrorLogFormat Connection "%M"', "ErrorLogFormat Connection is not supported"),
        ('ErrorLogFormat other "%M"', "expected connection or request in front of the format, not 'other'"),
        ("ErrorLogFormat", "expected 1 to 2 arguments, got none"),
        ("ErrorLogFormat %t", "expected %M, the message, in the format"),
        ("ErrorLogFormat %q%M", "there is no format code %q (column 1: '%q')"),
        ('ErrorLogFormat "%M %"', "at column 4: '%'"),
        ('ErrorLogFormat "%{a %M"', "at column 1: '%{a %M'"),
        ('ErrorLogFormat "%{x}t %M"', "expected c, u or z in %{...}t, not 'x'"),
        ('ErrorLogFormat "%+{Referer}i %M"', "not for '%+{Referer}i'"),
    ],
)
def test_configuration_errors(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        config(tmp_path, f"Listen 80\n{line}\n")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].source.line == 2


# ErrorLog


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/var/log/error.log", LogTarget("file", "/var/log/error.log")),
        ("logs/error.log", LogTarget("file", "/srv/logs/error.log")),
        ("|/bin/cat -u", LogTarget("pipe", "/bin/cat -u")),
        ("||/bin/cat", LogTarget("pipe", "/bin/cat")),
        ("| cat", LogTarget("pipe", "cat")),
        ("|$cat > /dev/null", LogTarget("shell", "cat > /dev/null")),
    ],
)
def test_places(tmp_path: Path, word: str, expected: LogTarget) -> None:
    found = config(tmp_path, f'ServerRoot /srv\nListen 80\nErrorLog "{word}"\n').main.settings[ERROR_LOG]
    assert pickle.loads(pickle.dumps(found)) == found == expected


# Lines


def server(format_: str = DEFAULT, **settings: Any) -> VirtualHost:
    values: dict[str, Any] = {
        SERVER_NAME.name: ServerName("www.example.org"),
        ERROR_LOG_FORMAT.name: format_,
        **settings,
    }
    return VirtualHost(1, Source("test", 1), (), Settings(values))


def request(**values: str) -> Request:
    head = Head("GET", "/", 1, "other.example.org", "/", None, [], values, keep_alive=True)
    made = Request(head, Endpoints("192.0.2.7", 1234, "192.0.2.1", 80), SimpleNamespace(), NOW, lambda *_: None)  # type: ignore[arg-type]
    made.env, made.notes = {"KEY": "value"}, {"note": "noted"}
    return made


def line(format_: str, of: Request | None = None, made: VirtualHost | None = None, **changes: Any) -> str:
    fields: dict[str, Any] = {"level": Level.ERROR, "module": "core", "message": "it broke", "client": ""}
    entry = Entry(NOW, pid=321, server=server() if made is None else made, request=of, **fields | changes)
    text = compile_format(format_)(entry)
    assert text.endswith("\n")
    return text[:-1]


CLIENT = "192.0.2.7:1234"


def test_the_default_format_is_apaches() -> None:
    stamp = "[Tue Nov 14 23:13:20.250000 2023]"
    assert line(DEFAULT) == f"{stamp} [core:error] [pid 321] it broke"
    assert line(DEFAULT, client=CLIENT) == f"{stamp} [core:error] [pid 321] [client {CLIENT}] it broke"
    assert line(DEFAULT, request(referer="http://a/"), client=CLIENT, module="dir", level=Level.TRACE1) == (
        f"{stamp} [dir:trace1] [pid 321] [client {CLIENT}] it broke, referer: http://a/"
    )


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("%t|%M", "Tue Nov 14 23:13:20 2023|it broke"),
        ("%{u}t|%M", "Tue Nov 14 23:13:20.250000 2023|it broke"),
        ("%{c}t|%M", "2023-11-14 23:13:20|it broke"),
        ("%{cu}t|%M", "2023-11-14 23:13:20.250000|it broke"),
        ("%{uc}t|%M", "2023-11-14 23:13:20.250000|it broke"),
        ("%{cuz}t|%M", "2023-11-14 23:13:20.250000 +0100|it broke"),
        ("%{z}t|%M", "Tue Nov 14 23:13:20 2023 +0100|it broke"),
        ("%m %l %P %M", "core error 321 it broke"),
        ("%a %{c}a %A %M", f"{CLIENT} {CLIENT} 192.0.2.1:80 it broke"),
        ("%v %V %M", "www.example.org other.example.org it broke"),
        ("%{Referer}i %{KEY}e %{note}n %M", "http://a/ value noted it broke"),
        ("%{referer}i %M", "http://a/ it broke"),
        ("%-E %-F %-L %-k %M", "- - - - it broke"),
        ("%%x %% %M", "%x % it broke"),
        (r"a\ b\tc\\d\"e\xf %M", 'a b\tc\\d"e\\xf it broke'),
        ("%M\\", "it broke\\"),
    ],
)
def test_codes(format_: str, expected: str) -> None:
    assert line(format_, request(referer="http://a/"), client=CLIENT) == expected


def test_the_thread() -> None:
    assert line("%T %M") == f"{threading.get_native_id()} it broke"


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("a %{Referer}i b %M", "a b it broke"),
        ("a x%{Referer}i b %M c", "a b it broke c"),
        ("a x%-{Referer}i b %M", "a x- b it broke"),
        ("a x%{Referer}-i %M", "a x- it broke"),
        ("%{Referer}i %M", " it broke"),
        ("%m% %{Referer}i% %M", "coreit broke"),
        ("% x %M", "x it broke"),
        ("  two  %M", "  two  it broke"),
        ("x%{Referer}i%M y %a", "it broke y"),
        ("[%{Referer}i %M] z", " it broke] z"),
        ("%v|%{X}e|%M", "it broke"),
        (r"[client\ %a] %M", " it broke"),
        ("%A %{note}n %E %F %L %k %M", " it broke"),
        ("%5m %4m %3v %2v %M", " www.example.org www.example.org it broke"),
        ("%M %M", "it broke it broke"),
    ],
)
def test_fields_without_a_value_are_left_out(format_: str, expected: str) -> None:
    assert line(format_) == expected


def test_the_name_by_use_canonical_name() -> None:
    canonical = server(**{USE_CANONICAL_NAME.name: True})  # type: ignore[arg-type]
    assert line("%V %M", request(), canonical) == "www.example.org it broke"
    assert line("%V %M", None) == "www.example.org it broke"


def test_a_message_is_never_lost() -> None:
    assert line("%M", message="") == "-"
    assert line("x%{Referer}i%M%{Referer}i", message="m") == "m"


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        ("plain text with 'quotes' and \"quotes\"", "plain text with 'quotes' and \"quotes\""),
        ("one\ntwo\r\n\tthree", r"one\ntwo\r\n\tthree"),
        ("C:\\path", r"C:\\path"),
        ("\x1b[2J\x00\x7f", r"\x1b[2J\x00\x7f"),
        ("\x85\x9b\u2028\u202e", r"\xc2\x85\xc2\x9b\xe2\x80\xa8\xe2\x80\xae"),
        ("straße 日本", "straße 日本"),
        ("\udcff\udc9b", r"\xff\x9b"),
        ("\ud800", r"\x3f"),
    ],
)
def test_escapes(message: str, logged: str) -> None:
    assert escape(message) == logged
    assert line("%M", message=message) == logged
    assert line("%{Referer}i %M", request(referer=message)) == f"{logged} it broke"


anything = st.text(st.characters(exclude_categories=()), max_size=60)


@given(message=anything, value=anything)
def test_nothing_breaks_a_line(message: str, value: str) -> None:
    made = request(referer=value)
    made.env, made.notes, made.head.host = {"KEY": value}, {"note": value}, value
    for format_ in (DEFAULT, "%v %V %{Referer}i %{KEY}e %{note}n %a %A %m %l %M"):
        logged = line(format_, made, message=message, client=CLIENT)
        assert logged.isprintable()
        logged.encode("utf-8")


@given(format_=st.text(st.sampled_from('%-+{}0123456789ctuzmMlPTaAEFvVienkL \\"ä')))
def test_any_format_compiles_or_is_refused(format_: str) -> None:
    try:
        log = compile_format(format_)
    except ArgumentError:
        return
    entry = Entry(NOW, Level.ERROR, "core", 1, server(), "the message", "")
    if not any(char.isdigit() for char in format_):  # numbers hide a field from lower levels
        assert "the message" in log(entry)


# ErrorLog


def logged_by(made: VirtualHost, *messages: tuple[Level, str, str], of: Request | None = None) -> list[str]:
    lines: list[str] = []
    log = ErrorLog(made, lines.append)
    for level, module, message in messages:
        log.log(level, module, message, CLIENT, of)
    return lines


def test_levels_decide_what_is_kept() -> None:
    made = server("%m:%l %M", **{LOG_LEVEL.name: Levels(Level.ERROR, {"rewrite": Level.TRACE2, "dir": Level.EMERG})})
    messages = [(level, module, "x") for module in ("core", "rewrite", "dir") for level in Level]
    kept = [text.split()[0] for text in logged_by(made, *messages)]
    assert kept == [
        *("core:emerg", "core:alert", "core:crit", "core:error", "core:notice"),
        *(f"rewrite:{level.name.lower()}" for level in Level if level <= Level.TRACE2),
        *("dir:emerg", "dir:notice"),
    ]


def test_a_section_may_say_its_own_level() -> None:
    made, of = server("%M"), request()
    assert logged_by(made, (Level.INFO, "core", "quiet"), of=of) == []
    of.settings = Settings({LOG_LEVEL.name: Levels(Level.INFO)})
    assert logged_by(made, (Level.INFO, "core", "said"), of=of) == ["said\n"]


def test_a_line_has_the_process_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    (text,) = logged_by(server(), (Level.ERROR, "core", "it broke"))
    assert text == f"[Tue Nov 14 23:13:20.250000 2023] [core:error] [pid {os.getpid()}] [client {CLIENT}] it broke\n"


def test_the_format_of_a_virtual_host(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        'Listen 80\nErrorLogFormat "%M of all"\n<VirtualHost *:80>\nErrorLogFormat "%M of one"\n</VirtualHost>\n',
    )
    lines = [logged_by(made, (Level.ERROR, "core", "x"))[0] for made in found.servers]
    assert lines == ["x of all\n", "x of one\n"]
