"""What programs complain of: each message once, as one line of the error log, with its module, whatever they write."""

from __future__ import annotations

import re

from harness import ALICE, BOB, Server, World
from waiting import eventually

PHP = "AddHandler application/x-httpd-php .php\n"
LINE = re.compile(
    r"\[[^\]]+\] \[(?P<module>\w+):(?P<level>\w+)\] \[pid \d+\] (?:\[(?P<client>client) [\d.]+:\d+\] )?(?P<text>.*)"
)


def serve(world: World, extra: str, files: dict[str, str | bytes]) -> Server:
    return world.server(world.virtual_host("alice", ALICE, f"ErrorLog @DIR@/alice.log\n{extra}", files))


def lines(server: Server, *texts: str, name: str = "alice.log") -> list[tuple[str, str, bool, str]]:
    """Module, level, whether the client is known, and text of each line, once all these texts are there."""
    eventually(lambda: all(text in server.log(name) for text in texts), message=f"{texts}: {server.log(name)}")
    found = [LINE.fullmatch(line) for line in server.log(name).splitlines()]
    assert all(found), f"a line without a frame: {server.log(name)}"
    return [(line["module"], line["level"], bool(line["client"]), line["text"]) for line in found if line]


def test_php_as_mod_php_logs_it(world: World) -> None:
    script = (
        "<?php error_log('one message'); error_log(\"two\\nlines \\x1b[1m\"); trigger_error('w', E_USER_WARNING);"
        "fwrite(fopen('php://stderr', 'w'), \"by hand\\n\"); system('echo by a program >&2'); error_log('');"
        "function f() { throw new Exception('boo'); } f();"
    )
    server = serve(world, PHP + "php_flag log_errors on\nphp_value error_reporting 32767\n", {"a.php": script})
    assert server.get("alice.test", "/a.php").status == 500
    path = f"{world.folder}/alice/a.php"
    found = lines(server, "by hand", "by a program", "boo")
    assert [line for line in found if line[2]] == [
        ("php", "notice", True, "one message"),
        ("php", "notice", True, "two\\nlines \\x1b[1m"),
        ("php", "warn", True, f"PHP Warning:  w in {path} on line 1"),
        ("php", "notice", True, "-"),
        (
            "php",
            "error",
            True,
            f"PHP Fatal error:  Uncaught Exception: boo in {path}:1\\nStack trace:\\n"
            f"#0 {path}(1): f()\\n#1 {{main}}\\n  thrown in {path} on line 1",
        ),
    ]
    assert sorted(line for line in found if not line[2]) == [
        ("php", "error", False, "by a program"),
        ("php", "error", False, "by hand"),
    ]


def test_a_level_for_php_alone(world: World) -> None:
    script = "<?php trigger_error('deprecated', E_USER_DEPRECATED); trigger_error('warned', E_USER_WARNING);"
    extra = PHP + "php_flag log_errors on\nphp_value error_reporting 32767\nLogLevel warn"
    quiet = serve(world, extra + "\n", {"a.php": script})
    quiet.get("alice.test", "/a.php")
    assert [line[3].split()[0:3:2] for line in lines(quiet, "warned")] == [["PHP", "warned"]]
    quiet.stop()
    (world.folder / "alice.log").unlink()
    loud = serve(world, extra + " php:debug\n", {"a.php": script})
    loud.get("alice.test", "/a.php")
    assert [line[1] for line in lines(loud, "warned")] == ["info", "warn"]


def test_what_php_says_after_its_answer_is_not_lost(world: World) -> None:
    script = "<?php error_log('before'); echo 'x'; fastcgi_finish_request(); error_log('after');"
    server = serve(world, PHP + "php_flag log_errors on\n", {"a.php": script})
    server.get("alice.test", "/a.php")
    eventually(lambda: "after" in server.log("alice.log"), 30)
    assert [line[2:] for line in lines(server, "before")] == [(True, "before"), (False, "after")]


