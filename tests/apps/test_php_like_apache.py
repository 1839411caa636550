"""The same scripts and the same configuration for Debian's mod_php under mpm_itk and for php-fpm: the answers agree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.php_server import make_request, make_site, started, variables
from harness import ALICE, Server, World, free_port
from ownhost.apps.php import app_of
from ownhost.http.message import FileBody, HTTPError
from ownhost.modules.mod_php import SCRIPT_HANDLERS, check_script
from ownhost.request import serve
from waiting import eventually

MODULES = Path("/usr/lib/apache2/modules")
LOADED = "mpm_prefork authz_core dir env mime setenvif"
PHP_INI = Path("/etc/php/8.2/apache2/php.ini")

CONFIGURATION = """\
PHPINIDir @INI@
php_value memory_limit 60M
php_admin_value upload_max_filesize 6M
php_value post_max_size 9M
php_value allow_url_fopen 0
php_flag display_errors true
php_flag log_errors oN
php_value auto_append_file none
php_value error_reporting E_ALL
php_value user_agent "a\\\\b 'c' \\"d\\" ${e}"
php_value no.such.setting 1
php_value user_ini.filename .user.ini
<Directory @ROOT@/d>
    php_admin_value memory_limit 61M
    php_value upload_max_filesize 7M
    php_value post_max_size 10M
    php_flag display_errors On
</Directory>
<Directory @ROOT@/d/e>
    php_value memory_limit 62M
    php_admin_value memory_limit 63M
    php_admin_value upload_max_filesize 8M
    php_value precision 3
</Directory>
<Directory @ROOT@/d/e/f>
    php_admin_value memory_limit 64M
    php_value memory_limit 65M
</Directory>
<Location /d/e/>
    php_value precision 4
</Location>
<Files other.php>
    php_value precision 5
</Files>
<Directory @ROOT@/off>
    php_flag engine off
</Directory>
<Directory @ROOT@/off/inner>
    php_flag engine on
</Directory>
<Directory @ROOT@/never>
    php_admin_flag engine off
</Directory>
<Directory @ROOT@/never/inner>
    php_flag engine on
</Directory>
<Files strict.php>
    AcceptPathInfo Off
</Files>
<Directory @ROOT@/dir>
    SetHandler application/x-httpd-php
