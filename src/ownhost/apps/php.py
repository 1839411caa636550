"""PHP: a php-fpm for each identity, and for each different set of PHP settings that an identity has.

A setting that php-fpm gets with a request (PHP_VALUE, PHP_ADMIN_VALUE) stays in the process that
served it, for later requests; an admin's value can never be taken back there. So no settings are
sent with requests. They are in the pool's configuration, and scripts with different settings have
another `App`, with its own processes and opcode cache. Most sites need one or two.

Sources: php-fpm's configuration (manual, "FastCGI Process Manager"), and php-fpm 8.2 itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from ownhost.apps.answer import launcher_of
from ownhost.apps.app import FOLDER, SOCKET, App, Protocol
from ownhost.apps.cgi_head import Dialect
from ownhost.apps.environment import environment
from ownhost.apps.fastcgi_client import ask_app
from ownhost.config.module_table import DONE_WHERE_INSTALLED
from ownhost.http.message import RequestBody, Response
from ownhost.modules.mod_php import INI_FOLDER, SCRIPT_HANDLERS, VALUES, Value, Values, check_script, php_server
from ownhost.modules.mpm import (
    MAX_CONNECTIONS_PER_CHILD,
    MAX_REQUEST_WORKERS,
    MAX_SPARE_SERVERS,
    MIN_SPARE_SERVERS,
    START_SERVERS,
)
from ownhost.modules.php_names import LOADS_CODE, OF_MOD_PHP, SYSTEM
from ownhost.request.module import Module, register
from ownhost.request.request import Request
from ownhost.request.routes import known

CHILD_IDLE = 10  # seconds that a process without a request stays
LONGEST_REQUEST = 3_600  # seconds; a script that waits for ever uses no processor time, so max_execution_time lets it
CONFIG = "fpm.conf"

# php.ini does not count for these. mod_php knows no .user.ini; and PHP_SELF is right only with
# fix_pathinfo.
_FIXED = (
    *("-d", "user_ini.filename="),
    *("-d", "cgi.fix_pathinfo=1"),
    *("-d", "fastcgi.logging=1"),
    # A status line that a script has written arrives unchanged; otherwise Status, even for 200
    # (cgi_head.Dialect).
    *("-d", "cgi.nph=1"),
    *("-d", "cgi.rfc2616_headers=1"),
)
# A variable with one of these names, from SetEnv or a client's field, would be a setting for
# php-fpm.
_SETTINGS = frozenset(("PHP_VALUE", "PHP_ADMIN_VALUE"))


def handle(request: Request) -> Response:
    """Have PHP run a script. Raises HTTPError 403, 404."""
    request.pure = False
    check_script(request)
    return Response(200, deferred=lambda body: run(request, body))


async def run(request: Request, body: RequestBody) -> Response:
    """php-fpm's response. Raises HTTPError."""
    launcher = launcher_of(request, "php")
    content = await body.read() if request.head.has_body else None
    base = environment(request, body_length=None if content is None else content.size)
    app = known(request, "php", app_of)
    return await ask_app(request, launcher, app, php_environment(base, request), content, dialect=Dialect.PHP)


def app_of(request: Request) -> App:
    """The php-fpm that runs a request's script. Raises HTTPError 500 if none is installed."""
    settings = request.settings
    return _app(
        php_server(request),
        settings[INI_FOLDER],
        tuple(settings[VALUES].items()),
        (
            settings[MAX_REQUEST_WORKERS],
            settings[START_SERVERS],
            settings[MIN_SPARE_SERVERS],
            settings[MAX_SPARE_SERVERS],
        ),
        settings[MAX_CONNECTIONS_PER_CHILD],
    )


@functools.lru_cache(256)
def _app(
    server: str,
    ini: str,
    values: tuple[tuple[str, Value], ...],
    numbers: tuple[int, int, int, int],
    max_requests: int,
) -> App:
    config = fpm_config(dict(values), process_manager(*numbers), max_requests)
    command = (server, "--nodaemonize", "--force-stderr", "--fpm-config", f"{FOLDER}/{CONFIG}", *_FIXED)
    return App(
        name=Path(server).name,
        command=(*command, "-c", ini) if ini else command,
        protocol=Protocol.FASTCGI,
        module="php",
        echoes=True,
        files=((CONFIG, config),),
        listens=False,
        keeps_lines=max_requests != 1,
        processes=numbers[0],
        max_requests=max_requests,
    )


