"""The target of the file name, and the settings that apply there."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

from ownhost.config.directive import Settings
from ownhost.http.message import HTTPError
from ownhost.identity.assignment import ASSIGN_GROUP_ID_EXPR, ASSIGN_USER_ID_EXPR
from ownhost.request import expressions
from ownhost.request.links import check_links, not_followed
from ownhost.request.request import OtherIdentity, Request
from ownhost.request.resolve import assigned
from ownhost.request.routing import IDENTITY, fixed_assignment
from ownhost.request.sections import ReadFolder, Target, target_of

_MISSING = (errno.ENOENT, errno.ENOTDIR)
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)  # the server's own trouble, not the file's


class AccessRefused(HTTPError):
    """The kernel does not let this process see or read a file: `path`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(403, reason)
        self.path = path


def walk(request: Request) -> None:
    """Find the file and the path info, and merge the configuration for it.

    A missing file is not an error yet: `stat` stays None. Raises HTTPError: 403 for what may not be
    read or followed, 500 if the settings belong to another identity.
    """
    if request.is_proxied:
        merge(request)
        return
    try:
        request.filename, request.path_info, request.stat = _find(request.filename)
    except OSError as error:
        raise _refusal(request.uri, error) from None
    read = _reader(request)
    if read is None:
        merge(request)
        _check_links(request, None)
    else:  # as in Apache, a file counts only if the links on the way to it may be followed
        _check_links(request, read)
        merge(request, read)
    if request.stat is None and Path(request.filename).is_symlink():
        raise not_followed(request.filename)
    if request.stat is not None and not _is_served(request.stat):
        raise HTTPError(403, f"AH00038: Forbidden: {request.filename} doesn't point to a file or directory")


def _reader(request: Request) -> ReadFolder | None:
    """What reads .htaccess files, if the virtual host has any. Only who serves the request may look for them."""
    htaccess = request.site.htaccess
    if htaccess is None:
        return None
    if not request.site.fixed:
        merge(request)
    return htaccess.reader(request)


def _check_links(request: Request, read: ReadFolder | None) -> None:
    """Refuse links that Options don't allow."""
    if not request.site.follows_links and not check_links(request.site.sections, request.filename, read):
        request.pure = False  # a link may appear where there was none


def merge(request: Request, read: ReadFolder | None = None) -> None:
    """Merge the settings for the current `filename` and `uri`. Raises HTTPError."""
    sections = request.site.sections
    match = sections.match(_target(request), read)
    before, request.settings = request.settings, sections.merge(match)
    if match.variables:
        request.env.update(match.variables)
    if not request.site.fixed:
        check_identity(request, before)


def _target(request: Request) -> Target:
    """The properties that sections look at. An index has the Directory sections of its folder, as in Apache."""
    found = request.stat is not None and not request.path_info
    index = request.is_subrequest and request.previous is not None and _is_in(request, request.previous)
    target = target_of(
        request.uri,
        request.filename,
        lambda condition: expressions.holds(condition, request),
        whole=found and not index,
    )
    return replace(target, filename=target.folders[-1]) if index else target


def _is_in(request: Request, folder: Request) -> bool:
    """Whether a request is for a file directly in another's folder."""
    return folder.is_folder and request.filename.rpartition("/")[0] == folder.filename.rstrip("/")


def check_identity(request: Request, before: Settings) -> None:
    """Check that the request is this process's, now that its file is known: names alone may have said otherwise.

    `before` are the settings by names alone. Raises OtherIdentity for a client's own request. An
    internal redirect cannot change the identity: if sections name another, it is refused with 500.
    Expressions are evaluated for the client's own request only.
    """
    settings = request.settings
    if request.previous is not None:
        computed = settings[ASSIGN_USER_ID_EXPR] or settings[ASSIGN_GROUP_ID_EXPR]
        if not computed and not request.site.is_mine(fixed_assignment(settings)):
            raise HTTPError(
                500, f"{request.filename} is another identity's, and an internal redirect cannot change the identity"
            )
        return
    if request.assignment is not None and all(before[setting] is settings[setting] for setting in IDENTITY):
        return  # nothing new: `resolve` has evaluated it
    request.assignment = assigned(request, settings)
    if not request.site.is_mine(request.assignment):
        raise OtherIdentity(request.assignment)


def _find(filename: str) -> tuple[str, str, os.stat_result | None]:
    """The existing part of a name, the rest (path info), and the part's status.

    A folder's name ends with "/" if it was translated so, as in Apache: rules and sections
    distinguish the two. If nothing exists, the part ends with the first missing component, and its
    status is None. Raises OSError.
    """
    found = _stat(filename)
    if found is not None:
        return filename, "", found
    parts = filename.split("/")
    for count in range(len(parts) - 1, 0, -1):
        path = "/".join(parts[:count]) or "/"
        found = _stat(path)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode):
            return path, "/" + "/".join(parts[count:]), found
        rest = parts[count + 1 :]
        return f"{path.rstrip('/')}/{parts[count]}", "/" + "/".join(rest) if rest else "", None
    return filename, "", None


def _stat(path: str) -> os.stat_result | None:
    """A file's status; None if it does not exist. Raises OSError."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return None


def _refusal(uri: str, error: OSError) -> HTTPError:
    """The error for the client when a file cannot be looked at."""
    path = error.filename
    if error.errno == errno.EACCES:
        why = "because search permissions are missing on a component of the path"
        return AccessRefused(path, f"AH00035: access to {uri} denied (filesystem path '{path}') {why}")
    status = 500 if error.errno in OURS else 403
    return HTTPError(status, f"AH00036: access to {uri} failed (filesystem path '{path}'): {error.strerror}")


def _is_served(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