</Directory>
AddType application/x-httpd-php .phtml
AddType application/x-httpd-php .off
"""
NAMES = (
    "memory_limit upload_max_filesize post_max_size allow_url_fopen display_errors log_errors auto_append_file "
    "error_reporting user_agent precision disable_functions html_errors max_execution_time"
)
INI = f"<?php foreach (explode(' ', '{NAMES}') as $name) $all[$name] = ini_get($name); echo json_encode($all);"
SET = (
    "<?php foreach (['memory_limit', 'precision'] as $n) { @ini_set($n, '200M'); $a[$n] = ini_get($n); } "
    "echo json_encode($a);"
)
SERVER = (
    "<?php foreach (['SCRIPT_FILENAME', 'SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED', 'PHP_SELF', 'PHP_AUTH_USER', "
    "'PHP_AUTH_PW', 'QUERY_STRING', 'REQUEST_URI'] as $n) $a[$n] = $_SERVER[$n] ?? null; echo json_encode($a);"
)
FILES: dict[str, str | bytes] = {
    **dict.fromkeys(
        ("i.php", "other.php", "page.phtml", "d/i.php", "d/other.php", "d/e/i.php", "d/e/f/i.php", "off/i.php"), INI
    ),
    **dict.fromkeys(("off/page.off", "off/inner/i.php", "never/i.php", "never/inner/i.php"), INI),
    "d/.user.ini": "precision=9",
    "set.php": SET,
    "d/set.php": SET,
    "d/e/set.php": SET,
    "server.php": SERVER,
    "strict.php": "",
    "dir/empty": "",
    "status.php": "<?php http_response_code(404); echo 'gone';",
    "echo.php": "<?php echo php_uname('s'), getcwd(), posix_getuid();",
}
OFF = ("/off/i.php", "/off/page.off", "/never/i.php", "/never/inner/i.php")
TARGETS = [
    *(f"/{name}" for name in FILES if not name.endswith((".ini", "empty")) and f"/{name}" not in OFF),
    "/server.php/more/a%20b?c=d",
    "/server.php?",
    "/i.php/more",
]


@pytest.fixture(scope="module")
def tree() -> Iterator[tuple[World, Path, str]]:
    world = World()
    try:
        root = world.site("s", ALICE, FILES)
        text = CONFIGURATION.replace("@ROOT@", str(root)).replace("@INI@", str(PHP_INI))
        yield world, root, text
    finally:
        world.close()


@pytest.fixture(scope="module")
def apache(tree: tuple[World, Path, str]) -> Iterator[Server]:
    """Apache with mod_php, serving the tree as its owner."""
    world, root, text = tree
    port = free_port()
    path = world.folder / "apache.conf"
    loads = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED.split()]
    loads += [f"LoadModule mpm_itk_module {MODULES}/mpm_itk.so", f"LoadModule php_module {MODULES}/libphp8.2.so"]
    path.write_text(
        "\n".join(loads) + f"\nListen 127.0.0.1:{port}\nServerName h.test\nUser www-data\nGroup www-data\n"
        f"PidFile {world.folder}/apache.pid\nErrorLog {world.folder}/apache.log\nTypesConfig /dev/null\n"
        f'AssignUserID "#{ALICE}" "#{ALICE}"\nDocumentRoot {root}\n'
        f'<FilesMatch "\\.php$">\nSetHandler application/x-httpd-php\n</FilesMatch>\n{text}'
    )
    process = subprocess.Popen(
        ["/usr/sbin/apache2", "-f", path, "-DFOREGROUND"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # it ends its whole group
    )
    try:
        pid = world.folder / "apache.pid"
        eventually(lambda: process.poll() is not None or pid.exists(), 20)
        assert process.poll() is None, process.communicate()[1]
        yield Server(world.folder, port, path)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def ours(tree: tuple[World, Path, str], target: str, fields: str) -> tuple[int, bytes]:
    world, root, text = tree
    request = make_request(make_site(world, root, text), target, fields)
    if request.handler in SCRIPT_HANDLERS:
        with started(app_of(request)) as fpm:
            answer = fpm.ask(variables(request))
            return answer.status, answer.body
    response = serve.respond(request)
    assert isinstance(response.body, bytes | FileBody)
    if isinstance(response.body, bytes):
        return response.status, response.body
    with open(response.body.fd, "rb") as file:
        return response.status, file.read()


@pytest.mark.parametrize("target", TARGETS)
def test_both_answer_alike(tree: tuple[World, Path, str], apache: Server, target: str) -> None:
    their = apache.get("h.test", target, Authorization="Basic YWxpY2U6b3Blbg==")
    content: bytes = their.content
    status, body = ours(tree, target, "Authorization: Basic YWxpY2U6b3Blbg==\r\n")
    assert (status, shown(body)) == (their.status, shown(content))


@pytest.mark.parametrize("target", OFF)
def test_apache_sends_the_source_where_the_engine_is_off(
    tree: tuple[World, Path, str], apache: Server, target: str
) -> None:
    their = apache.get("h.test", target)
    assert (their.status, their.content) == (200, INI.encode())
    status, body = ours(tree, target, "")
    assert status == 403
    assert b"<?php" not in body


@pytest.mark.parametrize("target", ["/strict.php/more", "/none.php", "/none.php/more", "/dir/"])
def test_both_refuse_alike(tree: tuple[World, Path, str], apache: Server, target: str) -> None:
    world, root, text = tree
    with pytest.raises(HTTPError) as caught:
        check_script(make_request(make_site(world, root, text), target))
    assert caught.value.status == apache.get("h.test", target).status


def shown(body: bytes) -> object:
    """What a script said, for a difference to be seen."""
    return json.loads(body) if body.startswith(b"{") else body
