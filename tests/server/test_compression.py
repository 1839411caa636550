"""Compressed responses as clients get them from the real server: files, programs, HTTP/1 and HTTP/2, a browser."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import brotli
import httpx
import pytest

from browser import visit
from encrypted import Sites, ask
from harness import ALICE, Server, World
from waiting import eventually

LARGE = "".join(f"{number} is a number, and so is {number * number}\n" for number in range(60_000))
STEPS = """\
#!/bin/sh
printf 'Content-Type: text/plain\\n\\nbegun\\n'
while [ ! -e {folder}/go ]; do sleep 0.05; done
echo done
"""
PAGE = """\
<!doctype html><link rel="icon" href="data:,"><link rel="stylesheet" href="s.css"><script src="s.js"></script>
<script>onload = () => {
    document.body.textContent = `${getComputedStyle(document.body).color} ${said} after ${performance.getEntries()
        .filter(one => one.encodedBodySize && one.encodedBodySize < one.decodedBodySize).length} compressed.`;
};</script><body>"""
CONFIG = """\
Protocols h2 http/1.1
LogFormat "%U %O %{ratio}n" sizes
CustomLog @DIR@/access.log sizes
AddType text/html .html
AddType text/css .css
AddType text/javascript .js
AddType text/plain .txt
AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html text/css text/javascript text/plain
DeflateFilterNote ratio
"""
CGI = "<Files *.cgi>\nOptions +ExecCGI\nSetHandler cgi-script\n</Files>\n"


@dataclass
class Compressing:
    """A server with compressible content, over TLS."""

    server: Server
    sites: Sites

    @property
    def folder(self) -> Path:
        return self.sites.world.folder / "alice"


@pytest.fixture(scope="module")
def served(shared_world: World, shared_sites: Sites) -> Compressing:
    files: dict[str, str | bytes] = {
        "index.html": PAGE + " " * 500,
        "s.css": "body { color: rgb(1, 2, 3) }\n" * 50,
        "s.js": f"const said = 'hello'; // {'x' * 2_000}\n",
        "large.txt": LARGE,
        "steps.cgi": STEPS.format(folder=shared_world.folder / "alice"),
    }
    host = shared_sites.virtual_host("alice", ALICE, CGI, files)
    return Compressing(shared_world.server(CONFIG + host), shared_sites)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_large_file_is_sent_in_chunks(served: Compressing, coding: str) -> None:
    found = served.sites.get(served.server, path="/large.txt", Accept_Encoding=coding)
    assert found.getheader("Content-Encoding") == coding
    assert found.getheader("Transfer-Encoding") == "chunked"
    plain = gzip.decompress(found.content) if coding == "gzip" else brotli.decompress(found.content)
    assert plain.decode() == LARGE
    assert len(found.content) < len(LARGE) / 2


def test_the_connection_stays_open_after_it(served: Compressing) -> None:
    with served.sites.connect(served.server) as sock:
        for _ in range(3):
            found = ask(sock, "alice.test", "/large.txt", Accept_Encoding="gzip")
            assert gzip.decompress(found.content).decode() == LARGE
            assert ask(sock, "alice.test", "/large.txt", method="HEAD", Accept_Encoding="gzip").content == b""
            assert ask(sock, "alice.test", "/large.txt").content.decode() == LARGE


def test_a_client_that_leaves_in_the_middle_hurts_nobody(served: Compressing) -> None:
    for _ in range(80):  # more than may be under way at once
        with served.sites.connect(served.server) as sock:
            sock.sendall(b"GET /large.txt HTTP/1.1\r\nHost: alice.test\r\nAccept-Encoding: gzip\r\n\r\n")
            sock.recv(100)

    def is_compressed() -> bool:
        found = served.sites.get(served.server, path="/large.txt", Accept_Encoding="gzip")
        return found.getheader("Content-Encoding") == "gzip"

    eventually(is_compressed)


def test_what_a_program_said_can_be_read_at_once(served: Compressing) -> None:
    with served.sites.connect(served.server) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"GET /steps.cgi HTTP/1.1\r\nHost: alice.test\r\nAccept-Encoding: gzip\r\n\r\n")
        while stream.readline() != b"\r\n":
            pass
        reader, text = zlib.decompressobj(31), b""
        while text != b"begun\n":
            text += reader.decompress(stream.read(int(stream.readline(), 16)))
            stream.readline()
        (served.folder / "go").touch()
        while size := int(stream.readline(), 16):
            text += reader.decompress(stream.read(size))
            stream.readline()
        assert (text, reader.eof) == (b"begun\ndone\n", True)


def test_many_large_files_over_one_http2_connection(served: Compressing) -> None:
    url = f"https://127.0.0.1:{served.server.port}"

    async def work() -> list[httpx.Response]:
        extensions, fields = {"sni_hostname": "alice.test"}, {"Host": "alice.test"}
        async with httpx.AsyncClient(
            http2=True, http1=False, verify=served.sites.context(), base_url=url, headers=fields, timeout=60
        ) as client:
            codings = ("gzip", "br", "identity") * 4
            return await asyncio.gather(
                *(
                    client.get("/large.txt", headers={"Accept-Encoding": coding}, extensions=extensions)
                    for coding in codings
                )
            )

    found = asyncio.run(work())
    assert [one.headers.get("content-encoding") for one in found] == ["gzip", "br", None] * 4
    assert {one.text for one in found} == {LARGE}


def test_logs_have_the_ratio_and_what_was_sent(served: Compressing) -> None:
    served.sites.get(served.server, path="/s.css", Accept_Encoding="gzip")

    def logged() -> str | None:
        found = re.search(r"^/s.css (\d+) ([1-9]\d*)$", served.server.log("access.log"), re.MULTILINE)
        return found[0] if found and int(found[1]) < 1_000 else None

    eventually(logged)


def test_a_browser_reads_it_all(served: Compressing, tmp_path: Path) -> None:
    content = visit(served.sites, f"https://alice.test:{served.server.port}/", tmp_path)
    assert "rgb(1, 2, 3) hello after 3 compressed." in content, content
