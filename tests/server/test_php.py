"""PHP as clients see it: Debian's php-fpm, started by the real server as each owner."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from harness import ALICE, BOB, Answer, Process, Server, World
from waiting import eventually

CONFIGURATION = "/etc/apache2/mods-available/php8.2.conf"  # Debian's for mod_php
ON = '<FilesMatch "\\.php$">\nSetHandler application/x-httpd-php\n</FilesMatch>\n'
ECHO = (
    "<?php header('Content-Type: application/json'); echo json_encode(['uid' => posix_getuid(), 'server' => $_SERVER,"
    " 'get' => $_GET, 'post' => $_POST, 'files' => $_FILES, 'cwd' => getcwd()]);"
)


def serve(world: World, extra: str = ON, **scripts: str) -> Server:
    """alice.test, with these scripts: `name_php` is name.php."""
    files: dict[str, str | bytes] = {"echo.php": ECHO}
    files.update((name.replace("_php", ".php"), content) for name, content in scripts.items())
    return world.server(world.virtual_host("alice", ALICE, extra, files))


def content(response: Answer) -> bytes:
    found = response.content
    assert isinstance(found, bytes)
    return found


def told(response: Answer) -> dict[str, Any]:
    """What ECHO was told."""
    assert response.status == 200, content(response)
    found = json.loads(content(response))
    assert isinstance(found, dict)
    return found


def curl(server: Server, path: str, *arguments: str) -> str:
    """What curl prints of alice.test's answer."""
    url = f"http://alice.test:{server.port}{path}"
    command = ["curl", "-sS", "--resolve", f"alice.test:{server.port}:127.0.0.1", *arguments, url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def interpreters(server: Server) -> list[Process]:
    """The processes of php-fpm."""
    return [process for process in server.processes() if process.title.startswith("php-fpm")]


# Who, and how it is asked for


@pytest.mark.parametrize(
    "how",
    [
        ON,
        "AddHandler application/x-httpd-php .php\n",
        "AddType application/x-httpd-php .php\n",
        "<Location /echo.php>\nSetHandler php-script\n</Location>\n",
        f"<IfModule mod_php.c>\n{ON}</IfModule>\n",
        f"Include {CONFIGURATION}\n",
    ],
)
def test_a_script_runs_as_its_owner(world: World, how: str) -> None:
    found = told(serve(world, how).get("alice.test", "/echo.php/in%20fo?a=b"))
    assert found["uid"] == ALICE
    assert found["get"] == {"a": "b"}
    assert found["cwd"] == f"{world.folder}/alice"
    variables = found["server"]
    assert (variables["PATH_INFO"], variables["SCRIPT_NAME"]) == ("/in fo", "/echo.php")
    assert variables["SCRIPT_FILENAME"] == f"{world.folder}/alice/echo.php"
    assert variables["PHP_SELF"] == "/echo.php/in fo"


def test_each_owner_has_a_php_of_its_own(world: World) -> None:
    files: dict[str, str | bytes] = {
        "id.php": "<?php echo posix_getuid();",
        "listen.php": "<?php echo implode(' ', array_filter(array_map(fn($l) => explode(' ', $l)[7] ?? '', "
        "array_map(fn($l) => preg_replace('/ +/', ' ', $l), file('/proc/net/unix')))));",
        "reach.php": "<?php echo @stream_socket_client('unix://' . $_GET['path'], $n, $why) ? 'reached' : $why;",
        "read.php": "<?php echo @file_get_contents($_GET['path']) === false ? 'refused' : 'read';",
    }
    hosts = [world.virtual_host(name, uid, ON, files) for name, uid in (("alice", ALICE), ("bob", BOB))]
    server = world.server("".join(hosts))
    assert content(server.get("alice.test", "/id.php")) == str(ALICE).encode()
    assert content(server.get("bob.test", "/id.php")) == str(BOB).encode()
    assert {process.uid for process in interpreters(server)} == {ALICE, BOB}
    sockets = {uid: socket_of(server, uid) for uid in (ALICE, BOB)}
    assert content(server.get("alice.test", f"/reach.php?path={sockets[ALICE]}")) == b"reached", "the test can tell"
    assert content(server.get("alice.test", f"/reach.php?path={sockets[BOB]}")) == b"Permission denied"
    assert content(server.get("alice.test", f"/read.php?path={world.folder}/bob/id.php")) == b"refused"


def socket_of(server: Server, uid: int) -> str:
    """The path of the socket on which an owner's php-fpm listens."""
    listening = Path("/proc/net/unix").read_text().splitlines()
    paths = {fields[6]: fields[7] for line in listening if len(fields := line.split()) == 8}
    for process in interpreters(server):
        if process.uid == uid:
            for name in process.descriptors().values():
                path = paths.get(name.removeprefix("socket:[").removesuffix("]"), "")
                if path.startswith("/"):
                    return path
    raise AssertionError(f"no php-fpm of {uid} listens")


def test_the_source_is_never_sent(world: World) -> None:
    server = serve(world, ON + "PHPServer /bin/false\n", secret_php="<?php // secret")
    for path in ("/secret.php", "/secret.php/info"):
        response = server.get("alice.test", path)
        assert response.status in (500, 503)
        assert b"secret" not in content(response)
    assert server.get("alice.test", "/none.php").status == 404


def test_credentials_https_and_redirects(world: World) -> None:
    server = serve(world, ON + "ErrorDocument 404 /echo.php?missing\n")
    variables = told(server.get("alice.test", "/echo.php", Authorization="Basic YTpzZWNyZXQ="))["server"]
    assert (variables["PHP_AUTH_USER"], variables["PHP_AUTH_PW"]) == ("a", "secret")
    assert "HTTPS" not in variables
    response = server.get("alice.test", "/missing/x?y=z")
    assert response.status == 404
    variables = json.loads(content(response))["server"]
    expected = {
        "REDIRECT_URL": "/missing/x",
        "REDIRECT_STATUS": "404",
        "REDIRECT_QUERY_STRING": "y=z",
        "REQUEST_URI": "/missing/x?y=z",
        "QUERY_STRING": "missing",
    }
    assert {name: variables.get(name) for name in expected} == expected


def test_index_and_pretty_paths_as_wordpress_has_them(world: World) -> None:
    rules = (
        "DirectoryIndex index.php\n<Directory @DIR@/alice>\nRewriteEngine On\n"
        "RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteBase /\n"
        "RewriteRule ^index\\.php$ - [L]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n"
        "RewriteRule . /index.php [L]\n</Directory>\n"
    )
    server = serve(world, ON + rules, index_php=ECHO, style_css="body {}")
    found = told(server.get("alice.test", "/?p=1"))
    assert found["get"] == {"p": "1"}
    assert (found["server"]["PHP_SELF"], found["server"].get("REDIRECT_URL")) == ("/index.php", None)
    found = told(server.get("alice.test", "/2024/a-post/?page=2"))
    variables = found["server"]
    expected = {
        "REQUEST_URI": "/2024/a-post/?page=2",
        "SCRIPT_NAME": "/index.php",
        "PHP_SELF": "/index.php",
        "REDIRECT_URL": "/2024/a-post/",
        "REDIRECT_STATUS": "200",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert found["get"] == {"page": "2"}
    assert content(server.get("alice.test", "/style_css")) == b"body {}"
    client = server.client()
    client.request("POST", "/form", "a=b", {"Host": "alice.test", "Content-Type": "application/x-www-form-urlencoded"})
    assert json.loads(client.getresponse().read())["post"] == {"a": "b"}
    client.close()


def test_settings_of_folders(world: World) -> None:
    extra = (
        "php_value memory_limit 61M\nphp_admin_value precision 5\n"
        "<Directory @DIR@/alice/d>\nphp_value memory_limit 62M\nphp_admin_flag log_errors off\n</Directory>\n"
    )
    script = "<?php ini_set('precision', 3); ini_set('memory_limit', $_GET['m'] ?? ini_get('memory_limit'));"
    script += "echo ini_get('memory_limit'), ' ', ini_get('precision');"
    server = serve(world, ON + extra, a_php=script)
    world.site("alice", ALICE, {"d/a.php": script})
    for _ in range(2):
        assert content(server.get("alice.test", "/a.php")) == b"61M 5"
        assert content(server.get("alice.test", "/d/a.php")) == b"62M 5"
        assert content(server.get("alice.test", "/a.php?m=90M")) == b"90M 5"


# Bodies


def test_an_upload(world: World) -> None:
    server = serve(world)
    large = world.folder / "large"
    large.write_bytes(b"x" * 1_500_000)
    found = json.loads(curl(server, "/echo.php", "-F", "word=hello", "-F", f"file=@{large};type=text/x"))
    assert found["post"] == {"word": "hello"}
    upload = found["files"]["file"]
    assert (upload["name"], upload["type"], upload["size"], upload["error"]) == ("large", "text/x", 1_500_000, 0)


@pytest.mark.parametrize("how", [(), ("-H", "Transfer-Encoding: chunked")])
def test_a_large_body_takes_no_memory(world: World, how: tuple[str, ...]) -> None:
    script = "<?php $n = 0; $f = fopen('php://input', 'r'); while (!feof($f)) $n += strlen(fread($f, 65536)); echo $n;"
    server = serve(world, ON + "php_value post_max_size 1G\nphp_flag enable_post_data_reading off\n", size_php=script)
    size = 300_000_000
    sparse = world.folder / "sparse"
    with open(sparse, "wb") as file:
        file.truncate(size)
    curl(server, "/echo.php")
    assert curl(server, "/size.php", "-T", str(sparse), "-X", "POST", *how) == str(size)
    for process in [server.worker(ALICE), *interpreters(server)]:
        peak = int(process.status["VmHWM"].split()[0])
        assert peak < 120_000, f"{process.title} took {peak} KiB"


def test_an_upload_of_a_gibibyte_takes_no_memory(world: World) -> None:
    """As forms send it: PHP itself takes the file out of the body, and puts it where the script finds it."""
    script = "<?php $f = $_FILES['file']; echo $f['error'], ' ', $f['size'], ' ', filesize($f['tmp_name']);"
    limits = "LimitRequestBody 0\nphp_value post_max_size 2G\nphp_value upload_max_filesize 2G\n"
    server = serve(world, ON + limits, file_php=script)
    size = 1 << 30
    sparse = world.folder / "sparse"
    with open(sparse, "wb") as file:
        file.truncate(size)
    curl(server, "/echo.php")
    assert curl(server, "/file.php", "-F", f"file=@{sparse}") == f"0 {size} {size}"
    for process in [server.worker(ALICE), *interpreters(server)]:
        peak = int(process.status["VmHWM"].split()[0])
        assert peak < 120_000, f"{process.title} took {peak} KiB"


def test_what_is_flushed_comes_at_once(world: World) -> None:
    script = "<?php echo 'first'; ob_flush(); flush(); while (!file_exists('go')) { usleep(20000); clearstatcache(); }"
    script += "echo 'last';"
    server = serve(world, slow_php=script)
    client = server.client()
    client.request("GET", "/slow.php", headers={"Host": "alice.test"})
    response = client.getresponse()
    assert response.read(5) == b"first"
    (world.folder / "alice" / "go").touch()
    assert response.read() == b"last"
    client.close()


# Failures


def test_errors_exits_and_statuses(world: World) -> None:
    server = serve(
        world,
        ON + "ErrorLog @DIR@/alice.log\nphp_value display_errors 0\nphp_flag log_errors on\n",
        fatal_php="<?php no_such_function();",
        parse_php="<?php this is none",
        exit_php="<?php echo 'so'; exit(3);",
        teapot_php="<?php http_response_code(418); header('X-Own: 1'); echo 'tea';",
        away_php="<?php header('Location: /echo.php');",
        say_php="<?php error_log('said by alice'); echo 'ok';",
        die_php="<?php posix_kill(getmypid(), 9);",
        long_php="<?php set_time_limit(1); while (true);",
    )
    for name in ("fatal", "parse", "die", "long"):
        assert server.get("alice.test", f"/{name}.php").status in (500, 503), name
    assert content(server.get("alice.test", "/exit.php")) == b"so"
    response = server.get("alice.test", "/teapot.php")
    assert (response.status, response.getheader("X-Own"), content(response)) == (418, "1", b"tea")
    response = server.get("alice.test", "/away.php")
    assert (response.status, response.getheader("Location")) == (302, "/echo.php")
    assert content(server.get("alice.test", "/say.php")) == b"ok"
    said = ("no_such_function", "syntax error", "said by alice", "Maximum execution time of 1 second")
    for text in said:
        eventually(lambda: text in server.log("alice.log"), message=f"not in the log: {text}")  # noqa: B023
    assert server.get("alice.test", "/missing.php").status == 404


def test_head_of_a_script(world: World) -> None:
    server = serve(world, page_php="<?php header('X-Own: 1'); echo 'page';")
    response = server.get("alice.test", "/page.php", "HEAD")
    assert (response.status, response.getheader("X-Own"), content(response)) == (200, "1", b"")


def test_a_client_that_leaves_costs_nobody_else_anything(world: World) -> None:
    script = "<?php touch('begun'); echo str_repeat('x', 10000); ob_flush(); flush(); sleep(60);"
    server = serve(world, ON + "php_value ignore_user_abort 0\n", slow_php=script, quick_php="<?php echo 'quick';")
    for _ in range(3):
        begun = world.folder / "alice" / "begun"
        begun.unlink(missing_ok=True)
        with server.connect() as sock:
            sock.sendall(b"GET /slow.php HTTP/1.1\r\nHost: alice.test\r\n\r\n")
            eventually(begun.exists)
    assert content(server.get("alice.test", "/quick.php")) == b"quick"


def test_head_gives_its_turn_back(world: World) -> None:
    script = "<?php for ($i = 0; $i < 200; $i++) { echo str_repeat('x', 10000); ob_flush(); flush(); }"
    host = world.virtual_host("alice", ALICE, ON, {"much.php": script})
    server = world.server("MaxRequestWorkers 1\n" + host)
    for _ in range(4):
        assert server.get("alice.test", "/much.php", "HEAD").status == 200
    assert len(content(server.get("alice.test", "/much.php"))) == 2_000_000


def test_sessions_are_their_owners(world: World) -> None:
    script = "<?php session_save_path('.'); session_start(); $_SESSION['n'] ??= 0; echo ++$_SESSION['n'];"
    server = serve(world, count_php=script)
    first = server.get("alice.test", "/count.php")
    cookie = (first.getheader("Set-Cookie") or "").partition(";")[0]
    assert (content(first), cookie[:10]) == (b"1", "PHPSESSID=")
    assert content(server.get("alice.test", "/count.php", Cookie=cookie)) == b"2"
    (kept,) = (world.folder / "alice").glob("sess_*")
    assert kept.stat().st_uid == ALICE


# Statuses and conditions


DATE = "Sat, 01 Nov 2025 10:00:00 GMT"


@pytest.mark.parametrize(
    "condition",
    [
        {"If-None-Match": '"v"'},
        {"If-Modified-Since": DATE},
        {"If-Match": '"w"'},
        {"If-Unmodified-Since": "Sat, 01 Nov 2025 09:00:00 GMT"},
    ],
)
def test_conditions_are_the_scripts_to_look_at(world: World, condition: dict[str, str]) -> None:
    script = f"<?php header('Last-Modified: {DATE}'); header('ETag: \"v\"'); echo 'fresh ', $_COOKIE['u'];"
    server = serve(world, m_php=script)
    response = server.get("alice.test", "/m.php", Cookie="u=me", **condition)
    assert (response.status, content(response)) == (200, b"fresh me")


def test_a_date_stays_as_the_script_has_written_it(world: World) -> None:
    dates = ["Sat, 01 Nov 2025 10:00:00 +0100", "soon", "Sat, 28 Nov 2099 10:00:00 GMT"]
    server = serve(world, m_php="<?php header('Last-Modified: ' . $_GET['d']);")
    for date in dates:
        response = server.get("alice.test", f"/m.php?d={quote(date)}")
        assert (response.status, response.getheader("Last-Modified")) == (200, date)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 404),
        ("header('HTTP/1.1 200 OK');", 200),
        ("header('HTTP/1.0 200 Found after all');", 200),
        ("header($_SERVER['SERVER_PROTOCOL'] . ' 200 OK');", 200),
        ("header('Status: 200 OK');", 404),  # a field like any other to mod_php
        ("header('HTTP/1.1 410 Gone');", 410),
        ("http_response_code(201);", 201),
        ("header('Location: /elsewhere');", 302),
    ],
)
def test_the_status_of_an_error_document(world: World, code: str, status: int) -> None:
    server = serve(world, f"{ON}ErrorDocument 404 /error.php\n", error_php=f"<?php {code} echo 'page';")
    response = server.get("alice.test", "/missing")
    assert (response.status, content(response)) == (status, b"page")


