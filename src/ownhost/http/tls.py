"""TLS: the settings and keys of a virtual host's connections, and one such connection as a socket.

OpenSSL does it, through Python's ssl module and the additions in `openssl`.

Sources: RFC 8446 (TLS 1.3), RFC 9325 (recommendations), Python's ssl module.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import socket
import ssl
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ownhost.http import openssl
from ownhost.http.openssl import OpenSSLError

VERSIONS = {  # by Apache's names, oldest first
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_LEFT_OUT = {
    "TLSv1": ssl.OP_NO_TLSv1,
    "TLSv1.1": ssl.OP_NO_TLSv1_1,
    "TLSv1.2": ssl.OP_NO_TLSv1_2,
    "TLSv1.3": ssl.OP_NO_TLSv1_3,
}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}
REVOKED = {"none": 0, "leaf": ssl.VERIFY_CRL_CHECK_LEAF, "chain": ssl.VERIFY_CRL_CHECK_CHAIN}
_DH_PARAMETERS = b"-----BEGIN DH PARAMETERS-----"
_PLAIN = re.compile(r"[ -~]{0,255}")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

# A TLS record with a fatal alert (RFC 8446, section 6), for clients that are refused before
# anything is encrypted.
INTERNAL_ERROR = b"\x15\x03\x01\x00\x02\x02\x50"

MOST_SESSIONS = 1_024  # that a worker remembers for one virtual host
_SIZE = 65_536  # bytes taken at once
_RECEIVE = int(socket.MSG_DONTWAIT)
_SEND = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


@dataclass(frozen=True, slots=True)
class TLSPolicy:
    """How a virtual host speaks TLS: everything except its keys."""

    versions: frozenset[str] = frozenset(("TLSv1.2", "TLSv1.3"))
    ciphers: str = ""  # for TLS 1.2 and older; "" is OpenSSL's choice among those with forward secrecy
    suites: str = ""  # for TLS 1.3
    server_order: bool = False
    commands: tuple[tuple[str, str], ...] = ()  # SSL_CONF_cmd's
    tickets: bool = True
    remembers: bool = False  # sessions without tickets, in a worker's memory
    session_timeout: int = 300  # seconds
    verify: str = "none"  # clients' certificates: "none", "optional" or "require"
    verify_depth: int = 1  # certificates above a client's, including the trusted one; 0: only self-signed ones
    revocation: str = "none"  # which certificates are looked up in revocation lists: "none", "leaf" or "chain"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, with intermediate ones, and its key. In PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """The certificates that a virtual host shows, and those by which it checks clients. In PEM."""

    pairs: tuple[Pair, ...]
    authorities: bytes = b""  # certificates and revocation lists that clients' certificates are checked against
    named_authorities: bytes = b""  # the authorities that clients are told; empty: those above


_FORWARD_SECRET = ("ECDHE-", "DHE-")  # as OpenSSL names ciphers
_AUTHENTICATED = ("-GCM-", "-CCM", "CHACHA20-POLY1305")

_BINARY = ("session_id", "certificate", "server_certificate")
_LONGEST_CHAIN = 16_384  # bytes of the certificates behind a client's: what is told of a connection fits into a message


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """The facts about an encrypted connection. Certificates are DER."""

    protocol: str  # "TLSv1.3"
    cipher: str
    bits: int
    server_name: str  # that the client asked for; "" for none
    resumed: bool
    session_id: bytes = b""
    certificate: bytes = b""  # the client's; b"" where it has none
    server: int = 0  # the id of the virtual host whose key was used
    application_protocol: str = ""  # ALPN's choice
    algorithm_bits: int = 0  # of the cipher; `bits` of them are secret
    secure_renegotiation: bool = False  # whether both sides support RFC 5746
    chain: tuple[bytes, ...] = ()  # the client's intermediate certificates; () if the session was resumed
    server_certificate: bytes = b""  # that the client was shown
    depth: int = -1  # certificates above the client's, including the trusted one; -1: not known (a resumed session)

    @property
    def is_modern(self) -> bool:
        """Whether HTTP/2 may be spoken (RFC 9113, 9.2): its appendix A prohibits all other ciphers of TLS 1.2."""
        if self.protocol == "TLSv1.2":
            return self.cipher.startswith(_FORWARD_SECRET) and any(mode in self.cipher for mode in _AUTHENTICATED)
        return self.protocol == "TLSv1.3"

    def to_text(self) -> str:
        """As text, for another worker of the virtual host."""
        binary = {name: getattr(self, name).hex() for name in _BINARY}
        return json.dumps({**asdict(self), **binary, "chain": [one.hex() for one in self.chain]})

    @classmethod
    def from_text(cls, text: str) -> TLSFacts:
        """The inverse of `to_text`. Raises ValueError: the other worker may be hostile, so every field is checked."""
        try:
            plain = json.loads(text)
            binary = {name: bytes.fromhex(plain[name]) for name in _BINARY}
            facts = cls(**{**plain, **binary, "chain": tuple(map(bytes.fromhex, plain["chain"]))})
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(str(error)) from None
        for name, value in asdict(facts).items():
            if type(value).__name__ != cls.__annotations__[name].partition("[")[0]:
                raise ValueError(f"{name} has the wrong type")
            if isinstance(value, str) and not _PLAIN.fullmatch(value):
                raise ValueError(f"{name} is not plain text")
        return facts


def make_context(
    policy: TLSPolicy, credentials: Credentials, protocols: Sequence[str] = (), ticket_keys: bytes = b""
) -> ssl.SSLContext:
    """A context for a virtual host's connections. `protocols` are offered by ALPN.

    Raises OpenSSLError: one sentence about what does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_versions(context, policy.versions)
    _set_ciphers(context, policy)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if policy.server_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not policy.tickets:
        context.options |= ssl.OP_NO_TICKET
    elif ticket_keys:
        openssl.set_ticket_keys(context, ticket_keys)
    openssl.remember_sessions(context, MOST_SESSIONS if policy.remembers else 0)
    # Each connection returns the session that it took; OpenSSL would make two. With TLS 1.3, a
    # remembered session comes as a ticket, too, which says only where it is.
    context.num_tickets = 1 if policy.tickets or policy.remembers else 0
    openssl.set_session_timeout(context, policy.session_timeout)
    for pair in credentials.pairs:
        load_pair(context, pair)
    if policy.verify != "none":
        _set_verification(context, policy, credentials)  # the intermediate certificates may come from there
    else:
        openssl.send_no_more_than_given(context)
    with about("SSLOpenSSLConfCmd"):
        for command, value in policy.commands:
            openssl.configure(context, command, value)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    context.sni_callback = _note_name
    return context


