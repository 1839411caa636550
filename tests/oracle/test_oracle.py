"""The same configuration and the same requests for Debian's Apache with mpm_itk and for Ownhost: the answers agree."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World, eventually, free_port

CASES = Path(__file__).parent / "cases"
MODULES = Path("/usr/lib/apache2/modules")
LOADED = {
    "mpm_prefork": "mod_mpm_prefork",
    "mpm_itk": "mpm_itk",
    "authz_core": "mod_authz_core",
    "mime": "mod_mime",
    "dir": "mod_dir",
    "alias": "mod_alias",
    "env": "mod_env",
    "autoindex": "mod_autoindex",
    "rewrite": "mod_rewrite",
}
OLD = 1_600_000_000
FILES = {
    "index.html": "root index\n",
    "a.txt": "0123456789" * 20,
    "b.html": "<p>b</p>\n",
    "d/index.html": "d index\n",
    "d/second.html": "d second\n",
    "d/x.txt": "d x\n",
    "d/inner/x.txt": "inner x\n",
    "e/second.html": "e second\n",
    "e/x.TXT": "e x\n",
    "empty/.keep": "",
    "sp ace/a b.txt": "space\n",
    "über/ü.txt": "umlaut\n",
    "plus+and&.txt": "plus\n",
    "page.de.html": "deutsch\n",
    "archive.tar.gz": "not really gzip\n",
    "doc.html.en.gz": "not really gzip either\n",
    "noextension": "none\n",
    ".hidden.txt": "hidden\n",
    "many.dots.in.txt": "dots\n",
    "data.json": "{}\n",
    "errors/404.html": "our own 404\n",
    "errors/403.html": "our own 403\n",
    "private/x.txt": "private\n",
    "private/open/x.txt": "open\n",
    "fallback.html": "fallback\n",
    "zero": "",
    "map.txt": "# comment x\none eins\n indented y\nnovalue\nnovalue \ntwo\tzwei # rest\none again\n"
    "three drei vier\nsame only|only\na-file /a.txt\n",
}
COMPARED = (
    "location",
    "content-type",
    "content-range",
    "content-encoding",
    "content-language",
    "etag",
    "last-modified",
    "accept-ranges",
    "connection",
    "keep-alive",
    "set-cookie",
    "vary",
)
ERRORS = ("set-cookie", "location", "connection", "keep-alive")  # compared of an error


@dataclass(frozen=True)
class Asked:
    """One request of a case. `ours` is the status where a difference is meant."""

    data: bytes
    ours: int

    @property
    def method(self) -> str:
        return self.data.split(b" ", 1)[0].decode()


@dataclass(frozen=True)
class Answer:
    """What a server answered, as far as it is compared."""

    status: int
    fields: dict[str, str]
    body: bytes


def requests(name: str) -> list[Asked]:
    found = []
    for block in re.split(r"\n\s*\n", (CASES / f"{name}.txt").read_text()):
        lines = [line for line in block.strip().splitlines() if line]
        notes = [line for line in lines if line.startswith("#")]
        lines = [line for line in lines if not line.startswith("#")]
        if not lines:
            continue
        ours = next((int(note.split()[2].rstrip(":")) for note in notes if note.startswith("# ours")), 0)
        first = lines[0] if " HTTP/" in lines[0] else f"{lines[0]} HTTP/1.1"
        lower = [line.lower() for line in lines[1:]]
        fields = [line for line in lines[1:] if line != "-"]
        if "-" not in lines[1:]:
            if not any(line.startswith("host:") for line in lower) and first.endswith("1.1"):
                fields.insert(0, "Host: site.test")
            if not any(line.startswith("connection:") for line in lower):
                fields.append("Connection: close")
        raw = "\r\n".join([first, *fields, "", ""]).encode("utf-8")
        found.append(Asked(re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), raw), ours))
    return found


def ask(port: int, data: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := sock.recv(65536):
                received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    fields: dict[str, str] = {}
    for name, _, value in (text.partition(":") for text in lines):
        fields[name.lower()] = value.strip()
    return Answer(int(line.split()[1]), fields, body)


def differences(asked: Asked, theirs: Answer, ours: Answer) -> list[str]:
    if asked.ours:
        return [] if ours.status == asked.ours else [f"status {ours.status}, meant to be {asked.ours}"]
    found = []
    if theirs.status != ours.status:
        found.append(f"status {ours.status}, Apache {theirs.status}")
    good = theirs.status < 300
    for name in COMPARED if theirs.status < 400 else ERRORS:
        one, other = theirs.fields.get(name), ours.fields.get(name)
        if name == "content-type" and (not good or asked.method == "OPTIONS" or "multipart" in (one or "")):
            continue  # pages that a server makes, and boundaries, are each server's own
        if name == "vary" and not good:
            continue  # Apache forgets it on redirects
        if name == "location":
            one, other = upper_escapes(one), upper_escapes(other)
        if one != other:
            found.append(f"{name}: {other!r}, Apache {one!r}")
    allow = [
        {word.strip() for word in answer.fields.get("allow", "").split(",")} - {"TRACE"} for answer in (theirs, ours)
    ]
    if allow[0] != allow[1]:
        found.append(f"Allow: {allow[1]}, Apache {allow[0]}")
    if good and asked.method not in ("OPTIONS", "TRACE") and "multipart" not in theirs.fields.get("content-type", ""):
        if theirs.body != ours.body:
            found.append(f"body {ours.body[:80]!r}, Apache {theirs.body[:80]!r}")
        if theirs.fields.get("content-length") != ours.fields.get("content-length"):
            found.append(f"length {ours.fields.get('content-length')}, Apache {theirs.fields.get('content-length')}")
    return found


def upper_escapes(location: str | None) -> str | None:
    """Escapes as RFC 3986, 6.2.2.1 wants them; Apache's are in small letters."""
    return location and re.sub("%[0-9a-f]{2}", lambda match: match[0].upper(), location)


