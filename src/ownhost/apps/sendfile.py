"""X-Sendfile: a file that a program's response names, sent instead of its body."""

from __future__ import annotations

import contextlib
import os
from copy import copy
from dataclasses import replace
from urllib.parse import unquote

from ownhost.http.message import HTTPError, Response
from ownhost.http.wire import unwire
from ownhost.modules.core_files import send_file
from ownhost.modules.mod_xsendfile import IGNORE_ETAG, IGNORE_LAST_MODIFIED, PATHS, UNESCAPE, X_SEND_FILE
from ownhost.request.request import Request

FIELD = "x-sendfile"


def file_named(request: Request, response: Response) -> str:
    """The value of X-Sendfile in a response, if it is obeyed; "" for none."""
    return (request.settings[X_SEND_FILE] and response.header(FIELD)) or ""


def send_instead(request: Request, response: Response, name: str) -> Response:
    """The file of this name, with the status and fields of the response. Raises HTTPError 404."""
    asked = copy(request)
    asked.filename, asked.path_info = _locate(request, name), ""
    asked.content_type = response.header("content-type") or ""
    asked.encodings, asked.languages = [], []
    asked.stat = None
    with contextlib.suppress(OSError):
        asked.stat = os.stat(asked.filename)
    asked.head = replace(request.head, method="HEAD" if request.method == "HEAD" else "GET")
    try:
        sent = send_file(asked)
    except HTTPError as error:
        if error.status in (403, 404):
            raise HTTPError(404, f"X-Sendfile: {error.reason}", module="xsendfile") from None
        raise
    replaced = _replaced(request)
    kept = [field for field in response.headers if field[0].lower() not in (FIELD, "content-type", *replaced)]
    said = {field.lower() for field, _ in kept}
    sent.headers = [*kept, *(field for field in sent.headers if field[0].lower() not in said)]
    if sent.status == 200:
        sent.status = response.status
    return sent


def _replaced(request: Request) -> list[str]:
    """Fields of the program that the file's own replace."""
    ignored = {"etag": request.settings[IGNORE_ETAG], "last-modified": request.settings[IGNORE_LAST_MODIFIED]}
    return ["content-encoding", *(name for name, is_ignored in ignored.items() if is_ignored)]


def _locate(request: Request, name: str) -> str:
    """The absolute name of a file in one of the allowed folders. Raises HTTPError 404."""
    name = unwire(name)
    if request.settings[UNESCAPE]:
        name = unquote(name, errors="surrogateescape")
    if "\0" not in name:
        for folder in (request.filename.rpartition("/")[0], *request.settings[PATHS]):
            path = os.path.normpath(f"{folder}/{name}" if not name.startswith("/") else name)
            if path.startswith(folder.rstrip("/") + "/"):
                return path
    raise HTTPError(
        404, f"X-Sendfile: {name} is neither beside the program nor in an XSendFilePath", module="xsendfile"
    )
