"""Keys of session tickets: the same in all workers of one virtual host and identity, and in no others.

Each day, a key is made from the one before, which is forgotten. So an attacker who takes over a
process learns nothing about sessions of earlier days.
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
    """The secret of one day's keys."""

    secret: bytes
    day: int  # since the epoch

    @classmethod
    def new(cls) -> TicketSecret:
        """A random one, for today."""
        return cls(secrets.token_bytes(32), today())

    def advance(self) -> None:
        """Go on to today's, and forget earlier ones."""
        while self.day < today():
            self.secret = hashlib.blake2b(self.secret, person=b"next day", digest_size=32).digest()
            self.day += 1

    def keys(self) -> bytes:
        """Today's keys, in OpenSSL's form."""
        self.advance()
        return hashlib.shake_256(self.secret + b"keys").digest(TICKET_KEY_SIZE)


def today() -> int:
    """The number of the day, since the epoch."""
    return int(time.time()) // LIFETIME


def until_tomorrow() -> float:
    """Seconds until the keys change."""
    return LIFETIME - time.time() % LIFETIME