def test_status_lines_of_scripts(world: World) -> None:
    server = serve(world, s_php="<?php header($_GET['s']); echo 'page';")
    for line, status in (
        ("HTTP/1.1 404 Nope", 404),
        ("HTTP/2 503", 503),
        ("http/1.0 203 x", 203),
        ("Status: 402", 402),
    ):
        response = server.get("alice.test", f"/s.php?s={quote(line)}")
        assert (response.status, content(response)) == (status, b"page")


# X-Sendfile


def test_a_file_in_the_stead_of_an_answer(world: World) -> None:
    extra = "XSendFile On\nXSendFilePath @DIR@/alice/kept\n<Location /plain.php>\nXSendFile Off\n</Location>\n"
    script = "<?php header('Content-Type: application/x-own'); header('X-Own: 1'); echo 'no';"
    script += "header('X-Sendfile: ' . $_GET['f']);"
    files: dict[str, str | bytes] = {"www/f.php": script, "www/plain.php": script, "www/beside": "beside"}
    files |= {"kept/large file": os.urandom(3_000_000), "secret": "secret"}
    root = world.site("alice", ALICE, files)
    world.site("bob", BOB, {"file": "bob's"})
    server = world.server(
        world.virtual_host("alice", ALICE, ON + extra, files).replace(
            f"DocumentRoot {root}", f"DocumentRoot {root}/www"
        )
    )
    response = server.get("alice.test", f"/f.php?f={root}/kept/large%2520file")
    assert (response.status, content(response)) == (200, files["kept/large file"])
    assert (response.getheader("Content-Type"), response.getheader("X-Own")) == ("application/x-own", "1")
    assert response.getheader("X-Sendfile") is None
    etag = response.getheader("ETag")
    assert etag
    path = f"/f.php?f={root}/kept/large%2520file"
    assert server.get("alice.test", path, If_None_Match=etag).status == 304
    part = server.get("alice.test", path, Range="bytes=10-19")
    assert (part.status, content(part)) == (206, files["kept/large file"][10:20])
    assert server.get("alice.test", path, "HEAD").getheader("Content-Length") == "3000000"
    assert content(server.get("alice.test", "/f.php?f=beside")) == b"beside"
    for name in (f"{root}/secret", "../secret", "none", f"{world.folder}/bob/file", "/etc/passwd", f"{root}/kept", ""):
        response = server.get("alice.test", f"/f.php?f={name}")
        assert response.status == (404 if name else 200), name
    response = server.get("alice.test", "/plain.php?f=beside")
    assert (content(response), response.getheader("X-Sendfile")) == (b"no", "beside")
