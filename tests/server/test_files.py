"""Files as clients see them: the real server, real uids."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

OLD = 1_600_000_000  # 2020-09-13: long settled
TEXT = "0123456789" * 100


def site(world: World, files: dict[str, str | bytes], extra: str = "", folder: str = "", head: str = "") -> Server:
    """alice.test with these files, all of them old; `folder` stands in its <Directory>."""
    root = world.site("alice", ALICE, files)
    age(root)
    return world.server(
        f"{head}TypesConfig /dev/null\nAddType text/plain txt\nAddType text/html html\n<VirtualHost 127.0.0.1:@PORT@>\n"
        f'ServerName alice.test\nDocumentRoot {root}\nAssignUserID "#{ALICE}" "#{ALICE}"\n{extra}\n'
        f"<Directory {root}>\nRequire all granted\n{folder}\n</Directory>\n</VirtualHost>\n"
    )


def age(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def some(world: World) -> Server:
    return site(world, {"a.txt": TEXT, "index.html": "index\n", "large.bin": os.urandom(3_000_000), "empty.txt": ""})


@pytest.fixture(scope="module")
def one(shared_world: World) -> Server:
    return some(shared_world)


@pytest.fixture
def own(world: World) -> Server:
    """For tests that change the files."""
    return some(world)


def test_fields_of_a_file(one: Server) -> None:
    response = one.get("alice.test", "/a.txt")
    assert response.getheader("Content-Type") == "text/plain"
    assert response.getheader("Content-Length") == "1000"
    assert response.getheader("Last-Modified") == "Sun, 13 Sep 2020 12:26:40 GMT"
    assert response.getheader("ETag") == f'"{1000:x}-{OLD * 1_000_000:x}"'
    assert response.getheader("Accept-Ranges") == "bytes"
    assert "Ownhost" in str(response.getheader("Server"))
    assert response.content == TEXT.encode()


def test_small_large_and_empty_files_are_sent_whole_again_and_again(own: Server, world: World) -> None:
    for name in ("a.txt", "large.bin", "empty.txt"):
        content = (world.folder / "alice" / name).read_bytes()
        for _ in range(3):
            assert own.get("alice.test", f"/{name}").content == content


MODIFIED, BEFORE, AFTER = (
    "Sun, 13 Sep 2020 12:26:40 GMT",
    "Sat, 12 Sep 2020 12:26:40 GMT",
    "Mon, 14 Sep 2020 12:26:40 GMT",
)
ETAG = f'"{1000:x}-{OLD * 1_000_000:x}"'


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If_None_Match": ETAG}, 304),
        ({"If_None_Match": f"W/{ETAG}"}, 304),
        ({"If_None_Match": f'"x", {ETAG}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"x"'}, 200),
        ({"If_Modified_Since": MODIFIED}, 304),
        ({"If_Modified_Since": AFTER}, 304),
        ({"If_Modified_Since": BEFORE}, 200),
        ({"If_Modified_Since": "Sunday, 13-Sep-20 12:26:40 GMT"}, 304),
        ({"If_Modified_Since": "Sun Sep 13 12:26:40 2020"}, 304),
        ({"If_Modified_Since": "whenever"}, 200),
        ({"If_None_Match": '"x"', "If_Modified_Since": AFTER}, 200),
        ({"If_Match": ETAG}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": f"W/{ETAG}"}, 412),
        ({"If_Unmodified_Since": MODIFIED}, 200),
        ({"If_Unmodified_Since": BEFORE}, 412),
        ({"If_Match": ETAG, "If_Unmodified_Since": BEFORE}, 200),
    ],
)
def test_conditional_requests(one: Server, fields: dict[str, str], status: int) -> None:
    one.get("alice.test", "/a.txt")  # remembered: conditions must hold all the same
    response = one.get("alice.test", "/a.txt", **fields)
    assert response.status == status
    if status == 304:
        assert response.content == b""
        assert response.getheader("ETag") == ETAG
        assert response.getheader("Content-Length") is None


@pytest.mark.parametrize(
    ("range_", "content", "where"),
    [
        ("bytes=0-9", TEXT[:10], "bytes 0-9/1000"),
        ("bytes=990-", TEXT[990:], "bytes 990-999/1000"),
        ("bytes=-7", TEXT[-7:], "bytes 993-999/1000"),
        ("bytes=995-2000", TEXT[995:], "bytes 995-999/1000"),
        ("bytes=-5000", TEXT, "bytes 0-999/1000"),
    ],
)
def test_a_range(one: Server, range_: str, content: str, where: str) -> None:
    response = one.get("alice.test", "/a.txt", Range=range_)
    assert (response.status, response.content) == (206, content.encode())
    assert response.getheader("Content-Range") == where
    assert response.getheader("Content-Length") == str(len(content))


@pytest.mark.parametrize("range_", ["bytes=5-1", "bytes=x-", "lines=0-1", "bytes=", "bytes=0-1,5-x"])
def test_a_range_that_is_none_is_ignored(one: Server, range_: str) -> None:
    assert one.get("alice.test", "/a.txt", Range=range_).status == 200


def test_a_range_beyond_the_file(one: Server) -> None:
    response = one.get("alice.test", "/a.txt", Range="bytes=1000-")
    assert response.status == 416
    assert response.getheader("Content-Range") == "bytes */1000"


def test_several_ranges(one: Server) -> None:
    response = one.get("alice.test", "/a.txt", Range="bytes=0-1,500-501,-1")
    assert response.status == 206
    kind, _, boundary = str(response.getheader("Content-Type")).partition("; boundary=")
    assert kind == "multipart/byteranges"
    body = response.content.decode()
    parts = [part.partition("\r\n\r\n") for part in body.split(f"--{boundary}")[1:-1]]
    assert [content.strip() for _, _, content in parts] == ["01", "01", "9"]
    assert "Content-Range: bytes 500-501/1000" in parts[1][0]
    assert body.endswith(f"--{boundary}--\r\n")
    assert response.getheader("Content-Length") == str(len(body))


@pytest.mark.parametrize(
    ("condition", "status"), [(ETAG, 206), ('"x"', 200), (f"W/{ETAG}", 200), (MODIFIED, 206), (AFTER, 200)]
)
def test_if_range(one: Server, condition: str, status: int) -> None:
    assert one.get("alice.test", "/a.txt", Range="bytes=0-1", If_Range=condition).status == status


def test_a_file_that_changes_is_noticed_at_once(own: Server, world: World) -> None:
    path = world.folder / "alice" / "a.txt"
    for turn in range(20):
        content = f"turn {turn:3}\n"
        path.write_text(content)
        assert own.get("alice.test", "/a.txt").content == content.encode()
    os.utime(path, (OLD, OLD))
    eventually(lambda: time.time() > path.stat().st_ctime + 1.1)  # settled, and remembered from now on
    own.get("alice.test", "/a.txt")
    own.get("alice.test", "/a.txt")
    path.write_text("other    \n")
    os.utime(path, (OLD, OLD))
    assert own.get("alice.test", "/a.txt").content == b"other    \n"
    path.unlink()
    assert own.get("alice.test", "/a.txt").status == 404
    path.write_text("back\n")
    os.chown(path, ALICE, ALICE)
    assert own.get("alice.test", "/a.txt").status == 200
    path.chmod(0)
    assert own.get("alice.test", "/a.txt").status == 403


def test_a_file_that_shrinks_while_it_is_sent_never_comes_with_a_wrong_length(own: Server, world: World) -> None:
    path = world.folder / "alice" / "huge.bin"
    path.write_bytes(b"x" * 50_000_000)
    os.chown(path, ALICE, ALICE)
    with own.connect() as sock:
        sock.sendall(
            b"GET /huge.bin HTTP/1.1\r\nHost: alice.test\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: alice.test\r\n\r\n"
        )
        received = sock.recv(1000)
        os.truncate(path, 0)  # the kernel clears the rest of what is cut in two, also where it waits to be sent
        while data := sock.recv(1 << 20):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 50000000" in head
    assert len(body) < 50_000_000, "the connection must end, short of what was announced"
    assert set(body) <= set(b"x"), "nothing else may stand in for the missing bytes"


def test_a_file_that_grows_while_it_is_sent_keeps_its_length(own: Server, world: World) -> None:
    path = world.folder / "alice" / "growing.bin"
    path.write_bytes(b"x" * 20_000_000)
    os.chown(path, ALICE, ALICE)
    with own.connect() as sock:
        sock.sendall(b"GET /growing.bin HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
        received = sock.recv(1000)
        with open(path, "ab") as file:
            file.write(b"y" * 1_000_000)
        while data := sock.recv(1 << 20):
            received += data
    assert received.partition(b"\r\n\r\n")[2] == b"x" * 20_000_000


def test_a_file_rewritten_all_the_time_is_never_sent_torn(own: Server, world: World) -> None:
    """Every answer has the length it announces; http.client would complain of a short own."""
    path = world.folder / "alice" / "a.txt"
    stop = threading.Event()

    def rewrite() -> None:
        size = 0
        while not stop.is_set():
            size = (size + 7919) % 60_000
            path.write_bytes(b"z" * size)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        client = own.client()
        for _ in range(300):
            client.request("GET", "/a.txt", headers={"Host": "alice.test"})
            response = client.getresponse()
            assert len(response.read()) == int(response.getheader("Content-Length", "-1"))
        client.close()
    finally:
        stop.set()
        writer.join()


def test_many_slow_downloads_at_once(own: Server, world: World) -> None:
    content = (world.folder / "alice" / "large.bin").read_bytes()
    socks = [own.connect() for _ in range(20)]
    for sock in socks:
        sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
    for sock in socks:
        received = b""
        while data := sock.recv(1 << 16):
            received += data
        assert received.partition(b"\r\n\r\n")[2] == content
        sock.close()


def test_a_client_that_takes_nothing_is_given_up_and_others_are_served(world: World) -> None:
    log = f'Timeout 1\nLogFormat "%X %>s %U" ends\nCustomLog {world.folder}/ends.log ends'
    server = site(world, {"huge.bin": b"x" * 50_000_000, "a.txt": "a\n"}, log)
    with server.connect() as sock:
        sock.sendall(
            b"GET /huge.bin HTTP/1.1\r\nHost: alice.test\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: alice.test\r\n\r\n"
        )
        assert sock.recv(1_000).startswith(b"HTTP/1.1 200 ")
        assert server.get("alice.test", "/a.txt").status == 200
        eventually(lambda: "X 200 /huge.bin" in (world.folder / "ends.log").read_text())
        received = b"".join(iter(lambda: receive(sock), b""))
    assert b"HTTP/1.1 200" not in received, "what was asked for behind it is not answered"
    opened = [name for name in server.worker(ALICE).descriptors().values() if name.endswith("huge.bin")]
    assert not opened


def receive(sock: socket.socket) -> bytes:
    """What comes next; nothing at the end, however it comes."""
    try:
        return sock.recv(1 << 20)
    except ConnectionResetError:
        return b""


def test_folders(world: World) -> None:
    server = site(
        world,
        {"d/index.html": "d\n", "e/second.html": "e\n", "f/x.txt": "f\n", "g/index.html/x": "g\n"},
        "DirectoryIndex index.html second.html",
    )
    assert server.get("alice.test", "/d/").content == b"d\n"
    assert server.get("alice.test", "/e/").content == b"e\n"
    assert server.get("alice.test", "/f/").status == 403
    assert server.get("alice.test", "/g/").status == 301
    moved = server.get("alice.test", "/d?a=b")
    assert (moved.status, moved.getheader("Location")) == (301, "http://alice.test/d/?a=b")
    (world.folder / "alice" / "e" / "index.html").write_text("first\n")
    os.chown(world.folder / "alice" / "e" / "index.html", ALICE, ALICE)
    assert server.get("alice.test", "/e/").content == b"first\n"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/a%2etxt", 200),
        ("/d/../a.txt", 200),
        ("/./a.txt", 200),
        ("//a.txt", 200),
        ("/d//./../a.txt", 200),
        ("/%61.txt", 200),
        ("/s%20pace.txt", 200),
        ("/%C3%BCber.txt", 200),
        ("/../a.txt", 400),
        ("/%2e%2e/a.txt", 400),
        ("/d/../../a.txt", 400),
        ("/a.txt%00", 404),
        ("/a%2ftxt", 404),
        ("/%zz", 400),
        ("/a.txt/", 404),
        ("/a.txt/more", 404),
        ("/" + "x" * 300, 403),
        ("/" + "x/" * 2000, 404),
        ("/.hidden", 200),
    ],
)
def test_paths(world: World, path: str, status: int) -> None:
    files = {"a.txt": "a\n", "s pace.txt": "s\n", "über.txt": "u\n", "d/x": "x\n", ".hidden": "h\n"}
    server = site(world, dict(files))
    assert server.get("alice.test", path).status == status


def test_symbolic_links(world: World) -> None:
    server = site(
        world,
        {"real/a.txt": "a\n", "off/x": "x\n", "own/x": "x\n"},
        f"<Directory {world.folder}/alice/off>\nOptions None\n</Directory>\n"
        f"<Directory {world.folder}/alice/own>\nOptions SymLinksIfOwnerMatch\n</Directory>\n",
    )
    alice = world.folder / "alice"
    for folder in (".", "off", "own"):
        for name, target in (("file", alice / "real/a.txt"), ("folder", alice / "real")):
            (alice / folder / name).symlink_to(target)
            os.lchown(alice / folder / name, ALICE, ALICE)
    (alice / "own" / "foreign").symlink_to(alice / "real/a.txt")
    os.lchown(alice / "own" / "foreign", BOB, BOB)
    (alice / "loop").symlink_to(alice / "loop")
    expected = {
        "/file": 200,
        "/folder/a.txt": 200,
        "/off/file": 403,
        "/off/folder/a.txt": 403,
        "/off/x": 200,
        "/own/file": 200,
        "/own/folder/a.txt": 200,
        "/own/foreign": 403,
        "/loop": 403,
    }
    assert {path: server.get("alice.test", path).status for path in expected} == expected


def test_what_is_no_file_is_not_opened(world: World) -> None:
    server = site(world, {"a.txt": "a\n"})
    os.mkfifo(world.folder / "alice" / "fifo")
    os.chown(world.folder / "alice" / "fifo", ALICE, ALICE)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(world.folder / "alice" / "socket"))
        for name in ("fifo", "socket"):
            assert server.get("alice.test", f"/{name}").status == 403


def test_error_documents(world: World) -> None:
    server = site(
        world,
        {"404.html": "nothing here\n", "secret/x.txt": "x\n"},
        'ErrorDocument 404 /404.html\nErrorDocument 403 "not <b>yours</b>"\n'
        "ErrorDocument 410 http://elsewhere.test/gone\nRedirect gone /old\n"
        "<Location /plain>\nErrorDocument 404 default\n</Location>\n"
        "<Location /broken>\nErrorDocument 404 /not-there-either.html\n</Location>\n"
        f"<Directory {world.folder}/alice/secret>\nRequire all denied\n</Directory>\n",
    )
    missing = server.get("alice.test", "/missing")
    assert (missing.status, missing.content) == (404, b"nothing here\n")
    forbidden = server.get("alice.test", "/secret/x.txt")
    assert (forbidden.status, forbidden.content) == (403, b"not <b>yours</b>")
    gone = server.get("alice.test", "/old")
    assert (gone.status, gone.getheader("Location")) == (302, "http://elsewhere.test/gone")
    for path in ("/plain", "/broken"):
        response = server.get("alice.test", path)
        assert response.status == 404
        assert b"nothing at this address" in response.content


def test_a_handler_that_there_is_not_never_sends_the_source(world: World) -> None:
    server = site(
        world,
        {"a.php": "<?php secret ?>", "cgi/run": "#!/bin/sh\nsecret\n", "b.txt": "b\n"},
        f"AddHandler application/x-nobody .php\nScriptAlias /cgi {world.folder}/alice/cgi\n"
        "<Location /b.txt>\nSetHandler nobody-knows-it\n</Location>\n",
    )
    for path in ("/a.php", "/cgi/run"):
        response = server.get("alice.test", path)
        assert response.status == 500
        assert b"secret" not in response.content
    response = server.get("alice.test", "/b.txt")  # the name of a handler that is nobody's and no program's
    assert (response.status, response.content) == (200, b"b\n")
    eventually(lambda: "there is no handler 'application/x-nobody'" in server.log())


def test_types(world: World) -> None:
    types = world.folder / "mime.types"
    types.write_text("text/html html htm\nimage/png png\n# image/gif gif\n")
    server = site(
        world,
        {"a.html": "a", "b.png": "b", "c.gif": "c", "d.html.de.gz": "d", "e.tar.gz": "e", "f": "f", "g.TXT": "g"},
        "AddEncoding x-gzip .gz\nAddLanguage de .de\nAddCharset UTF-8 .html\nAddDefaultCharset utf-8\n"
        "<Files f>\nForceType text/x-forced\n</Files>\n",
        head=f"TypesConfig {types}\n",
    )
    expected = {
        "a.html": ("text/html; charset=utf-8", None, None),
        "c.gif": (None, None, None),
        "d.html.de.gz": ("text/html; charset=utf-8", "x-gzip", "de"),
        "e.tar.gz": (None, "x-gzip", None),
        "f": ("text/x-forced", None, None),
        "g.TXT": ("text/plain; charset=utf-8", None, None),
    }
    names = ("Content-Type", "Content-Encoding", "Content-Language")
    found = {path: server.get("alice.test", f"/{path}") for path in expected}
    assert {path: tuple(map(response.getheader, names)) for path, response in found.items()} == expected


def test_without_sendfile(world: World) -> None:
    server = site(world, {"large.bin": os.urandom(1_000_000)}, "EnableSendfile Off")
    content = (world.folder / "alice" / "large.bin").read_bytes()
    assert server.get("alice.test", "/large.bin").content == content
    part = server.get("alice.test", "/large.bin", Range="bytes=500000-")
    assert part.content == content[500_000:]


@pytest.mark.parametrize("how", ["EnableMMAP On", "EnableMMAP Off", "EnableMMAP Off\nEnableSendfile Off"])
def test_a_large_file_that_changes_between_requests_of_one_connection(world: World, how: str) -> None:
    contents = [os.urandom(size) for size in (3_000_000, 3_000_000, 1_500_000, 20_000_000)]
    server = site(world, {"large": contents[0], "other": contents[1], "small": "small"}, how)
    root = world.folder / "alice"
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def get(path: str, **fields: str) -> bytes:
        connection.request("GET", path, headers={"Host": "alice.test", **fields})
        return connection.getresponse().read()

    with contextlib.closing(connection):
        assert [get("/large"), get("/other"), get("/large")] == [contents[0], contents[1], contents[0]]
        with (root / "large").open("r+b") as file:  # the same file, shorter, then longer
            file.write(contents[2])
            file.truncate()
        assert [get("/large"), get("/small"), get("/large")] == [contents[2], b"small", contents[2]]
        (root / "large").write_bytes(contents[3])
        assert get("/large") == contents[3]
        assert get("/large", Range="bytes=5-2000000") == contents[3][5:2_000_001]
        assert get("/large", Range="bytes=17000000-") == contents[3][17_000_000:]
        (root / "new").write_bytes(contents[1])
        (root / "new").chmod(0o644)
        (root / "new").rename(root / "large")
        assert get("/large") == contents[1]