def make_site(world: World) -> Path:
    root = world.site("site", ALICE, dict(FILES))
    (root / "link.txt").symlink_to(root / "a.txt")
    (root / "linked").symlink_to(root / "d")
    (root / "foreign.txt").symlink_to(root / "a.txt")
    os.lchown(root / "link.txt", ALICE, ALICE)
    os.lchown(root / "linked", ALICE, ALICE)
    os.lchown(root / "foreign.txt", BOB, BOB)
    (root / "bob").mkdir()
    (root / "bob" / "x.txt").write_text("bob's\n")
    for path in (root / "bob", root / "bob" / "x.txt"):
        os.chown(path, BOB, BOB)
        path.chmod(0o700)
    root.chmod(0o711)
    for path in [root, *root.rglob("*")]:
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    return root


def configuration(world: World, name: str, port: int, own: str) -> Path:
    body = (CASES / f"{name}.conf").read_text()
    if "<VirtualHost" not in body:
        body = (
            f'<VirtualHost *:@PORT@>\nServerName site.test\nDocumentRoot @DIR@\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
            f"<Directory @DIR@>\nRequire all granted\n</Directory>\n{body}\n</VirtualHost>\n"
        )
    modules = "\n".join(f"LoadModule {key}_module {MODULES / value}.so" for key, value in LOADED.items())
    text = (
        f"ServerRoot {world.folder}\n{modules}\nListen 127.0.0.1:@PORT@\nServerName server.test\nUser www-data\n"
        f"Group www-data\nPidFile {world.folder}/{own}.pid\nErrorLog {world.folder}/{own}.log\nLogLevel info\n"
        f"TypesConfig {world.folder}/mime.types\n<Directory />\nAllowOverride None\n</Directory>\n{body}"
    )
    (world.folder / "mime.types").write_text("text/html html htm\ntext/plain txt\napplication/json json\n")
    path = world.folder / f"{own}.conf"
    path.write_text(text.replace("@DIR@", str(world.folder / "site")).replace("@PORT@", str(port)))
    return path


@contextlib.contextmanager
def apache(world: World, name: str) -> Iterator[int]:
    """Apache on a port of its own, until the block ends."""
    port = free_port()
    path = configuration(world, name, port, "apache")
    process = subprocess.Popen(
        ["/usr/sbin/apache2", "-f", str(path), "-DFOREGROUND"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # it ends its whole group
    )
    try:
        eventually(lambda: process.poll() is not None or listens(port), 20)
        assert process.poll() is None, process.communicate()[1]
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    time.sleep(0.05)
    return False


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.conf")))
def test_both_answer_alike(world: World, name: str) -> None:
    assert Path("/usr/sbin/apache2").exists(), "Apache is missing: run the tests with ./scripts/test, which installs it"
    make_site(world)
    asked = requests(name)
    assert asked
    wrong = []
    with apache(world, name) as theirs:
        ours = free_port()
        server = Server(world.folder, ours, configuration(world, name, ours, "ownhost"))
        world.servers.append(server)
        server.start()
        for one in asked:
            # Each server is asked with its own port, and answers with it in Location.
            their_answer = ask(theirs, one.data.replace(b"@PORT@", b"%d" % theirs))
            our_answer = ask(ours, one.data.replace(b"@PORT@", b"%d" % ours))
            their_answer.fields.update(
                {key: value.replace(f":{theirs}", f":{ours}") for key, value in their_answer.fields.items()}
            )
            found = differences(one, their_answer, our_answer)
            if found:
                wrong.append(f"{one.data.decode('latin-1')!r}: {'; '.join(found)}")
    assert not wrong, "\n".join(wrong)
