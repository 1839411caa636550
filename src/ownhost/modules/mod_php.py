"""mod_php: which requests are PHP's, and the configuration of PHP's own settings.

A worker does not contain PHP: `apps.php` starts a php-fpm for each identity. Sources: "How to
change configuration settings" in PHP's manual, and the behaviour of mod_php 8.2 under Apache.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ownhost.config import loading
from ownhost.config.arguments import path, words
from ownhost.config.directive import (
    ANYWHERE,
    SECTIONS,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    declare,
)
from ownhost.config.module_table import DONE_WHERE_INSTALLED
from ownhost.http.message import HTTPError, Response
from ownhost.modules.core_files import ACCEPT_PATH_INFO
from ownhost.modules.php_names import LOADS_CODE, SYSTEM
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request

SCRIPT_HANDLERS = ("application/x-httpd-php", "php-script")  # two names of one handler
SOURCE_HANDLER = "application/x-httpd-php-source"
OFF_HANDLER = "php-engine-off"  # of scripts that are not run

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_VERSION = re.compile(r"php-fpm([0-9]+(?:\.[0-9]+)*)?")
_FOLDER = Path("/usr/sbin")


@dataclass(frozen=True, slots=True)
class Value:
    """A directive's value for one of PHP's settings. No inner section and no script changes an admin's."""

    text: str
    admin: bool = False


Values = Mapping[str, Value]


def _merge(outer: Values, inner: Values) -> Values:
    """The inner scope's values, except those that an admin's value of the outer scope forbids."""
    allowed = {name: value for name, value in inner.items() if value.admin or not outer.get(name, value).admin}
    return {**outer, **allowed}


def _fold(before: Values | None, more: Values) -> Values:
    """In one scope the last one counts, as in mod_php."""
    return {**(before or {}), **more}


VALUES: Setting[Values] = Setting("php_value", {}, _merge)
INI_FOLDER = Setting("PHPINIDir", "")  # "": where this PHP was built to look
PHP_SERVER = Setting("PHPServer", "")  # "": `newest_server`


def _parse(*, admin: bool, flag: bool) -> Callable[[Call], Values]:
    def parse(call: Call) -> Values:
        name, text = words(2, 2)(call)
        if not _NAME.fullmatch(name):
            raise ArgumentError(f"expected the name of a PHP setting, not {name!r}")
        if "$pool" in text:
            raise ArgumentError("expected a value without '$pool', which php-fpm replaces")
        if flag:
            text = _flag(text, call)
        elif text.lower() == "none":
            text = ""
        if name in LOADS_CODE:
            call.notes.append(f"{call.name} {name} has no effect: it belongs in php.ini")
        elif name in SYSTEM and not admin:
            call.notes.append(f"{call.name} {name} has no effect: use php_admin_value or php_admin_flag")
        return {name: Value(text, admin)}

    return parse


def _flag(word: str, call: Call) -> str:
    """On and 1 are true. All else is false, as in mod_php, even "true"."""
    if word.lower() not in ("on", "off", "0", "1"):
        call.notes.append(f"{call.name} {call.args[0]}: {word!r} is neither On nor Off, and counts as Off")
    return "1" if word.lower() in ("on", "1") else "0"


def parse_server(call: Call) -> str:
    """The path of a php-fpm."""
    name = path()(call)
    if not Path(name).is_file() or not os.access(name, os.X_OK):
        raise ArgumentError(f"expected the path of a php-fpm, not {name!r}")
    return name


for _name, _admin, _is_flag, _help in (
    ("php_value", False, False, "A setting of PHP, which a script may change."),
    ("php_flag", False, True, "A setting of PHP that is on or off, which a script may change."),
    ("php_admin_value", True, False, "A setting of PHP that no inner section and no script may change."),
    ("php_admin_flag", True, True, "Like php_admin_value, for settings that are on or off."),
):
    declare(
        Directive(
            name=_name,
            module="mod_php",
            syntax="name On|Off" if _is_flag else "name value",
            where=SECTIONS if _admin else ANYWHERE,
            override=Override.NONE if _admin else Override.OPTIONS,
            help=_help,
            parse=_parse(admin=_admin, flag=_is_flag),
            setting=VALUES,
            fold=_fold,
        )
    )

