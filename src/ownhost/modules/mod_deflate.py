"""mod_deflate: the output filter DEFLATE, which compresses responses with gzip (RFC 1952)."""

from __future__ import annotations

import zlib

from ownhost.config.arguments import integer
from ownhost.config.directive import SERVERS, Directive, Setting, Settings, declare
from ownhost.modules.compression.codings import Coding, offer
from ownhost.modules.compression.declared import declare_etag, declare_notes
from ownhost.request.module import Module, register

_GZIP = 16  # added to the window's bits: with the head and end of gzip
_LEAST_BITS = 9  # of a window: zlib's own least

LEVEL = Setting("DeflateCompressionLevel", zlib.Z_DEFAULT_COMPRESSION)
BUFFER_SIZE = Setting("DeflateBufferSize", 8_096)
MEMORY = Setting("DeflateMemLevel", 9)
WINDOW = Setting("DeflateWindowSize", 15)

for _directive in (
    Directive(
        "DeflateCompressionLevel",
        "mod_deflate",
        "1..9",
        SERVERS,
        "How hard DEFLATE tries: more takes longer.",
        integer(1, 9),
        setting=LEVEL,
        default="6",
    ),
    Directive(
        "DeflateBufferSize",
        "mod_deflate",
        "bytes",
        SERVERS,
        "How many compressed bytes of a large file are collected before they are sent.",
        integer(1, 1 << 20),
        setting=BUFFER_SIZE,
        default="8096",
        differs="At most 1048576.",
    ),
    Directive(
        "DeflateMemLevel",
        "mod_deflate",
        "1..9",
        SERVERS,
        "How much memory DEFLATE takes for one response: 2^(level+9) bytes, beside the window.",
        integer(1, 9),
        setting=MEMORY,
        default="9",
    ),
    Directive(
        "DeflateWindowSize",
        "mod_deflate",
        "1..15",
        SERVERS,
        "How far back DEFLATE looks for repetitions: 2^size bytes.",
        integer(1, 15),
        setting=WINDOW,
        default="15",
        differs="Less than 9 counts as 9, as zlib has no smaller window. Apache compresses nothing then.",
    ),
):
    declare(_directive)

ETAG = declare_etag("DeflateAlterETag", "mod_deflate", "DEFLATE", "gzip")
NOTES = declare_notes("DeflateFilterNote", "mod_deflate", "DEFLATE")


class Gzip:
    """Compresses one body (compression.codings.Compressor)."""

    def __init__(self, settings: Settings) -> None:
        bits = _GZIP + max(_LEAST_BITS, settings[WINDOW])
        self._zlib = zlib.compressobj(settings[LEVEL], zlib.DEFLATED, bits, settings[MEMORY])

    def compress(self, data: bytes) -> bytes:
        return self._zlib.compress(data)

    def flush(self) -> bytes:
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._zlib.flush(zlib.Z_FINISH)


offer(
    Coding(
        filter="DEFLATE",
        token="gzip",  # noqa: S106 - a coding's name
        compressor=Gzip,
        etag=ETAG,
        notes=NOTES,
        piece=lambda settings: settings[BUFFER_SIZE],
        refused_by="no-gzip",
        forced_by="force-gzip",
        only_html_by="gzip-only-text/html",
        shortest=69,  # the end of gzip, a Vary, a Content-Encoding and an ETag's suffix take as much
    )
)

register(Module(name="mod_deflate", identifier="deflate_module"))
