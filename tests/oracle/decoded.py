"""What is the same in two answers, though its bytes are not: a compressed body, and a time that counts from the answer.

How long a compressed body is follows from the version of a library, and when an answer expires from the time.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import brotli

from oracle.client import Answer
from ownhost.http.dates import parse_date

_GZIP = 16 + zlib.MAX_WBITS
_ROUNDED = 10  # seconds: one may pass between an answer's making and its Date


def decoded(answer: Answer) -> Answer:
    """An answer with its plain body, and with the time that is left before it expires."""
    return _plain(_relative(answer))


def _plain(answer: Answer) -> Answer:
    if answer.status != 200 or "accept-encoding" not in answer.fields.get("vary", "").lower():
        return answer
    coding = answer.fields.get("content-encoding", "").rpartition(" ")[2]
    if coding not in ("gzip", "br"):
        return answer
    fields = {name: value for name, value in answer.fields.items() if name != "content-length"}
    body = answer.body
    try:
        if body:
            body = zlib.decompress(body, _GZIP) if coding == "gzip" else brotli.decompress(body)
    except (zlib.error, brotli.error):  # a file whose name says that it is compressed
        return answer
    return replace(answer, fields=fields, body=body)


def _relative(answer: Answer) -> Answer:
    expires, now = (parse_date(answer.fields.get(name, "")) for name in ("expires", "date"))
    if expires is None or now is None or expires < now - _ROUNDED:
        return answer
    left = round((expires - now) / _ROUNDED) * _ROUNDED
    return replace(answer, fields={**answer.fields, "expires": f"{left} seconds later"})
