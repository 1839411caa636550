"""mod_userdir: /~user/ leads to a folder of that user."""

from __future__ import annotations

import os
import posixpath
import pwd
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from ownhost.config.arguments import words
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare
from ownhost.http.message import Response
from ownhost.request import errors
from ownhost.request.module import Module, register
from ownhost.request.request import Place, Request

_DISABLE = ("disabled", "disable")
_ENABLE = ("enabled", "enable")


@dataclass(frozen=True, slots=True)
class UserFolder:
    """One form of a user's folder. "*" in `pattern` stands for the user, who is otherwise appended.

    `kind` is "home" for a folder in the user's home, "path" for an absolute path, "url" for another
    server's.
    """

    kind: str
    pattern: str

    def of(self, user: str) -> str:
        """The folder or URL of a user; for a folder in a home, its place there."""
        if self.kind == "home":
            return self.pattern
        before, star, after = self.pattern.partition("*")
        if self.kind == "url" and star:
            return before + user  # as in Apache, the part after the star does not count in URLs
        return before + user + after if star else f"{before.rstrip('/')}/{user}"


@dataclass(frozen=True, slots=True)
class UserDir:
    """The UserDir lines of one scope. None and empty ones are not set."""

    folders: tuple[UserFolder, ...] = ()
    everybody: bool | None = None  # whether users in neither list have folders
    enabled: frozenset[str] = field(default_factory=frozenset)  # in lower case: case does not matter here
    disabled: frozenset[str] = field(default_factory=frozenset)

    def serves(self, user: str) -> bool:
        """Whether a user's folder is served."""
        name = user.lower()
        return name not in self.disabled and (self.everybody is not False or name in self.enabled)


def parse_user_dir(call: Call) -> UserDir:
    """enabled or disabled and perhaps users, or forms of folders. Raises ArgumentError."""
    first, *others = words(1)(call)
    users = frozenset(user.lower() for user in others)
    if first.lower() in _DISABLE:
        return UserDir(disabled=users) if users else UserDir(everybody=False)
    if first.lower() in _ENABLE:
        return UserDir(enabled=users) if users else UserDir(everybody=True)
    return UserDir(tuple(map(_folder, call.args)))


def _folder(word: str) -> UserFolder:
    if word.startswith("/"):
        return UserFolder("path", "/" + word.lstrip("/"))
    if "://" in word:
        return UserFolder("url", word)
    if "*" in word or not word:
        raise ArgumentError(f"expected a folder in the user's home, an absolute path or a URL, not {word!r}")
    return UserFolder("home", word)


def fold(before: UserDir | None, after: UserDir) -> UserDir:
    """The lines of one scope: lists grow; of all else the last line counts."""
    if before is None:
        return after
    return UserDir(
        after.folders or before.folders,
        before.everybody if after.everybody is None else after.everybody,
        before.enabled | after.enabled,
        before.disabled | after.disabled,
    )


def merge(outer: UserDir, inner: UserDir) -> UserDir:
    """A virtual host's lines over the server's. As in Apache, it does not inherit the lists of users."""
    return replace(
        inner,
        folders=inner.folders or outer.folders,
        everybody=outer.everybody if inner.everybody is None else inner.everybody,
    )


USER_DIR: Setting[UserDir] = Setting("UserDir", UserDir(), merge)

declare(
    Directive(
        "UserDir",
        "mod_userdir",
        "folder...|enabled [user...]|disabled [user...]",
        SERVERS,
        ("The users' folders, of which the first one that exists is used; and which users have one."),
        parse_user_dir,
        setting=USER_DIR,
        fold=fold,
        differs=(
            "The user's name is appended to a URL without a *, as Apache's manual says. */folder "
            "and a lone * are errors."
        ),
    )
)


def locate(request: Request) -> Place | Response | None:
    """The file in the folder of the user that a URI names, or the place of another server."""
    said = request.site.settings[USER_DIR]
    if not said.folders or not request.uri.startswith("/~"):
        return None
    user, slash, rest = request.uri[2:].partition("/")
    if user in ("", ".", "..") or not said.serves(user):
        return None
    for form in said.folders:
        folder = _of(request, form, user)
        if form.kind == "url":
            return errors.redirect(request, 302, quote(folder + slash + rest, safe="/:~@", errors="surrogateescape"))
        if folder and (form is said.folders[-1] or _may_be_there(request, folder)):
            request.context_prefix = f"/~{user}"
            request.context_document_root = folder
            return Place(folder + slash + rest)
    return None


def _of(request: Request, form: UserFolder, user: str) -> str:
    """The folder or URL of a user; "" if it would be in a home that does not exist."""
    if form.kind == "url":
        return form.of(user)
    if form.kind == "path":
        return posixpath.normpath(form.of(user))
    home = _home(request, user)
    return home and posixpath.normpath(posixpath.join(home, form.of(user)))


def _home(request: Request, user: str) -> str:
    """A user's home folder; "" if there is no such account. Accounts can change without any change of a file."""
    request.pure = False
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return ""


def _may_be_there(request: Request, folder: str) -> bool:
    """Whether there is such a folder. One that this process may not look into is left to a process that may."""
    request.pure = False
    try:
        os.stat(folder)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


# After mod_alias: an Alias for one user's path comes first.
register(
    Module(
        name="mod_userdir",
        identifier="userdir_module",
        order=25,
        uses=lambda server: server.says(USER_DIR),
        locate=locate,
    )
)
