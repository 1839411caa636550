"""An exception that nobody expected: what is said of it, once, wherever it came up.

What becomes of its request is in `serve` (a 500 where nothing was sent yet) and in the worker's clients (the end of
the connection, or of the stream, where something was). A regular expression that was given up is no bug, and takes the
same way: whatever it was to decide, nobody can say.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from ownhost.config.regex import PatternFailed
from ownhost.request.request import Level


def report(log: Callable[[Level, str, str], None], error: BaseException, while_: str = "") -> None:
    """Have an error log say where an exception came from. `while_` says what was being done, if that is known."""
    if isinstance(error, PatternFailed):
        log(Level.ERROR, "core", str(error))
        return
    trace = "".join(traceback.format_exception(error))
    log(Level.ERROR, "core", f"a bug in Ownhost, please report it: {while_ and f'{while_}: '}{trace}")
