"""FastCGI with a real php-fpm: what is sent is understood, and what it answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.pieces import pieces
from ownhost.apps import fastcgi
from ownhost.apps.cgi_head import HeadParser, ProgramHead
from ownhost.apps.fastcgi import Complaint, End, Output, ProtocolStatus, Responses
from waiting import eventually

pytestmark = pytest.mark.slow

PHP = "/usr/sbin/php-fpm8.2"
CONFIGURATION = """[global]
error_log = {folder}/log
[site]
user = www-data
group = www-data
listen = {folder}/php.sock
pm = static
pm.max_children = 1
"""


@pytest.fixture
def php(tmp_path: Path) -> Iterator[str]:
    """The path of a php-fpm's socket."""
    (tmp_path / "fpm.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    command = [PHP, "-n", "-F", "-y", str(tmp_path / "fpm.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually((tmp_path / "php.sock").exists)
        yield str(tmp_path / "php.sock")
    finally:
        process.terminate()
        process.wait()


def ask(path: str, variables: dict[str, str], body: bytes = b"") -> tuple[ProgramHead | None, bytes, bytes, End]:
    """The head, the body, complaints and the end."""
    parser, head, parts, complaints = Responses(), HeadParser(), [], b""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.connect(path)
        sock.sendall(fastcgi.begin(variables) + fastcgi.body(body) + fastcgi.end_of_body())
        while data := sock.recv(65_536):
            for piece in pieces(data, range(7, 300, 7)):
                for event in parser.feed(piece):
                    if isinstance(event, Output):
                        parts.append(head.feed(event.data))
                    elif isinstance(event, Complaint):
                        complaints += event.data
                    else:
                        end = event
    parser.close()
    return head.head, b"".join(parts), complaints, end


def variables(script: Path, body: bytes = b"") -> dict[str, str]:
    method = "POST" if body else "GET"
    return {"SCRIPT_FILENAME": str(script), "REQUEST_METHOD": method, "CONTENT_LENGTH": str(len(body))}


def test_a_script(php: str, tmp_path: Path) -> None:
    script = tmp_path / "x.php"
    script.write_text(
        '<?php http_response_code(201); header("X-A: b"); error_log("oh"); '
        'echo strlen($_SERVER["LONG"]), $_SERVER["N99"], strlen(file_get_contents("php://input"));'
    )
    many = {f"N{n}": "é" * n * 20 for n in range(100)}
    content = b"a" * 200_000
    head, body, complaints, end = ask(php, {**variables(script, content), "LONG": "a" * 60_000, **many}, content)
    assert head is not None
    assert head.status == 201
    assert ("X-A", "b") in head.fields
    assert body.decode() == "60000" + many["N99"] + "200000"
    assert b"oh" in complaints
    assert end == End(0, ProtocolStatus.REQUEST_COMPLETE)


def test_a_script_that_is_missing(php: str, tmp_path: Path) -> None:
    head, body, complaints, _ = ask(php, variables(tmp_path / "missing.php"))
    assert head is not None
    assert head.status == 404
    assert body == b"File not found.\n"
    assert complaints == b"Primary script unknown"


def test_what_is_behind_the_script(php: str, tmp_path: Path) -> None:
    """As ProxyPass leads to it: php-fpm finds where the script's name ends, for what Apache puts in front."""
    script = tmp_path / "x.php"
    script.write_text('<?php echo "$_SERVER[SCRIPT_FILENAME] $_SERVER[SCRIPT_NAME] $_SERVER[PATH_INFO]";')
    told = variables(script / "info")
    told.update(SCRIPT_FILENAME=f"proxy:fcgi://localhost{script}/info", SCRIPT_NAME="/x.php/info")
    assert ask(php, told)[1].decode() == f"{script} /x.php /info"
