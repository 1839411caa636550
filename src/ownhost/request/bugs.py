"""An unexpected exception: how it is reported, once, wherever it occurs.

`serve` says what happens to its request (a 500 if nothing was sent yet), and so do the worker's
clients (the end of the connection, or of the stream, if something was). Two kinds are not bugs, and
are handled the same way: a regular expression that was given up, as its result is unknown; and a
resource that the system has run out of.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from typing import TypeGuard

from ownhost.config.regex import PatternFailed
from ownhost.request.request import Level

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT)


def is_shortage(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether the system has run out of a resource: descriptors, memory, room on a disk."""
    return isinstance(error, OSError) and error.errno in SHORTAGES


def report(log: Callable[[Level, str, str], None], error: BaseException, while_: str = "") -> None:
    """Write an exception's traceback into an error log. `while_` names the work that failed, if it is known."""
    if isinstance(error, PatternFailed):
        log(Level.ERROR, "core", str(error))
        return
    if is_shortage(error):
        where = f": {error.filename}" if error.filename else ""
        log(Level.ERROR, "core", f"{while_ or 'answering'} failed: {error.strerror}{where}")
        return
    trace = "".join(traceback.format_exception(error))
    log(Level.ERROR, "core", f"a bug in Ownhost, please report it: {while_ and f'{while_}: '}{trace}")
