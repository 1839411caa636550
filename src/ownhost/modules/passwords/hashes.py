"""Hashes of passwords, in the forms that htpasswd(1) writes and crypt(5) describes.

libcrypt knows the system's own: bcrypt, DES, MD5, SHA-256, SHA-512, yescrypt and more. Apache's own
are here: $apr1$, which is MD5 with another name in it, and {SHA}, which has no salt.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import hmac

SHA = b"{SHA}"
APR1 = b"$apr1$"
_ROUNDS = 1_000  # of MD5
_LONGEST_SALT = 8  # bytes
_DIGITS = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The bytes of an MD5 digest in the order in which they are written, three to a group.
_GROUPS = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_SCRATCH = 32_768  # bytes of struct crypt_data (crypt.h)

# Loaded with this file: a worker may not map code any more.
_crypt = ctypes.CDLL("libcrypt.so.1").crypt_rn
_crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
_crypt.restype = ctypes.c_char_p


def verify(password: bytes, known: bytes) -> bool:
    """Whether a password has this hash. It may take as long as the hash says: a second or more.

    What is no hash, such as a password itself, is nobody's.
    """
    if b"\0" in password or not known:
        return False
    made = _hash(password, known)
    return made is not None and hmac.compare_digest(made, known)


def _hash(password: bytes, known: bytes) -> bytes | None:
    """A password's hash in the form, and with the salt, of a known one; None if libcrypt does not know the form."""
    if known.startswith(SHA):
        return SHA + base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    if known.startswith(APR1):
        return apr1(password, known[len(APR1) :].partition(b"$")[0][:_LONGEST_SALT])
    # Without the interpreter's lock, so other threads go on.
    found: bytes | None = _crypt(password, known, ctypes.create_string_buffer(_SCRATCH), _SCRATCH)
    return found


def apr1(password: bytes, salt: bytes) -> bytes:
    """The $apr1$ hash: FreeBSD's MD5 crypt (1994) under Apache's name (apr_md5.c)."""
    size = len(password)
    inner = _md5(password, salt, password)
    start = [password, APR1, salt, (inner * (size // 16 + 1))[:size]]
    while size:
        start.append(b"\0" if size & 1 else password[:1])
        size >>= 1
    digest = _md5(*start)
    for count in range(_ROUNDS):
        parts = [password if count & 1 else digest]
        if count % 3:
            parts.append(salt)
        if count % 7:
            parts.append(password)
        parts.append(digest if count & 1 else password)
        digest = _md5(*parts)
    text = b"".join(_digits(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _GROUPS)
    return APR1 + salt + b"$" + text + _digits(digest[11], 2)


def _md5(*parts: bytes) -> bytes:
    return hashlib.md5(b"".join(parts), usedforsecurity=False).digest()


def _digits(value: int, count: int) -> bytes:
    """A number in digits of six bits, the lowest first."""
    return bytes(_DIGITS[value >> 6 * place & 63] for place in range(count))
