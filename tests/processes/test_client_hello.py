"""A ClientHello as gates look at it: made by OpenSSL, cut into records and pieces in every way, and made up.

Invariant: `look` never raises, says complete only where the whole message is here, and the name that it gives is the
one that OpenSSL reads (or none, and OpenSSL refuses the handshake).
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import Authority
from ownhost.processes.gate.client_hello import ClientHello, is_tls, look

NAMES = ["", "a.test", "www.alice.test", "x" * 63 + ".test", "xn--bcher-kva.example", "under_score.test", "127.test"]
# Python says on standard error what it makes of a name that is no ASCII, and ends the handshake.
quietly = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
MANY_PROTOCOLS = tuple(f"protocol-{number}" for number in range(250))  # what no packet holds, as post-quantum keys do


@cache
def hello(name: str, protocols: tuple[str, ...] = (), version: str = "") -> bytes:
    """What Python's client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version:
        context.maximum_version = ssl.TLSVersion[version]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def message_of(records: bytes) -> bytes:
    """The handshake message in records."""
    message = b""
    while records:
        length = int.from_bytes(records[3:5], "big")
        message, records = message + records[5 : 5 + length], records[5 + length :]
    return message


def in_records(message: bytes, *cuts: int) -> bytes:
    """A handshake message in records that end at `cuts`."""
    places = sorted({0, len(message), *(cut % (len(message) + 1) for cut in cuts)})
    parts = [message[start:end] for start, end in pairwise(places)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@cache
def server_context() -> tuple[ssl.SSLContext, list[str | None]]:
    """A server, and the names that it was asked for."""
    import tempfile

    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*Authority().issue("a.test").files(Path(folder), "a"))
    return context, asked


def as_openssl_reads_it(data: bytes) -> str | None:
    """The name in lower case without the dot at its end; "" for none, None where the handshake is refused."""
    context, asked = server_context()
    asked.clear()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        return (asked[-1] or "").lower().removesuffix(".") if asked else None
    except ssl.SSLError:
        return None
    return None


def with_name(name: bytes) -> bytes:
    """A ClientHello with these bytes as its server name, which no client would send."""
    message = message_of(hello("placeholder.test"))
    old = b"placeholder.test"
    at = message.index(old)
    grown = len(name) - len(old)
    lengths = {at - 2: 2, at - 5: 2, at - 7: 2}  # of the name, of the list, of the extension
    extensions = _extensions_at(message)
    lengths[extensions] = 2
    lengths[1] = 3
    changed = bytearray(message)
    for place, size in lengths.items():
        value = int.from_bytes(message[place : place + size], "big") + grown
        changed[place : place + size] = value.to_bytes(size, "big")
    return in_records(bytes(changed[:at]) + name + bytes(changed[at + len(old) :]))


def _extensions_at(message: bytes) -> int:
    place = 4 + 2 + 32
    place += 1 + message[place]
    place += 2 + int.from_bytes(message[place : place + 2], "big")
    return place + 1 + message[place]


@pytest.mark.parametrize("version", ["", "TLSv1_2"])
@pytest.mark.parametrize("protocols", [(), ("h2", "http/1.1"), MANY_PROTOCOLS])
@pytest.mark.parametrize("name", NAMES)
def test_what_pythons_client_says(name: str, protocols: tuple[str, ...], version: str) -> None:
    data = hello(name, protocols, version)
    if protocols == MANY_PROTOCOLS:
        assert len(data) > 1_500
    assert is_tls(data)
    assert look(data) == ClientHello(True, name)
    assert as_openssl_reads_it(data) == name


