"""What Python's ssl module leaves out of the OpenSSL that it runs on, called by its C names.

The module is linked to OpenSSL's libssl, and each of its contexts holds an SSL_CTX. Nothing is
copied or replaced: these are calls on the module's own context, of functions that OpenSSL
documents.

Sources: OpenSSL's manual pages SSL_CTX_ctrl(3), SSL_CTX_set_ciphersuites(3),
SSL_CTX_set_timeout(3), SSL_CTX_set_verify(3), SSL_CONF_cmd(3), SSL_CTX_set_tlsext_ticket_key_cb(3),
SSL_get_session(3), SSL_get_certificate(3), SSL_get_secure_renegotiation_support(3), d2i_X509(3),
X509_STORE_CTX_get_error(3), SSL_CTX_set_cert_cb(3), SSL_get_client_CA_list(3),
SSL_CTX_add1_chain_cert(3); ssl.h for the numbers of SSL_CTX_ctrl's and SSL_ctrl's commands.
"""

from __future__ import annotations

import ctypes
import functools
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, finalize

TICKET_KEY_SIZE = 80  # bytes: a name, an HMAC key, an AES key

# SSL_CTX_ctrl's commands (ssl.h).
_MODE = 33
_NO_AUTO_CHAIN = 0x8  # SSL_MODE_NO_AUTO_CHAIN
_SET_SESS_CACHE_SIZE = 42
_SET_SESS_CACHE_MODE = 44
_SERVER_SESSIONS = 2  # SSL_SESS_CACHE_SERVER
_SET_TLSEXT_TICKET_KEYS = 59
_SET_DH_AUTO = 118
_GET_CHAIN_CERTS = 115
# SSL_ctrl's (ssl.h).
_GET_RI_SUPPORT = 76
_SET_CHAIN = 88
# SSL_CONF_CTX_set_flags (ssl.h): as in a file, for a server, certificates included.
_CONF_FLAGS = 0x2 | 0x8 | 0x20
_VERIFY_PEER = 1  # SSL_VERIFY_PEER


# Functions that OpenSSL calls: for each certificate of a peer's chain, and if a server asks for a
# client's certificate.
_Judge = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_Choose = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class OpenSSLError(Exception):
    """OpenSSL refuses its input. One sentence. `about` names the directive that it came from, if any."""

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.about = about


