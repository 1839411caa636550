"""PHP by a real php-fpm, which runs as a uid without an account."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.php_server import STDOUT, Answer, ask, make_request, make_site, records, serving, started, variables
from harness import ALICE, World
from ownhost.apps.app import SOCKET
from ownhost.apps.php import app_of, fpm_config, process_manager, quoted, setting_lines
from ownhost.modules.mod_php import Value, newest_server
from ownhost.modules.php_names import SYSTEM
from waiting import eventually

SHOW = "<?php echo json_encode($_SERVER);"
INI = "<?php foreach (explode(',', $_GET['n']) as $n) $all[$n] = ini_get($n); echo json_encode($all);"


def ini(world: World, root: Path, target: str, configuration: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(ask(world, root, target, configuration).body)
    return found


# Variables


def test_the_request_is_what_mod_php_shows(world: World) -> None:
    root = world.site("s", ALICE, {"d/i.php": SHOW})
    with serving(world, root, "/d/i.php/more/a%20b?q=1") as (fpm, request):
        seen = json.loads(fpm.ask(variables(request)).body)
    assert seen["SCRIPT_FILENAME"] == f"{root}/d/i.php"
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/d/i.php", "/more/a b")
    assert (seen["PHP_SELF"], seen["QUERY_STRING"]) == ("/d/i.php/more/a b", "q=1")
    assert seen["PATH_TRANSLATED"] == f"{root}/more/a b"
    assert not [name for name in seen if name.startswith("ORIG_")]


def test_a_redirected_request_keeps_its_path_info(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": SHOW})
    with serving(world, root, "/i.php/more") as (fpm, request):
        seen = json.loads(fpm.ask(variables(request, REDIRECT_URL="/pretty", REDIRECT_STATUS="200")).body)
    assert (seen["REDIRECT_URL"], seen["REDIRECT_STATUS"]) == ("/pretty", "200")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["PHP_SELF"]) == ("/i.php", "/more", "/i.php/more")
    assert seen["SCRIPT_FILENAME"] == f"{root}/i.php"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Basic YWxpY2U6b3BlbjpzZXNhbWU=", {"PHP_AUTH_USER": "alice", "PHP_AUTH_PW": "open:sesame"}),
        ('Digest username="alice"', {"PHP_AUTH_DIGEST": 'username="alice"'}),
        ("Bearer token", {"HTTP_AUTHORIZATION": "Bearer token"}),
    ],
)
def test_credentials_reach_scripts(world: World, field: str, expected: dict[str, str]) -> None:
    root = world.site("s", ALICE, {"i.php": SHOW})
    request = make_request(make_site(world, root), "/i.php", f"Authorization: {field}\r\n")
    with started(app_of(request)) as fpm:
        seen = json.loads(fpm.ask(variables(request)).body)
    assert {name: seen[name] for name in expected} == expected


def test_variables_are_no_settings(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": INI})
    with serving(world, root, "/i.php?n=memory_limit") as (fpm, request):
        for name in ("PHP_VALUE", "PHP_ADMIN_VALUE"):
            answer = fpm.ask(variables(request, **{name: "memory_limit=7M"}))
            assert json.loads(answer.body) == {"memory_limit": "128M"}


def test_it_runs_as_the_owner_in_the_scripts_folder(world: World) -> None:
    root = world.site("s", ALICE, {"d/i.php": "<?php echo fileowner('/proc/self'), getcwd(), '|', getenv('HOME');"})
    with serving(world, root, "/d/i.php") as (fpm, request):
        assert fpm.ask(variables(request)).body == f"{ALICE}{root}/d|".encode()
        assert os.stat(fpm.folder / "socket").st_mode & 0o777 == 0o600
        assert fpm.log == ""


# Bodies, output, ends


def test_an_upload_arrives(world: World) -> None:
    code = "<?php $f = $_FILES['f']; echo $f['name'], $f['size'], md5_file($f['tmp_name']), $_POST['a'];"
    root = world.site("s", ALICE, {"i.php": code})
    content = os.urandom(1 << 20)
    body = (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n' + content + b"\r\n--x--\r\n"
    )
    with serving(world, root, "/i.php") as (fpm, request):
        kind = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": str(len(body))}
        answer = fpm.ask(variables(request, REQUEST_METHOD="POST", **kind), body)
    digest = subprocess.run(["md5sum"], input=content, capture_output=True, check=True).stdout[:32]
    assert answer.body == b"f.bin%d%bb" % (len(content), digest)


def test_flush_sends_what_there_is(world: World) -> None:
    code = "<?php echo 'first'; @ob_flush(); flush(); while (!@stat('go')) usleep(1000); echo 2;"
    root = world.site("s", ALICE, {"i.php": code})
    with serving(world, root, "/i.php") as (fpm, request):
        stream = records(fpm.send(variables(request)))
        seen = b""
        while not seen.endswith(b"first"):
            kind, content = next(stream)
            assert kind == STDOUT
            seen += content
        (root / "go").touch()
        assert b"".join(content for kind, content in stream if kind == STDOUT) == b"2"


def test_a_fatal_error_is_500_and_explained_on_stderr(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": "<?php nowhere();"})
    answer = ask(world, root, "/i.php", "php_flag display_errors off\nphp_flag log_errors on\n")
    assert (answer.status, answer.body) == (500, b"")
    assert b"undefined function nowhere()" in answer.errors


def test_a_parse_error_is_500(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": "<?php ]"})
    answer = ask(world, root, "/i.php", "php_flag display_errors off\nphp_flag log_errors on\n")
    assert answer.status == 500
    assert b"PHP Parse error" in answer.errors


def test_an_endless_loop_ends_with_max_execution_time(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": "<?php while (true);"})
    said = "php_flag display_errors off\nphp_flag log_errors on\nphp_admin_value max_execution_time 1\n"
    answer = ask(world, root, "/i.php", said)
    assert answer.status == 500
    assert b"Maximum execution time of 1 second exceeded" in answer.errors


def test_statuses_exits_and_deaths(world: World) -> None:
    files: dict[str, str | bytes] = {
        "exit.php": "<?php echo 'x'; exit(3);",
        "teapot.php": "<?php http_response_code(418); header('X-A: b');",
        "dies.php": "<?php posix_kill(getmypid(), 9);",
        "log.php": "<?php error_log('to the log'); file_put_contents('php://stderr', \"by hand\\n\");",
    }
    root = world.site("s", ALICE, files)
    site = make_site(world, root, "php_flag log_errors on\n")
    with started(app_of(make_request(site, "/exit.php"))) as fpm:

        def get(name: str) -> Answer:
            return fpm.ask(variables(make_request(site, name)))

        assert (get("/exit.php").status, get("/exit.php").body) == (200, b"x")
        teapot = get("/teapot.php")
        assert (teapot.status, "X-A: b" in teapot.fields) == (418, True)
        assert get("/dies.php").fields == [""]
        assert b"to the log" in get("/log.php").errors
        assert get("/exit.php").body == b"x"
        eventually(lambda: "by hand" in fpm.log and "exited on signal 9" in fpm.log)


# Settings


NAMES = "/d/i.php?n=memory_limit,upload_max_filesize,user_ini.filename"


def test_settings_of_folders(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": INI, "d/i.php": INI, "d/.user.ini": "memory_limit=1G"})
    said = (
        "php_value upload_max_filesize 5M\n"
        f"<Directory {root}/d>\nphp_value memory_limit 77M\nphp_flag display_errors on\n</Directory>\n"
    )
    assert ini(world, root, NAMES, said) == {
        "memory_limit": "77M",
        "upload_max_filesize": "5M",
        "user_ini.filename": "",
    }
    assert ini(world, root, NAMES[2:], said)["memory_limit"] == "128M"


def test_a_script_changes_values_but_not_an_admins(world: World) -> None:
    code = "<?php var_dump(ini_set('memory_limit', '99M'), ini_get('memory_limit'));"
    root = world.site("s", ALICE, {"i.php": code})
    free = ask(world, root, "/i.php", "php_value memory_limit 77M\n").body
    assert free == b'string(3) "77M"\nstring(3) "99M"\n'
    fixed = ask(world, root, "/i.php", "php_admin_value memory_limit 77M\n").body
    assert fixed == b'bool(false)\nstring(3) "77M"\n'


def test_no_setting_leaks_to_another_request(world: World) -> None:
    """Requests with different settings are never served by the same processes."""
    root = world.site("s", ALICE, {"i.php": INI, "d/i.php": INI, "e/i.php": INI})
    said = f"<Directory {root}/d>\nphp_admin_value memory_limit 77M\nphp_value precision 5\n</Directory>\n"
    site = make_site(world, root, said)
    plain, special, also_plain = (make_request(site, f"/{path}i.php?n=precision") for path in ("", "d/", "e/"))
    assert app_of(plain) == app_of(also_plain)
    assert hash(app_of(plain)) != hash(app_of(special))
    with started(app_of(special)) as of_special, started(app_of(plain)) as of_plain:
        assert json.loads(of_special.ask(variables(special)).body) == {"precision": "5"}
        assert json.loads(of_plain.ask(variables(plain)).body) == {"precision": "14"}


def test_what_a_script_sets_is_gone_with_it(world: World) -> None:
    files: dict[str, str | bytes] = {"set.php": "<?php ini_set('precision', '3'); putenv('LEFT=1');", "i.php": INI}
    root = world.site("s", ALICE, files)
    site = make_site(world, root, "MaxRequestWorkers 1\n")
    with started(app_of(make_request(site, "/i.php"))) as fpm:
        fpm.ask(variables(make_request(site, "/set.php")))
        answer = fpm.ask(variables(make_request(site, "/i.php?n=precision")))
        assert json.loads(answer.body) == {"precision": "14"}


def test_max_connections_per_child_1_gives_every_request_a_process(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": "<?php echo getmypid();"})
    with serving(world, root, "/i.php", "MaxConnectionsPerChild 1\n") as (fpm, request):
        assert len({fpm.ask(variables(request)).body for _ in range(4)}) == 4


def test_php_ini_is_where_the_administrator_says(world: World) -> None:
    (world.folder / "php.ini").write_text("memory_limit = 55M\ncgi.fix_pathinfo = 0\nuser_ini.filename = .user.ini\n")
    root = world.site("s", ALICE, {"i.php": INI})
    assert ini(world, root, "/i.php?n=memory_limit,user_ini.filename,cgi.fix_pathinfo", "PHPINIDir .\n") == {
        "memory_limit": "55M",
        "user_ini.filename": "",
        "cgi.fix_pathinfo": "1",
    }


def test_any_file_may_be_a_script(world: World) -> None:
    root = world.site("s", ALICE, {"page.html": "<?php echo 6 * 7;"})
    with serving(world, root, "/page.html", "AddHandler application/x-httpd-php .html\n") as (fpm, request):
        assert request.handler == "application/x-httpd-php"
        assert fpm.ask(variables(request)).body == b"42"


def test_php_knows_no_other_settings_that_are_an_administrators() -> None:
    code = "foreach (ini_get_all() as $name => $setting) if ($setting['access'] == 4) echo $name, ' ';"
    found = subprocess.run(["/usr/bin/php8.2", "-r", code], capture_output=True, check=True, text=True).stdout
    assert set(found.split()) <= SYSTEM


def test_what_mod_php_would_not_set_is_not_set() -> None:
    values = {
        "engine": Value("0", admin=True),
        "extension": Value("evil.so"),
        "zend_extension": Value("evil.so", admin=True),
        "disable_functions": Value(""),
        "allow_url_fopen": Value("0", admin=True),
        "precision": Value("5"),
    }
    assert setting_lines(values) == ["php_admin_value[allow_url_fopen] = '0'", "php_value[precision] = '5'"]


def test_limits_are_the_servers(world: World) -> None:
    root = world.site("s", ALICE, {"i.php": ""})
    request = make_request(make_site(world, root, "MaxRequestWorkers 7\nMaxConnectionsPerChild 3\n"), "/i.php")
    app = app_of(request)
    assert (app.processes, app.max_requests) == (7, 3)
    assert app.files == (("fpm.conf", fpm_config({}, process_manager(7, 0, 0, 10), 3)),)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((256, 0, 0, 10), ["ondemand"]),
        ((256, 5, 0, 10), ["dynamic", "5", "1", "10"]),
        ((256, 0, 3, 10), ["dynamic", "3", "3", "10"]),
        ((256, 12, 5, 10), ["dynamic", "10", "5", "10"]),
        ((256, 2, 5, 4), ["dynamic", "5", "5", "6"]),
        ((1, 5, 5, 10), ["dynamic", "2", "1", "2"]),
        ((1, 5, 0, 1), ["dynamic", "2", "1", "2"]),
    ],
)
def test_numbers_of_processes(world: World, numbers: tuple[int, int, int, int], expected: list[str]) -> None:
    """MaxRequestWorkers, StartServers, MinSpareServers, MaxSpareServers: as prefork's, and as php-fpm takes them."""
    lines = dict(line.split(" = ") for line in process_manager(*numbers))
    names = ("pm", "pm.start_servers", "pm.min_spare_servers", "pm.max_spare_servers")
    assert [lines[name] for name in names if name in lines] == expected
    text = fpm_config({}, process_manager(*numbers), 0).replace(SOCKET, f"{world.folder}/socket")
    config = world.site("s", ALICE, {"fpm.conf": text}) / "fpm.conf"
    command = [newest_server(), "-n", "-t", "-y", str(config), "--force-stderr"]
    asked = subprocess.run(command, capture_output=True, text=True, user=ALICE, group=ALICE)
    assert asked.returncode == 0, asked.stderr


# Quoting

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text(
    "\"'\\${}socketfolderHOME;#=[]\r\n ", max_size=20
)


@settings(max_examples=30, deadline=None)
@example(['"\n', "\\{", "\\", "a\\'", '\\"', "{socket}{folder}", "${HOME}", ""])
@given(st.lists(TEXT, min_size=1, max_size=40))
def test_php_reads_back_what_was_quoted(texts: list[str]) -> None:
    """Whatever the text, PHP's parser gives it back, and no placeholder is in what is written."""
    written = "\n".join(f"v[] = {quoted(text)}" for text in texts)
    assert "{socket}" not in written
    assert "{folder}" not in written
    code = "echo json_encode(parse_ini_string(stream_get_contents(STDIN))['v']);"
    done = subprocess.run(["/usr/bin/php8.2", "-r", code], input=written.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout) == texts