def test_a_cgi_program_in_apaches_words(world: World) -> None:
    script = "#!/bin/sh\nprintf 'one\\ntwo \\033[1m\\\\\\n[core:error] forged' >&2\nprintf 'Content-Type: a/b\\n\\nx'\n"
    server = serve(world, "ScriptAlias /cgi/ @DIR@/alice/\n", {"a": script})
    assert server.get("alice.test", "/cgi/a", Referer="http://r.test/").status == 200
    said = f"AH01215: stderr from {world.folder}/alice/a"
    assert lines(server, "forged") == [
        ("cgi", "error", True, f"{said}: one, referer: http://r.test/"),
        ("cgi", "error", True, f"{said}: two \\x1b[1m\\\\, referer: http://r.test/"),
        ("cgi", "error", True, f"{said}: [core:error] forged, referer: http://r.test/"),
    ]


def test_a_wsgi_application(world: World) -> None:
    script = (
        "import os, sys\nos.write(2, b'as it starts\\n')\n"
        "def application(environ, start_response):\n"
        "    print('to the request', file=environ['wsgi.errors'])\n"
        "    os.write(2, b'by hand \\xff\\nwithout an end')\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'x']\n"
    )
    server = serve(world, "WSGIScriptAlias /app @DIR@/alice/app.wsgi\n", {"app.wsgi": script})
    assert server.get("alice.test", "/app").status == 200
    assert lines(server, "to the request", "by hand") == [
        *[("wsgi", "error", False, text) for text in ("as it starts", "by hand \\xff")],
        ("wsgi", "error", True, "to the request"),
    ] or set(lines(server)) == {
        ("wsgi", "error", False, "as it starts"),
        ("wsgi", "error", False, "by hand \\xff"),
        ("wsgi", "error", True, "to the request"),
    }
    server.stop()
    assert lines(server, "without an end")[-1][:3] == ("wsgi", "error", False)


def test_programs_hold_no_log(world: World) -> None:
    """Neither a log of the owner's own, which they could shorten, nor a way to write lines of their own into it."""
    script = '<?php foreach (scandir(\'/proc/self/fd\') as $fd) { echo @readlink("/proc/self/fd/$fd"), "\\n"; }'
    cgi = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nls -l /proc/self/fd\n"
    server = serve(world, PHP + "ScriptAlias /cgi/ @DIR@/alice/\n", {"a.php": script, "a": cgi})
    for path in ("/a.php", "/cgi/a"):
        held = server.get("alice.test", path).content.decode()
        assert "pipe:" in held
        assert ".log" not in held


def test_a_flood_is_cut_and_costs_nobody_else_anything(world: World) -> None:
    flood = "#!/usr/bin/python3\nimport sys\nsys.stderr.write('y' * 30_000_000)\nprint('Content-Type: a/b\\n\\nx')\n"
    wsgi = (
        "import os\ndef application(environ, start_response):\n    os.write(2, b'z' * 30_000_000)\n"
        "    start_response('200 OK', [])\n    return [b'x']\n"
    )
    extra = "ScriptAlias /cgi/ @DIR@/alice/\nWSGIScriptAlias /app @DIR@/alice/app.wsgi\n"
    hosts = world.virtual_host("alice", ALICE, extra, {"a": flood, "app.wsgi": wsgi})
    server = world.server(hosts + world.virtual_host("bob", BOB))
    for path in ("/cgi/a", "/app"):
        assert server.get("alice.test", path).status == 200
    assert server.get("bob.test").status == 200
    assert max(map(len, server.log().splitlines())) < 17_000
    for process in server.processes():
        if process.alive and process.role in ("worker", "launcher", "logger"):
            assert int(process.status["VmHWM"].split()[0]) < 200_000  # kB


def test_a_map_program(world: World) -> None:
    script = world.folder / "map"
    script.write_text(
        "#!/bin/sh\nwhile read key; do head -c 200000 /dev/zero | tr '\\0' x >&2; echo mapped >&2; echo $key; done\n"
    )
    script.chmod(0o755)
    extra = f"RewriteEngine on\nRewriteMap m prg:{script}\nRewriteRule ^/go/(.*) /${{m:$1}}\n"
    server = serve(world, extra, {"index.html": "found"})
    assert server.get("alice.test", "/go/index.html").content == b"found"
    assert {line[:3] for line in lines(server, "mapped")} == {("rewrite", "error", False)}
