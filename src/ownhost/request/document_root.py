"""The folder that requests are served from (DocumentRoot)."""

from __future__ import annotations

import posixpath

from ownhost.config.arguments import single
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare


def parse_document_root(call: Call) -> str:
    """A folder; a relative one starts at ServerRoot. It need not exist yet, and need not be readable by root."""
    word = single(call)
    if not word:
        raise ArgumentError("expected a folder, not an empty word")
    return posixpath.normpath(call.path(word))


DOCUMENT_ROOT = Setting("DocumentRoot", "/usr/local/apache/htdocs")

declare(
    Directive(
        name="DocumentRoot",
        module="core",
        syntax="folder",
        where=SERVERS,
        default="/usr/local/apache/htdocs",
        help="The folder that files are served from.",
        parse=parse_document_root,
        setting=DOCUMENT_ROOT,
    )
)