@pytest.mark.parametrize(
    "arguments", [["-servername", "Alice.Test"], ["-noservername"], ["-tls1_2", "-servername", "a.b"]]
)
def test_what_s_client_says(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen(
            ["openssl", "s_client", "-connect", where, *arguments], stdin=subprocess.DEVNULL, stdout=-3, stderr=-3
        ):
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                data = b""
                while not look(data).complete:
                    data += client.recv(65536)
    named = arguments[-1].lower() if "-servername" in arguments else ""
    assert look(data).host == named == as_openssl_reads_it(data)


@pytest.mark.parametrize("protocols", [(), MANY_PROTOCOLS])
def test_cut_short_anywhere_it_is_incomplete(protocols: tuple[str, ...]) -> None:
    data = hello("alice.test", protocols)
    for size in range(len(data)):
        assert look(data[:size]) == ClientHello(False, ""), size
        assert look(data[:size], cut=True) == ClientHello(True, ""), size
        assert is_tls(data[:size]) == (size > 0)
    assert look(data) == ClientHello(True, "alice.test")
    assert look(data + b"\x17more") == ClientHello(True, "alice.test"), "what follows does not matter"


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 5_000), max_size=12), st.sampled_from([(), MANY_PROTOCOLS]))
def test_in_records_of_any_size(name: str, cuts: list[int], protocols: tuple[str, ...]) -> None:
    data = in_records(message_of(hello(name, protocols)), *cuts)
    assert look(data) == ClientHello(True, name)
    assert as_openssl_reads_it(data) == name


@given(st.lists(st.integers(0, 600), max_size=6), st.data())
def test_in_records_and_cut_short(cuts: list[int], draw: st.DataObject) -> None:
    data = in_records(message_of(hello("alice.test")), *cuts)
    assert look(data[: draw.draw(st.integers(0, len(data) - 1))]) == ClientHello(False, "")


def test_a_record_for_each_byte() -> None:
    message = message_of(hello("alice.test"))
    assert look(in_records(message, *range(len(message)))) == ClientHello(True, "alice.test")


@given(st.binary(max_size=400))
def test_garbage_never_raises(data: bytes) -> None:
    for start in (b"", b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c\x03\x03"):
        found = look(start + data)
        assert look(start + data, cut=True).complete
        assert found.complete or not found.host


@quietly
@given(st.data())
def test_a_changed_byte_gives_openssls_name_or_a_handshake_that_fails(draw: st.DataObject) -> None:
    data = bytearray(hello("alice.test"))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    theirs = as_openssl_reads_it(bytes(data))
    if theirs is not None:
        # OpenSSL takes control characters for part of a name, which is no host's then.
        assert look(bytes(data)) == ClientHello(True, theirs if all("!" <= c <= "~" for c in theirs) else "")


@quietly
@given(st.binary(min_size=1, max_size=300))
def test_any_name_is_openssls_or_the_handshake_fails(name: bytes) -> None:
    data = with_name(name)
    found = look(data)
    assert found.complete
    theirs = as_openssl_reads_it(data)
    # Where OpenSSL takes a name that is none, the worker sees that they differ, and ends the connection.
    assert theirs is None or found.host in (theirs, "")
    assert all("!" <= letter <= "~" for letter in found.host)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (b"Alice.TEST", "alice.test"),
        (b"alice.test.", "alice.test"),
        (b"alice.test..", "alice.test."),
        (b"alice.test\0bob.test", ""),
        (b"a\0\x30\0\0\0", ""),
        (b"a b", ""),
        (b"\xc3\xa4.test", ""),
        (b"x" * 255, "x" * 255),
        (b"x" * 256, ""),
    ],
)
def test_names(name: bytes, host: str) -> None:
    assert look(with_name(name)) == ClientHello(True, host)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"\x17\x03\x03\x00\x05hello",
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x40\x01" + bytes(0x4001),  # longer than a record may be
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x80\x2e\x01\x03\x01",  # SSL 2
    ],
)
def test_what_is_no_client_hello_has_no_name_and_is_complete(data: bytes) -> None:
    assert look(data) == ClientHello(True, "")


def test_is_tls() -> None:
    assert not is_tls(b"")
    assert is_tls(b"\x16")
    assert not is_tls(b"GET")
    assert not is_tls(b"\x16\x02")