declare(
    Directive(
        "PHPINIDir",
        "mod_php",
        "folder|file",
        SERVERS,
        ("The folder of php.ini. Default: where PHP was built to look, with Debian's packages /etc/php/VERSION/fpm."),
        path(),
        setting=INI_FOLDER,
    )
)
declare(
    Directive(
        "PHPServer",
        "ownhost",
        "file",
        SERVERS,
        "The php-fpm that runs PHP scripts, and so the version of PHP. Ownhost's own directive.",
        parse_server,
        setting=PHP_SERVER,
        default="the newest /usr/sbin/php-fpm*",
    )
)


def find_newest(folder: Path) -> str:
    """The php-fpm with the highest version in a folder; "" if there is none."""
    found = [(_version(entry.name), str(entry)) for entry in folder.glob("php-fpm*") if _VERSION.fullmatch(entry.name)]
    return max(found, default=((), ""))[1]


def _version(name: str) -> tuple[int, ...]:
    """8.2 in php-fpm8.2."""
    match = _VERSION.fullmatch(name)
    return tuple(int(part) for part in match[1].split(".")) if match and match[1] else ()


@functools.cache
def newest_server() -> str:
    """The php-fpm that serves without a PHPServer; "" if none is installed."""
    return find_newest(_FOLDER)


def is_there(module: str, loaded: bool) -> bool:
    """Whether PHP is available under a module's name. Up to PHP 7, the names contain its major version."""
    server = newest_server()
    names = ("php", *(f"php{major}" for major in _version(Path(server).name)[:1]))
    return bool(server) and (loaded or module in names)


loading.done_where(DONE_WHERE_INSTALLED, is_there)


def is_on(values: Values) -> bool:
    """Whether scripts are run at all: the setting `engine`."""
    return "engine" not in values or values["engine"].text.lower() in ("1", "on", "yes", "true")


def php_server(request: Request) -> str:
    """The php-fpm for a request. Raises HTTPError 500 if there is none: a script's source is never sent instead."""
    server = request.settings[PHP_SERVER] or newest_server()
    if not server:
        raise HTTPError(500, f"{request.filename}: no php-fpm is installed to run it; see PHPServer", module="php")
    return server


def check_script(request: Request) -> None:
    """The refusals of mod_php before it runs a script. Raises HTTPError 403, 404."""
    if request.path_info and request.settings[ACCEPT_PATH_INFO] == "Off":
        raise HTTPError(
            404, f"{request.filename}: AcceptPathInfo is Off, and {request.path_info} follows", module="php"
        )
    if request.stat is None:
        why = f"script '{request.filename}' not found or unable to stat"
        raise HTTPError(404, why, module="php", level=Level.ERROR)
    if request.is_folder:
        raise HTTPError(403, f"attempt to invoke directory '{request.filename}' as script", module="php")


def refuse_source(request: Request) -> Response:
    """Refuse to show highlighted source. Raises HTTPError."""
    raise HTTPError(403, f"{request.filename}: {SOURCE_HANDLER} is not served", module="php")


def refuse_script(request: Request) -> Response:
    """Refuse a script whose engine is off. Raises HTTPError."""
    raise HTTPError(403, f"{request.filename}: PHP's engine is off here, and its source is not sent", module="php")


def fixup(request: Request) -> Response | None:
    """Check whether the file is PHP's. A media type of that name counts as the handler, as in Apache.

    If the engine is off, the file is refused; Apache would send its source.
    """
    if not request.handler:
        media_type = request.content_type.partition(";")[0].strip().lower()
        if media_type in (*SCRIPT_HANDLERS, SOURCE_HANDLER):
            request.handler = media_type
    if request.handler in SCRIPT_HANDLERS and request.stat is not None and not is_on(request.settings[VALUES]):
        request.handler = OFF_HANDLER
    return None


# Late: all other modules that may name a handler have done so.
register(
    Module(
        name="mod_php",
        identifier="php_module",
        order=98,
        fixup=fixup,
        handlers={SOURCE_HANDLER: refuse_source, OFF_HANDLER: refuse_script},
    )
)