@functools.cache
def _library() -> Any:
    """The libssl that the ssl module uses. Raises OpenSSLError if it cannot be reached."""
    import _ssl

    try:
        library = ctypes.CDLL(_ssl.__file__)
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        signatures = {
            "SSL_CTX_ctrl": (ctypes.c_long, pointer, number, ctypes.c_long, pointer),
            "SSL_CTX_get_options": (ctypes.c_uint64, pointer),
            "SSL_CTX_set_ciphersuites": (number, pointer, text),
            "SSL_CTX_set_timeout": (ctypes.c_long, pointer, ctypes.c_long),
            "SSL_CTX_set_verify_depth": (None, pointer, number),
            "SSL_CONF_CTX_new": (pointer,),
            "SSL_CONF_CTX_free": (None, pointer),
            "SSL_CONF_CTX_set_flags": (ctypes.c_uint, pointer, ctypes.c_uint),
            "SSL_CONF_CTX_set_ssl_ctx": (None, pointer, pointer),
            "SSL_CONF_cmd": (number, pointer, text, text),
            "SSL_CONF_CTX_finish": (number, pointer),
            "ERR_clear_error": (None,),
            "SSL_ctrl": (ctypes.c_long, pointer, number, ctypes.c_long, pointer),
            "SSL_get_session": (pointer, pointer),
            "SSL_SESSION_get_id": (pointer, pointer, ctypes.POINTER(ctypes.c_uint)),
            "SSL_get_current_cipher": (pointer, pointer),
            "SSL_CIPHER_get_bits": (number, pointer, ctypes.POINTER(number)),
            "SSL_get_certificate": (pointer, pointer),
            "i2d_X509": (number, pointer, ctypes.POINTER(pointer)),
            "SSL_CTX_set_verify": (None, pointer, number, _Judge),
            "X509_STORE_CTX_get_error": (number, pointer),
            "X509_STORE_CTX_get_error_depth": (number, pointer),
            "X509_STORE_CTX_set_error": (None, pointer, number),
            "X509_STORE_CTX_get_ex_data": (pointer, pointer, number),
            "SSL_get_ex_data_X509_STORE_CTX_idx": (number,),
            "SSL_get_SSL_CTX": (pointer, pointer),
            "SSL_CTX_set_cert_cb": (None, pointer, _Choose, pointer),
            "SSL_get_client_CA_list": (pointer, pointer),
            "OPENSSL_sk_num": (number, pointer),
            "OPENSSL_sk_value": (pointer, pointer, number),
            "SSL_CTX_get0_certificate": (pointer, pointer),
            "SSL_CTX_get0_privatekey": (pointer, pointer),
            "X509_get_issuer_name": (pointer, pointer),
            "X509_NAME_cmp": (number, pointer, pointer),
            "SSL_use_certificate": (number, pointer, pointer),
            "SSL_use_PrivateKey": (number, pointer, pointer),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        raise OpenSSLError(
            "this Python's ssl module has its OpenSSL built in, where it cannot be set up in full; "
            "use a Python that is linked to the system's OpenSSL, as Debian's is"
        ) from None
    return library


def _pointer(context: ssl.SSLContext) -> ctypes.c_void_p:
    """The SSL_CTX of a context: the first field of the object (PySSLContext in CPython's _ssl.h).

    Raises OpenSSLError if it does not agree with what the module says about it.
    """
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if _library().SSL_CTX_get_options(pointer) != int(context.options) & 0xFFFFFFFFFFFFFFFF:
        raise OpenSSLError("this Python keeps its OpenSSL contexts in an unknown way")
    return pointer


def check() -> None:
    """Raise OpenSSLError if this Python's OpenSSL cannot be reached."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _pointer(context)
    _connection(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True))


def set_ticket_keys(context: ssl.SSLContext, keys: bytes) -> None:
    """Make and read session tickets with these TICKET_KEY_SIZE bytes."""
    if _library().SSL_CTX_ctrl(_pointer(context), _SET_TLSEXT_TICKET_KEYS, len(keys), keys) != 1:
        raise OpenSSLError("the keys for session tickets were not taken")


def remember_sessions(context: ssl.SSLContext, most: int) -> None:
    """Keep this many sessions in memory, for clients to resume. With 0, only sessions in tickets can be resumed."""
    _library().SSL_CTX_ctrl(_pointer(context), _SET_SESS_CACHE_SIZE, most, None)
    _library().SSL_CTX_ctrl(_pointer(context), _SET_SESS_CACHE_MODE, _SERVER_SESSIONS if most else 0, None)


def set_ciphersuites(context: ssl.SSLContext, names: str) -> None:
    """TLS 1.3's cipher suites, by OpenSSL's names, with ":" between them."""
    done = _library().SSL_CTX_set_ciphersuites(_pointer(context), names.encode())
    _library().ERR_clear_error()
    if done != 1:
        raise OpenSSLError(f"OpenSSL knows no TLS 1.3 cipher suites {names!r}")


def set_session_timeout(context: ssl.SSLContext, seconds: int) -> None:
    """How long a session may be resumed."""
    _library().SSL_CTX_set_timeout(_pointer(context), seconds)


def set_verify_depth(context: ssl.SSLContext, depth: int) -> None:
    """How many certificate authorities may be between a client's certificate and a trusted one."""
    _library().SSL_CTX_set_verify_depth(_pointer(context), depth)


def send_no_more_than_given(context: ssl.SSLContext) -> None:
    """Show clients only the certificates that were loaded. OpenSSL would look for others at each handshake."""
    _library().SSL_CTX_ctrl(_pointer(context), _MODE, _NO_AUTO_CHAIN, None)


def choose_dh_parameters(context: ssl.SSLContext) -> None:
    """Let OpenSSL choose the parameters of finite-field Diffie-Hellman by the strength of the key."""
    _library().SSL_CTX_ctrl(_pointer(context), _SET_DH_AUTO, 1, None)


def configure(context: ssl.SSLContext, command: str, value: str) -> None:
    """One command of SSL_CONF_cmd(3), as in `Groups X25519:P-256`."""
    library = _library()
    conf = library.SSL_CONF_CTX_new()
    try:
        library.SSL_CONF_CTX_set_flags(conf, _CONF_FLAGS)
        library.SSL_CONF_CTX_set_ssl_ctx(conf, _pointer(context))
        done = library.SSL_CONF_cmd(conf, command.encode(), value.encode())
        finished = library.SSL_CONF_CTX_finish(conf)
    finally:
        library.SSL_CONF_CTX_free(conf)
        library.ERR_clear_error()
    if done == -2:
        raise OpenSSLError(f"OpenSSL has no command {command!r}")
    if done <= 0 or finished != 1:
        raise OpenSSLError(f"OpenSSL's command {command} does not take {value!r}")


# OpenSSL's callbacks go to the judge, or the chooser, of the SSL_CTX of a connection. One function
# of each kind serves all of them. They are made when this module is loaded, as making one needs
# executable memory, and processes with keys get none from the kernel (identity/filters.py).
_judges: dict[int, Callable[[int, int], int]] = {}
_choosers: dict[int, Callable[[int], None]] = {}


def _judged(_good: int, store: int) -> int:
    library = _library()
    connection = library.X509_STORE_CTX_get_ex_data(store, library.SSL_get_ex_data_X509_STORE_CTX_idx())
    judge = _judges[library.SSL_get_SSL_CTX(connection)]
    verdict = judge(library.X509_STORE_CTX_get_error(store), library.X509_STORE_CTX_get_error_depth(store))
    library.X509_STORE_CTX_set_error(store, verdict)
    return int(verdict == 0)


def _chosen(connection: int, _nothing: int | None) -> int:
    _choosers[_library().SSL_get_SSL_CTX(connection)](connection)
    return 1


_judge, _choose = _Judge(_judged), _Choose(_chosen)


def _remember(table: dict[int, Any], context: ssl.SSLContext, what: Callable[..., Any]) -> None:
    """Register a callback for a context's connections, for as long as the context exists."""
    address = _pointer(context).value
    assert address is not None
    table[address] = what
    finalize(context, table.pop, address, None)


def judge_chains(context: ssl.SSLContext, judge: Callable[[int, int], int]) -> None:
    """Let `judge` decide about each certificate of a peer's chain, by OpenSSL's result and its depth.

    `judge` returns the number of the error (X509_V_ERR_...), 0 for none.
    """
    _remember(_judges, context, judge)
    _library().SSL_CTX_set_verify(_pointer(context), _VERIFY_PEER, _judge)


def offer_certificates(context: ssl.SSLContext, offers: Sequence[ssl.SSLContext]) -> None:
    """Show one of these certificates to a server that asks for one. Each context holds one, with its key and chain.

    It is the first one from an authority that the server names; the first of all if it names none;
    else none.
    """
    library = _library()
    issuers = [(offer, list(_issuers(_pointer(offer)))) for offer in offers]

    def choose(connection: int) -> None:
        wanted = list(_elements(library.SSL_get_client_CA_list(connection)))
        fitting = (
            offer
            for name in wanted
            for offer, names in issuers
            if any(library.X509_NAME_cmp(name, issuer) == 0 for issuer in names)
        )
        offered = next(fitting, None) if wanted else issuers[0][0]
        if offered is not None:
            chosen = _pointer(offered)
            library.SSL_use_certificate(connection, library.SSL_CTX_get0_certificate(chosen))
            library.SSL_use_PrivateKey(connection, library.SSL_CTX_get0_privatekey(chosen))
            library.SSL_ctrl(connection, _SET_CHAIN, 1, _chain(chosen))

    _remember(_choosers, context, choose)
    library.SSL_CTX_set_cert_cb(_pointer(context), _choose, None)


def _chain(context: ctypes.c_void_p) -> ctypes.c_void_p:
    """The certificates after a context's own."""
    chain = ctypes.c_void_p()
    _library().SSL_CTX_ctrl(context, _GET_CHAIN_CERTS, 0, ctypes.byref(chain))
    return chain


def _issuers(context: ctypes.c_void_p) -> Iterator[int]:
    """The names of the issuers of a context's certificate, and of those after it."""
    for certificate in (_library().SSL_CTX_get0_certificate(context), *_elements(_chain(context))):
        yield _library().X509_get_issuer_name(certificate)


def _elements(stack: ctypes.c_void_p | int | None) -> Iterator[int]:
    """The elements of an OpenSSL stack."""
    for place in range(_library().OPENSSL_sk_num(stack)):
        yield _library().OPENSSL_sk_value(stack, place)


class Details(NamedTuple):
    """What the module leaves out about a connection, after the handshake."""

    session_id: bytes
    algorithm_bits: int  # of the cipher; fewer of them may be secret
    secure_renegotiation: bool
    certificate: bytes  # the one that the client was shown, in DER


def details(connection: ssl.SSLSocket | ssl.SSLObject) -> Details:
    """Ask OpenSSL about a connection. Raises OpenSSLError."""
    library, pointer = _library(), _connection(connection)
    length, bits = ctypes.c_uint(0), ctypes.c_int(0)
    session = library.SSL_get_session(pointer)
    id_ = library.SSL_SESSION_get_id(session, ctypes.byref(length)) if session else None
    cipher = library.SSL_get_current_cipher(pointer)
    if cipher:
        library.SSL_CIPHER_get_bits(cipher, ctypes.byref(bits))
    return Details(
        ctypes.string_at(id_, length.value) if id_ else b"",
        bits.value,
        library.SSL_ctrl(pointer, _GET_RI_SUPPORT, 0, None) == 1,
        _certificate(connection.context, library.SSL_get_certificate(pointer)),
    )


def _connection(connection: ssl.SSLSocket | ssl.SSLObject) -> ctypes.c_void_p:
    """The SSL of a connection: in PySSLSocket (CPython's _ssl.c) between a weak reference and the context.

    Raises OpenSSLError if the context is not there.
    """
    inner = connection._sslobj  # type: ignore[union-attr]
    place, size = id(inner) + object.__basicsize__, ctypes.sizeof(ctypes.c_void_p)
    if ctypes.c_void_p.from_address(place + 2 * size).value != id(inner.context):
        raise OpenSSLError("this Python keeps its OpenSSL connections in an unknown way")
    return ctypes.c_void_p.from_address(place + size)


_certificates: WeakKeyDictionary[ssl.SSLContext, dict[int, bytes]] = WeakKeyDictionary()  # by OpenSSL's address of it


def _certificate(context: ssl.SSLContext, pointer: int | None) -> bytes:
    """A certificate of a context, in DER: the same bytes for all of its connections."""
    if not pointer:
        return b""
    known = _certificates.setdefault(context, {})
    if pointer not in known:
        library = _library()
        buffer = ctypes.create_string_buffer(max(0, library.i2d_X509(pointer, None)))
        library.i2d_X509(pointer, ctypes.byref(ctypes.cast(buffer, ctypes.c_void_p)))
        known[pointer] = buffer.raw
    return known[pointer]