def process_manager(most: int, first: int, spare: int, most_spare: int) -> tuple[str, ...]:
    """The lines for the number of processes: on demand, unless StartServers or MinSpareServers is set."""
    lines = (f"pm.max_children = {most + 1}",)  # one spare, or php-fpm warns about a limit that is kept elsewhere
    if not first and not spare:
        return ("pm = ondemand", f"pm.process_idle_timeout = {CHILD_IDLE}s", *lines)
    spare = min(max(spare, 1), most)  # php-fpm refuses 0; prefork, too, treats it as 1
    most_spare = min(max(most_spare, spare + 1), most + 1)
    return (
        "pm = dynamic",
        f"pm.start_servers = {min(max(first, spare), most_spare)}",
        f"pm.min_spare_servers = {spare}",
        f"pm.max_spare_servers = {most_spare}",
        *lines,
    )


def fpm_config(values: Values, manager: tuple[str, ...], max_requests: int) -> str:
    """php-fpm's configuration. It names no user: php-fpm runs as the owner from the start."""
    lines = (
        "[global]",
        "error_log = /dev/null",  # must be a file that the owner may open; with --force-stderr it is not used
        "log_level = warning",
        "log_limit = 8192",  # bytes of a message, as in Apache
        "[php]",
        f"listen = {SOCKET}",
        "listen.mode = 0600",
        *manager,
        f"pm.max_requests = {max_requests}",
        f"request_terminate_timeout = {LONGEST_REQUEST}s",
        "catch_workers_output = yes",
        "decorate_workers_output = no",
        "clear_env = no",
        "security.limit_extensions =",  # the handler decides what is a script
        *setting_lines(values),
    )
    return "\n".join((*lines, ""))


def setting_lines(values: Values) -> list[str]:
    """The lines for PHP's settings, in alphabetical order. What mod_php would not set is left out."""
    return [
        f"php_{'admin_' if value.admin else ''}value[{name}] = {quoted(value.text)}"
        for name, value in sorted(values.items())
        if name not in LOADS_CODE | OF_MOD_PHP and (value.admin or name not in SYSTEM)
    ]


def quoted(text: str) -> str:
    """A text that PHP's ini parser reads back unchanged.

    In single quotes only their end is special. Adjacent strings are joined, so a quote is put into
    double quotes. Braces stand alone, so that the launcher finds no placeholder. Backslashes before
    double quotes have too many meanings.
    """
    parts = re.findall(r"[^'{]+|'|\{", text)
    return "".join(f'"{part}"' if part == "'" else f"'{part}'" for part in parts) or '""'


def php_environment(base: Mapping[str, str], request: Request) -> dict[str, str]:
    """The variables for php-fpm, from those for any program, so that scripts find what mod_php shows them.

    php-fpm makes PHP_AUTH_USER, PHP_AUTH_PW and PHP_AUTH_DIGEST from HTTP_AUTHORIZATION, which
    other programs don't get.
    """
    variables = dict(base)
    for name in _SETTINGS:
        variables.pop(name, None)
    variables["SCRIPT_FILENAME"] = request.filename
    authorization = request.head.values.get("authorization")
    if authorization:
        variables["HTTP_AUTHORIZATION"] = authorization
    if request.path_info and "REDIRECT_URL" in variables:
        # php-fpm takes these two together for an Action's, and would hide PATH_INFO or run
        # PATH_TRANSLATED. If the file name is the whole path, it looks for the script itself, and
        # finds both again.
        variables["SCRIPT_FILENAME"] += request.path_info
        variables.pop("PATH_TRANSLATED", None)
    return variables


register(
    Module(
        name="php-fpm",
        identifier="php-fpm_module",
        handlers=dict.fromkeys(SCRIPT_HANDLERS, handle),
        stands_for=DONE_WHERE_INSTALLED,
    )
)
