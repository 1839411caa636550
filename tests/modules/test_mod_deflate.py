"""DEFLATE: which responses are compressed, what their fields say, and that the body is the same."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from ownhost.http.dates import format_date
from ownhost.http.message import ClientGone, FileBody, Response, let_go
from ownhost.modules import mod_filter
from ownhost.modules.compression import body as compression
from ownhost.request import serve
from serving import NOW, Served, make_site, values

TEXT = "<p>a text that says the same again and again</p>\n" * 40
LARGE = "".join(f"{number} is a number, and so is {number * number}\n" for number in range(9_000))
GZIP = "Accept-Encoding: gzip, deflate"
ON = "SetOutputFilter DEFLATE"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (
        ("t.txt", TEXT),
        ("t.html", TEXT),
        ("t.css", TEXT),
        ("large.txt", LARGE),
        ("68.txt", "x" * 68),
        ("69.txt", "x" * 69),
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        os.utime(path, (NOW - 600, NOW - 600))
    return tmp_path


async def collected(response: Response) -> bytes:
    body = response.body
    assert not isinstance(body, (bytes, FileBody))
    try:
        return b"".join([piece async for piece in body])
    finally:
        body.close()


def plain(response: Response) -> str:
    """The text that is sent, whatever its coding."""
    body = response.body
    if isinstance(body, FileBody):
        data = os.pread(body.fd, body.length, 0)
        body.close()
    else:
        data = body if isinstance(body, bytes) else asyncio.run(collected(response))
    return (gzip.decompress(data) if is_coded(response) else data).decode()


def plain_part(response: Response) -> str:
    """The text of a range that is sent from a file."""
    body = response.body
    assert isinstance(body, FileBody)
    (part,) = body.parts
    assert isinstance(part, tuple)
    data = os.pread(body.fd, part[1], part[0])
    body.close()
    return data.decode()


def is_coded(response: Response) -> bool:
    found = values(response, "Content-Encoding")
    assert found in ([], ["gzip"])
    return bool(found)


@pytest.mark.parametrize("path", ["/t.txt", "/large.txt"])
def test_a_file_is_compressed_for_clients_that_accept_it(folder: Path, path: str) -> None:
    site = Served(folder, ON)
    compressed, as_it_is = site.ask(path, GZIP), site.ask(path)
    assert (is_coded(compressed), is_coded(as_it_is)) == (True, False)
    assert plain(compressed) == plain(as_it_is) == (TEXT if path == "/t.txt" else LARGE)
    assert values(compressed, "Vary") == values(as_it_is, "Vary") == ["Accept-Encoding"]
    (tag,) = values(as_it_is, "ETag")
    assert values(compressed, "ETag") == [f'{tag[:-1]}-gzip"']


@pytest.mark.parametrize(
    ("accept", "is_compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("deflate", False),
        ("", False),
        ("xgzip", False),
    ],
)
def test_what_a_client_accepts(folder: Path, accept: str, is_compressed: bool) -> None:
    assert is_coded(Served(folder, ON).ask("/t.txt", f"Accept-Encoding: {accept}")) is is_compressed


@pytest.mark.parametrize(
    ("text", "compressed"),
    [
        ("AddOutputFilterByType DEFLATE text/plain text/css", ("/t.txt", "/t.css")),
        ("AddOutputFilter DEFLATE .html css", ("/t.html", "/t.css")),
        ("AddOutputFilter DEFLATE .html css\nRemoveOutputFilter css", ("/t.html",)),
        ("<Files t.txt>\nSetOutputFilter DEFLATE\n</Files>", ("/t.txt",)),
        ("SetOutputFilter DEFLATE\n<Files t.txt>\nSetOutputFilter None\n</Files>", ("/t.html", "/t.css")),
        ("AddDefaultCharset utf-8\nAddOutputFilterByType DEFLATE text/html", ("/t.html",)),
        ("SetOutputFilter DEFLATE\nSetEnvIf Request_URI css no-gzip", ("/t.txt", "/t.html")),
        ("SetOutputFilter DEFLATE\nSetEnv gzip-only-text/html 1", ("/t.html",)),
        ("SetOutputFilter DEFLATE\nSetEnv gzip-only-text/html 0", ("/t.txt", "/t.html", "/t.css")),
    ],
)
def test_which_files_are_compressed(folder: Path, text: str, compressed: tuple[str, ...]) -> None:
    site = Served(folder, f"AddType text/css .css\n{text}")
    found = tuple(path for path in ("/t.txt", "/t.html", "/t.css") if is_coded(site.ask(path, GZIP)))
    assert found == compressed


def test_what_is_forced_needs_no_client_that_accepts_it(folder: Path) -> None:
    response = Served(folder, f"{ON}\nSetEnv force-gzip 1").ask("/t.txt")
    assert plain(response) == TEXT
    assert is_coded(response)


def test_a_browser_can_be_excepted(folder: Path) -> None:
    site = Served(folder, f"{ON}\nBrowserMatch Old no-gzip")
    assert is_coded(site.ask("/t.txt", GZIP))
    assert not is_coded(site.ask("/t.txt", GZIP, "User-Agent: Old"))
    assert is_coded(site.ask("/t.txt", GZIP, "User-Agent: New"))


def test_a_short_body_is_not_worth_it(folder: Path) -> None:
    site = Served(folder, ON)
    assert [is_coded(site.ask(f"/{size}.txt", GZIP)) for size in (68, 69)] == [False, True]
    assert values(site.ask("/68.txt"), "Vary") == []


def test_what_has_a_coding_gets_no_second_one(folder: Path) -> None:
    site = Served(folder, f"{ON}\nAddEncoding br .txt\nAddEncoding identity .html")
    response = site.ask("/t.txt", GZIP)
    assert (values(response, "Content-Encoding"), values(response, "Vary")) == (["br"], [])
    assert plain(site.ask("/t.html", GZIP)) == TEXT


def test_pages_of_the_server_and_what_has_no_body_stay(folder: Path) -> None:
    site = Served(folder, f'{ON}\nRedirect /old /new\nErrorDocument 403 "{"no " * 60}"\nRedirect 403 /no')
    for path, fields in (
        ("/none", ()),
        ("/old", ()),
        ("/no", ()),
        ("/t.txt", (f"If-Modified-Since: {format_date(NOW - 300)}",)),
    ):
        assert not is_coded(site.ask(path, GZIP, *fields))


def test_a_file_that_stands_for_an_error_is_compressed(folder: Path) -> None:
    response = Served(folder, f"{ON}\nErrorDocument 404 /t.html").ask("/none", GZIP)
    assert (response.status, plain(response), is_coded(response)) == (404, TEXT, True)


def test_headers_see_the_fields_of_the_compressed_response(folder: Path) -> None:
    text = f'{ON}\nHeader append Vary X-Other\nHeader unset ETag\nHeader set X-Saw "expr=%{{resp:Content-Encoding}}"'
    response = Served(folder, text).ask("/t.txt", GZIP)
    assert values(response, "ETag") == []
    assert values(response, "X-Saw") == ["gzip"]
    assert values(response, "Vary") == ["Accept-Encoding, X-Other"]


@pytest.mark.parametrize(("word", "tags"), [("NoChange", '"a"'), ("Remove", None), ("AddSuffix", '"a-gzip"')])
def test_what_becomes_of_the_tag(folder: Path, word: str, tags: str | None) -> None:
    site = Served(folder, f"{ON}\nDeflateAlterETag {word}")
    site.ask("/t.txt", GZIP)
    response = Response(200, [("ETag", '"a"'), ("Content-MD5", "x"), ("Content-Type", "text/plain")], TEXT.encode())
    serve.finish(site.request, response)
    assert response.header("etag") == tags
    assert response.header("content-md5") is None


def test_a_client_that_has_it_gets_it_no_second_time(folder: Path) -> None:
    site = Served(folder, ON)
    tag = site.ask("/t.txt", GZIP).header("etag")
    again = site.ask("/t.txt", GZIP, f"If-None-Match: {tag}")
    assert (again.status, again.header("etag"), again.header("vary")) == (304, tag, "Accept-Encoding")
    assert site.ask("/t.txt", f"If-None-Match: {tag}").status == 200
    assert site.ask("/t.txt", GZIP, f"If-Match: {tag}").status == 200


def test_head_says_what_get_would(folder: Path) -> None:
    site = Served(folder, ON)
    whole, head = site.ask("/t.txt", GZIP), site.ask("/t.txt", GZIP, method="HEAD")
    assert head.headers == whole.headers
    assert head.body == whole.body


def test_ranges_are_of_the_compressed_bytes(folder: Path) -> None:
    site = Served(folder, ON)
    whole = site.ask("/t.txt", GZIP)
    assert isinstance(whole.body, bytes)
    part = site.ask("/t.txt", GZIP, "Range: bytes=2-9")
    assert (part.status, part.body) == (206, whole.body[2:10])
    assert values(part, "Content-Range") == [f"bytes 2-9/{len(whole.body)}"]
    assert values(part, "Content-Encoding") == ["gzip"]
    tag = whole.header("etag")
    assert site.ask("/t.txt", GZIP, "Range: bytes=2-9", f"If-Range: {tag}").status == 206
    assert site.ask("/t.txt", GZIP, "Range: bytes=2-9", 'If-Range: "other"').status == 200
    assert site.ask("/t.txt", GZIP, "Range: bytes=9999-").status == 416
    assert plain_part(site.ask("/t.txt", "Range: bytes=2-9")) == TEXT[2:10]
    several = site.ask("/t.txt", GZIP, "Range: bytes=0-1,5-6")
    assert several.status == 206
    assert (several.header("content-type") or "").startswith("multipart/byteranges")


def test_ranges_of_what_is_compressed_while_it_is_sent_are_not_known(folder: Path) -> None:
    response = Served(folder, ON).ask("/large.txt", GZIP, "Range: bytes=2-9")
    assert (response.status, plain(response)) == (200, LARGE)


def test_each_set_of_codings_is_remembered_alone(folder: Path) -> None:
    site = Served(folder, ON)
    later = os.stat(site.root / "t.txt").st_ctime + 60  # when the file is settled

    def ask(*fields: str) -> Response:
        site.ask("/t.txt", *fields)
        request = site.request
        return serve.respond(type(request)(request.head, request.endpoints, request.site, later, request.log))

    coded, plain_one = ask(GZIP), ask()
    assert ask("Accept-Encoding: deflate, gzip;q=0.3") is coded
    assert ask("Accept-Encoding: identity") is plain_one
    assert (is_coded(coded), is_coded(plain_one)) == (True, False)


def test_a_process_compresses_so_many_large_bodies_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mod_filter, "has_room", lambda _: False)
    site = Served(folder, ON)
    response = site.ask("/large.txt", GZIP)
    assert not is_coded(response)
    assert not site.request.pure
    assert plain(response) == LARGE


def test_a_body_is_counted_until_it_is_closed(folder: Path) -> None:
    site = Served(folder, ON)
    before = compression._under_way["DEFLATE"]
    bodies = [site.ask("/large.txt", GZIP).body for _ in range(3)]
    assert compression._under_way["DEFLATE"] == before + 3
    for body in bodies:
        let_go(body)
        let_go(body)
    assert compression._under_way["DEFLATE"] == before


def test_a_file_that_becomes_shorter_gets_no_end(folder: Path) -> None:
    response = Served(folder, ON).ask("/large.txt", GZIP)
    os.truncate(folder / "root" / "large.txt", 1_000)
    with pytest.raises(ClientGone):
        asyncio.run(collected(response))


class Program:
    """A program that waits for its client to have read what it said."""

    def __init__(self, length: int | None, *pieces: bytes) -> None:
        self.length = length
        self.pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    def close(self) -> None:
        self.closed = True


def finished(folder: Path, program: Program, text: str = ON) -> tuple[Served, Response]:
    site = Served(folder, text)
    let_go(site.ask("/t.txt", GZIP).body)
    response = Response(200, [("Content-Type", "text/plain")], program)
    serve.finish(site.request, response)
    return site, response


def test_a_programs_output_can_be_read_as_it_comes(folder: Path) -> None:
    program = Program(None, b"one " * 30, b"two")
    _, response = finished(folder, program)

    async def read() -> list[bytes]:
        assert not isinstance(response.body, (bytes, FileBody))
        reader = zlib.decompressobj(31)
        return [reader.decompress(piece) async for piece in response.body]

    assert asyncio.run(read()) == [b"one " * 30, b"two", b""]
    let_go(response.body)
    assert program.closed


def test_a_program_that_says_less_than_announced_gets_no_end(folder: Path) -> None:
    _, response = finished(folder, Program(500, b"x" * 499))
    with pytest.raises(ClientGone):
        asyncio.run(collected(response))


def test_a_program_that_says_more_is_cut(folder: Path) -> None:
    _, response = finished(folder, Program(500, b"x" * 499, b"yz"))
    assert plain(response) == "x" * 499 + "y"


def test_notes_say_how_much_it_was(folder: Path) -> None:
    text = f"{ON}\nDeflateFilterNote ratio\nDeflateFilterNote Input in\nDeflateFilterNote Output out"
    site = Served(folder, text)
    short = site.ask("/t.txt", GZIP)
    assert isinstance(short.body, bytes)
    size = len(short.body)
    assert site.request.notes == {"in": str(len(TEXT)), "out": str(size), "ratio": str(size * 100 // len(TEXT))}
    assert not site.request.pure
    large = site.ask("/large.txt", GZIP)
    assert site.request.notes == {}
    sent = asyncio.run(collected(large))
    assert site.request.notes["out"] == str(len(sent))


def test_levels_count(folder: Path) -> None:
    sizes = []
    for level in (1, 9):
        response = Served(folder, f"{ON}\nDeflateCompressionLevel {level}\nDeflateMemLevel 1").ask("/large.txt", GZIP)
        sizes.append(len(asyncio.run(collected(response))))
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("size", [1, 9, 12, 15])
def test_windows_and_pieces_of_any_size(folder: Path, size: int) -> None:
    site = Served(folder, f"{ON}\nDeflateWindowSize {size}\nDeflateBufferSize {size}")
    assert plain(site.ask("/large.txt", GZIP)) == LARGE


def test_chains_are_left_out(folder: Path) -> None:
    provider = """FilterProvider COMPRESS DEFLATE "%{CONTENT_TYPE} =~ m#text/#\""""
    site = Served(folder, f"FilterDeclare COMPRESS CONTENT_SET\n{provider}\nFilterChain COMPRESS")
    assert not is_coded(site.ask("/t.txt", GZIP))


@pytest.mark.parametrize(
    "line",
    [
        "DeflateCompressionLevel 0",
        "DeflateMemLevel 10",
        "DeflateWindowSize 16",
        "DeflateBufferSize 0",
        "DeflateFilterNote Speed x",
        "DeflateAlterETag Perhaps",
        "SetOutputFilter INFLATE",
        "FilterProvider x INCLUDES true",
        "FilterProvider x DEFLATE",
    ],
)
def test_wrong_lines_are_errors(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError):
        make_site(tmp_path, line)