@contextlib.contextmanager
def about(directive: str) -> Iterator[None]:
    """Errors in this block belong to this directive."""
    try:
        yield
    except OpenSSLError as error:
        error.about = error.about or directive
        raise


def _note_name(connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
    """Keep the name that a client asks for, in the form that a gate chose the virtual host by (its `client_hello`)."""
    connection.asked_name = (name or "").lower().removesuffix(".")


def set_versions(context: ssl.SSLContext, versions: frozenset[str]) -> None:
    """Allow these versions of TLS, and no other."""
    wanted = [name for name in VERSIONS if name in versions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the administrator's setting counts, not Python's
        context.minimum_version, context.maximum_version = VERSIONS[wanted[0]], VERSIONS[wanted[-1]]
        for name in list(VERSIONS)[list(VERSIONS).index(wanted[0]) : list(VERSIONS).index(wanted[-1])]:
            if name not in versions:
                context.options |= _LEFT_OUT[name]


def _set_ciphers(context: ssl.SSLContext, policy: TLSPolicy) -> None:
    # Without forward secrecy, a key that is stolen later decrypts recorded connections (RFC 9325,
    # section 4.1).
    ciphers = policy.ciphers or "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise OpenSSLError(f"OpenSSL knows no cipher in {ciphers!r}", "SSLCipherSuite") from None
    if policy.suites:
        with about("SSLCipherSuite"):
            openssl.set_ciphersuites(context, policy.suites)
    openssl.choose_dh_parameters(context)


@functools.lru_cache(64)
def cipher_names(ciphers: str) -> frozenset[str]:
    """The ciphers of TLS 1.2 and older in a list of OpenSSL's notation; none if it knows none of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        return frozenset()
    return frozenset(one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3")


@contextlib.contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A file name for data in memory, for functions that accept nothing else."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _no_passphrase() -> str:
    raise OpenSSLError("the key has a passphrase, and the server cannot ask for it")


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Give a context a certificate and its key. Raises OpenSSLError."""
    try:
        with as_file(pair.certificate) as certificate, as_file(pair.key) as key:
            context.load_cert_chain(certificate, key, _no_passphrase)
            if _DH_PARAMETERS in pair.certificate:
                context.load_dh_params(certificate)
    except ssl.SSLError as error:
        raise OpenSSLError(_REASONS.get(error.reason or "", f"OpenSSL says {error.reason or error}")) from None


_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "KEY_TYPE_MISMATCH": "the key does not belong to the certificate",
    "NO_CERTIFICATE_ASSIGNED": "the key does not belong to the certificate",  # one is of RSA, the other of ECDSA
    "NO_START_LINE": "it has no certificate, or no key",
    "": "it has no certificate, or no key",  # "[SSL] PEM lib"
    "EE_KEY_TOO_SMALL": "the key is too short for this system's OpenSSL (see its security level)",
    "CA_MD_TOO_WEAK": "the certificate's signature is too weak for this system's OpenSSL (see its security level)",
}


def _set_verification(context: ssl.SSLContext, policy: TLSPolicy, credentials: Credentials) -> None:
    if not credentials.authorities:
        reason = "clients' certificates are asked for, and no SSLCACertificateFile says who may issue them"
        raise OpenSSLError(reason, "SSLVerifyClient")
    context.verify_mode = _VERIFY[policy.verify]
    # OpenSSL counts the certificates between the client's and the trusted one, so it has no depth
    # of 0: `mod_ssl` has.
    openssl.set_verify_depth(context, max(policy.verify_depth - 1, 0))
    if policy.revocation != "none":
        context.verify_flags |= ssl.VerifyFlags(REVOKED[policy.revocation])
    named = credentials.named_authorities or b"\n".join(_CERTIFICATE.findall(credentials.authorities))
    try:
        with as_file(credentials.authorities) as authorities:
            context.load_verify_locations(authorities)
        with as_file(named) as names:
            openssl.configure(context, "ClientCAFile", names)
    except ssl.SSLError as error:
        why = f"the authorities for clients' certificates cannot be used: {error.reason or error}"
        raise OpenSSLError(why, "SSLCACertificateFile") from None


class TLSSocket:
    """A client's connection under TLS, with the socket methods that are used here; it never blocks.

    `recv` raises BlockingIOError while there is no whole record, and returns b"" at the end. Bytes
    go through memory: one system call takes all records that are there, and one sends OpenSSL's
    output.
    """

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_rest",
        "_sent_close_notify",
        "_sock",
        "_taken",
        "_tls",
        "ending",
        "server",
    )

    def __init__(self, context: ssl.SSLContext, sock: socket.SocketType, server: int) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._rest = b""  # encrypted, and not sent yet
        self._taken = 0  # bytes of the data in it
        self._sent_close_notify = False
        self.ending = False  # the next send is the last: the close alert goes with it
        self.server = server  # the id of the virtual host whose key it is

    def fileno(self) -> int:
        """The descriptor, for an event loop; -1 once it is closed."""
        return self._sock.fileno()

    def handshake(self) -> bool:
        """Go on with the handshake.

        Returns whether it is done; else it waits for the client (see `wants_room`). Raises OSError.

        Its last message is sent with the first response, or by `finish`.
        """
        if self._rest:
            self._flush()
        try:
            data = self._sock.recv(_SIZE, _RECEIVE)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._flush()  # OpenSSL's alert
            raise
        return True

    @property
    def wants_room(self) -> bool:
        """Whether the handshake waits for room to send, not for the client's bytes."""
        return bool(self._rest)

    def finish(self) -> None:
        """Send OpenSSL's output other than data: the end of the handshake, if no response has taken
        it along, or an alert.
        """
        if self._outgoing.pending:
            with contextlib.suppress(OSError):  # the next read or write reports it
                self._flush()

    @property
    def asked_name(self) -> str:
        """The name that the client asked for, as the gate's `client_hello` reads it; "" for none."""
        return getattr(self._tls, "asked_name", "")

    @property
    def application_protocol(self) -> str:
        """The result of ALPN; "" for nothing."""
        return self._tls.selected_alpn_protocol() or ""

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """All records that are there, up to `size` bytes, which must be at least one record's. Raises OSError."""
        incoming, read = self._incoming, self._tls.read
        if not incoming.pending:
            encrypted = self._sock.recv(min(size, _SIZE), _RECEIVE)
            if not encrypted:  # OpenSSL is not told: it would forget the session, which many clients want to resume
                return b""
            incoming.write(encrypted)
        try:
            data = read(size)
            while data and incoming.pending:
                try:
                    data += read(size)
                except ssl.SSLWantReadError:  # the beginning of a record
                    break
        except ssl.SSLWantReadError:
            self.finish()
            raise BlockingIOError from None
        except ssl.SSLError:
            self.finish()  # OpenSSL's alert
            raise
        return data

    def send(self, data: bytes | bytearray | memoryview, _flags: int = 0) -> int:
        """Send as much as possible at once. Raises OSError; after BlockingIOError the same data must follow."""
        if not self._rest:
            write, outgoing = self._tls.write, self._outgoing
            size = len(data)
            taken = write(data)
            while taken < size and outgoing.pending < _SIZE:
                taken += write(memoryview(data)[taken:])
            self._taken = taken
            if self.ending and taken == size:
                self._queue_close_notify()
        self._flush()
        if self._rest:
            raise BlockingIOError
        return self._taken

    def _flush(self) -> None:
        """Send encrypted bytes, as far as possible. Raises OSError."""
        rest = self._rest + self._outgoing.read() if self._rest else self._outgoing.read()
        if rest:
            try:
                sent = self._sock.send(rest, _SEND)
            except BlockingIOError:
                sent = 0
            self._rest = rest[sent:]

    def shutdown(self, how: int = socket.SHUT_WR) -> None:
        """Tell the client that nothing more will come. What the client says after that can still be read."""
        self._queue_close_notify()
        with contextlib.suppress(OSError):
            self._flush()
            self._sock.shutdown(how)

    def _queue_close_notify(self) -> None:
        """Append the alert that ends a stream (RFC 8446, 6.1) to the output, once."""
        if not self._sent_close_notify:
            self._sent_close_notify = True
            with contextlib.suppress(OSError):
                self._tls.unwrap()

    def detach(self) -> socket.SocketType:
        """The socket without TLS, for a client that does not speak it."""
        return self._sock

    def close(self) -> None:
        """Tell the client that it is over, and close."""
        if self._sock.fileno() >= 0:
            self._queue_close_notify()
            with contextlib.suppress(OSError):
                self._flush()
            self._sock.close()

    def facts(self) -> TLSFacts:
        """The facts about the connection, after the handshake."""
        tls = self._tls
        cipher, _, bits = tls.cipher() or ("", "", 0)
        details = openssl.details(tls)
        certificate = tls.getpeercert(binary_form=True) or b""
        return TLSFacts(
            protocol=tls.version() or "",
            cipher=cipher,
            bits=bits,
            server_name=self.asked_name,
            resumed=bool(tls.session_reused),
            session_id=details.session_id,
            certificate=certificate,
            server=self.server,
            application_protocol=self.application_protocol,
            algorithm_bits=details.algorithm_bits,
            secure_renegotiation=details.secure_renegotiation,
            chain=_sent_chain(tls) if certificate else (),
            server_certificate=details.certificate,
            depth=_depth(tls) if certificate and not tls.session_reused else -1,
        )


def _depth(tls: ssl.SSLSocket | ssl.SSLObject) -> int:
    return len(tls._sslobj.get_verified_chain() or ()) - 1  # type: ignore[union-attr]


def _sent_chain(tls: ssl.SSLSocket | ssl.SSLObject) -> tuple[bytes, ...]:
    """A client's intermediate certificates, in DER; none if they are too many."""
    import _ssl

    sent = tls._sslobj.get_unverified_chain() or []  # type: ignore[union-attr]
    chain = tuple(bytes(one.public_bytes(_ssl.ENCODING_DER)) for one in sent[1:])
    return chain if sum(map(len, chain)) <= _LONGEST_CHAIN else ()
