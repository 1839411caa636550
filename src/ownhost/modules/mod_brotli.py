"""mod_brotli: the output filter BROTLI_COMPRESS (RFC 7932)."""

from __future__ import annotations

import brotli

from ownhost.config.arguments import integer
from ownhost.config.directive import SERVERS, Directive, Setting, Settings, declare
from ownhost.modules.compression.codings import Coding, offer
from ownhost.modules.compression.declared import declare_etag, declare_notes
from ownhost.request.module import Module, register

QUALITY = Setting("BrotliCompressionQuality", 5)
WINDOW = Setting("BrotliCompressionWindow", 18)
BLOCK = Setting("BrotliCompressionMaxInputBlock", 0)  # 0: the library chooses
_PIECE = 8_192  # bytes: as Apache's filter passes on

for _directive in (
    Directive(
        "BrotliCompressionQuality",
        "mod_brotli",
        "0..11",
        SERVERS,
        "How hard BROTLI_COMPRESS tries: more takes longer, and 10 and 11 take very long.",
        integer(0, 11),
        setting=QUALITY,
        default="5",
    ),
    Directive(
        "BrotliCompressionWindow",
        "mod_brotli",
        "10..24",
        SERVERS,
        "How far back BROTLI_COMPRESS looks for repetitions: 2^size bytes.",
        integer(10, 24),
        setting=WINDOW,
        default="18",
    ),
    Directive(
        "BrotliCompressionMaxInputBlock",
        "mod_brotli",
        "16..24",
        SERVERS,
        "How much BROTLI_COMPRESS looks at in one go: 2^size bytes.",
        integer(16, 24),
        setting=BLOCK,
        default="by quality",
    ),
):
    declare(_directive)

ETAG = declare_etag("BrotliAlterETag", "mod_brotli", "BROTLI_COMPRESS", "br")
NOTES = declare_notes("BrotliFilterNote", "mod_brotli", "BROTLI_COMPRESS")


class Brotli:
    """Compresses one body (compression.codings.Compressor)."""

    def __init__(self, settings: Settings) -> None:
        self._brotli = brotli.Compressor(quality=settings[QUALITY], lgwin=settings[WINDOW], lgblock=settings[BLOCK])

    def compress(self, data: bytes) -> bytes:
        return bytes(self._brotli.process(data))

    def flush(self) -> bytes:
        return bytes(self._brotli.flush())

    def finish(self) -> bytes:
        return bytes(self._brotli.finish())


offer(
    Coding(
        filter="BROTLI_COMPRESS",
        token="br",  # noqa: S106 - a coding's name
        compressor=Brotli,
        etag=ETAG,
        notes=NOTES,
        piece=lambda _: _PIECE,
        shortest=1,
        refused_by="no-brotli",
        most_at_once=16,  # each takes some MiB
    )
)

register(Module(name="mod_brotli", identifier="brotli_module"))
