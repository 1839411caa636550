"""Keys of session tickets: the same in all workers of one virtual host and identity, and nobody else's.

A key is made of the one before it, each day, and that one is forgotten: who takes a process over learns nothing of
sessions of the days before.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from ownhost.http.openssl import TICKET_KEY_SIZE

LIFETIME = 86_400  # seconds that a key is used


@dataclass(slots=True)
class TicketSecret:
    """What the keys of one day are made of."""

    secret: bytes
    day: int  # since the epoch

    @classmethod
    def new(cls) -> TicketSecret:
        """A random one, for today."""
        return cls(secrets.token_bytes(32), today())

    def advance(self) -> None:
        """Go on to today's, and forget those before."""
        while self.day < today():
            self.secret = hashlib.blake2b(self.secret, person=b"next day", digest_size=32).digest()
            self.day += 1

    def keys(self) -> bytes:
        """Today's keys, as OpenSSL takes them."""
        self.advance()
        return hashlib.shake_256(self.secret + b"keys").digest(TICKET_KEY_SIZE)


def today() -> int:
    """The number of the day, since the epoch."""
    return int(time.time()) // LIFETIME


def until_tomorrow() -> float:
    """Seconds until the keys change."""
    return LIFETIME - time.time() % LIFETIME
