"""Media types without a TypesConfig: /etc/mime.types, and if that is missing, the types of the web."""

from __future__ import annotations

import functools

SYSTEM = "/etc/mime.types"
Table = dict[str, str]  # an extension in lower case, without a dot -> a type

# From Debian's package media-types, as far as it has them. Source: IANA's registry; RFC 9239 for
# JavaScript.
_OWN = """\
application/atom+xml            atom
application/epub+zip            epub
application/gzip                gz
application/java-archive        jar
application/json                json
application/ld+json             jsonld
application/manifest+json       webmanifest
application/msword              doc
application/octet-stream        bin
application/ogg                 ogx
application/pdf                 pdf
application/pgp-signature       sig
application/postscript          ps eps
application/x-rss+xml           rss
application/rtf                 rtf
application/vnd.apple.mpegurl   m3u8
application/vnd.ms-excel        xls
application/vnd.ms-fontobject   eot
application/vnd.ms-powerpoint   ppt
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet  ods
application/vnd.oasis.opendocument.text         odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet         xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document   docx
application/wasm                wasm
application/x-7z-compressed     7z
application/x-bzip2             bz2
application/x-tar               tar
application/x-xz                xz
application/xhtml+xml           xhtml xht
application/xml                 xml xsd
application/xslt+xml            xsl
application/zip                 zip
application/zstd                zst
audio/aac                       aac
audio/flac                      flac
audio/mp4                       m4a
audio/mpeg                      mp3
audio/ogg                       oga ogg opus
audio/x-wav                     wav
audio/webm                      weba
font/otf                        otf
font/ttf                        ttf
font/woff                       woff
font/woff2                      woff2
image/apng                      apng
image/avif                      avif
image/bmp                       bmp
image/gif                       gif
image/heic                      heic
image/jpeg                      jpeg jpg jpe
image/jxl                       jxl
image/png                       png
image/svg+xml                   svg svgz
image/tiff                      tiff tif
image/vnd.microsoft.icon        ico
image/webp                      webp
text/calendar                   ics
text/css                        css
text/csv                        csv
text/html                       html htm shtml
text/javascript                 js mjs
text/markdown                   md markdown
text/plain                      txt text log conf
text/tab-separated-values       tsv
text/vcard                      vcf
text/vtt                        vtt
video/3gpp                      3gp
video/mp4                       mp4 m4v
video/mpeg                      mpeg mpg
video/ogg                       ogv
video/quicktime                 mov qt
video/webm                      webm
video/x-matroska                mkv
video/x-msvideo                 avi
"""


def parse_types(text: str) -> Table:
    """The format of mime.types: a type, then its extensions; # begins a comment."""
    table: Table = {}
    for line in text.splitlines():
        type_, *extensions = line.partition("#")[0].split() or [""]
        table.update((extension.removeprefix(".").lower(), type_) for extension in extensions)
    return table


@functools.cache
def default_types(file: str = SYSTEM) -> Table:
    """The types without a TypesConfig. The file is read once, before the first request."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as system:
            return parse_types(system.read())
    except OSError:
        return parse_types(_OWN)
