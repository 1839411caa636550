"""mod_xsendfile: whether a program's response may name a file to send instead (N. Maier's module, 1.0).

`apps.sendfile` sends the file, in the owner's process: it can only be a file that the owner may
read.
"""

from __future__ import annotations

from collections.abc import Callable

from ownhost.config.arguments import flag, single
from ownhost.config.directive import ANYWHERE, SECTIONS, ArgumentError, Call, Directive, Override, Setting, declare

Paths = tuple[str, ...]


def parse_path(call: Call) -> Paths:
    """A folder's whole path."""
    folder = single(call)
    if not folder.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {folder!r}")
    return (folder,)


def _both(before: Paths | None, after: Paths) -> Paths:
    return (*(before or ()), *after)


X_SEND_FILE = Setting("XSendFile", False)
IGNORE_ETAG = Setting("XSendFileIgnoreEtag", False)
IGNORE_LAST_MODIFIED = Setting("XSendFileIgnoreLastModified", False)
UNESCAPE = Setting("XSendFileUnescape", True)
PATHS: Setting[Paths] = Setting("XSendFilePath", (), _both)

_flag: Callable[[Call], bool] = flag()
for _setting, _help in (
    (
        X_SEND_FILE,
        ("Whether the response field X-Sendfile of a program names a file to send instead of the response's body."),
    ),
    (IGNORE_ETAG, "Whether such a file has its own ETag even if the program sets one."),
    (IGNORE_LAST_MODIFIED, "Whether such a file has its own Last-Modified even if the program sets one."),
    (UNESCAPE, "Whether the name in X-Sendfile is percent-encoded."),
):
    declare(
        Directive(
            name=_setting.name,
            module="mod_xsendfile",
            syntax="On|Off",
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_flag,
            setting=_setting,
            default="On" if _setting.default else "Off",
        )
    )
declare(
    Directive(
        name="XSendFilePath",
        module="mod_xsendfile",
        syntax="folder",
        where=SECTIONS,
        help="A folder from which X-Sendfile may name files, beside the program's own.",
        parse=parse_path,
        setting=PATHS,
        fold=_both,
    )
)
