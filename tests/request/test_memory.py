"""Answers that a site remembers: those of large files are opened each time, and never another state of the file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownhost.http.message import FileBody
from ownhost.request import serve
from ownhost.request.memory import LARGEST_FILE
from ownhost.request.site import Site
from serving import Asked, make_request, make_site

LARGE = LARGEST_FILE + 1_000


class Served:
    """A site with a large file and a small one."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.put("large.bin", b"a" * LARGE)
        self.put("small.bin", b"a" * 1_000)
        self.site: Site = make_site(folder, f"<Directory {self.root}>\nRequire all granted\n</Directory>")
        self.bodies: list[FileBody] = []

    def put(self, name: str, content: bytes) -> None:
        (self.root / name).write_bytes(content)

    def ask(self, line: str, *fields: str) -> tuple[int, bytes | None]:
        """Status and content."""
        asked = self.respond(line, *fields)
        body = asked.response.body
        if isinstance(body, FileBody):
            self.bodies.append(body)
            return asked.status, b"".join(
                part if isinstance(part, bytes) else os.pread(body.fd, part[1], part[0]) for part in body.parts
            )
        assert isinstance(body, bytes)
        return asked.status, body

    def respond(self, line: str, *fields: str) -> Asked:
        asked = make_request(self.site, line, *fields)
        asked.request.time = time.time() + 60  # files that changed just now are not remembered
        asked.response = serve.respond(asked.request)
        return asked


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    one = Served(tmp_path)
    yield one
    for body in one.bodies:
        body.close()


def test_a_large_file_is_remembered_and_each_answer_has_a_descriptor_of_its_own(served: Served) -> None:
    for _ in range(3):
        assert served.ask("GET /large.bin") == (200, b"a" * LARGE)
    assert len({body.fd for body in served.bodies}) == 3
    assert list(served.site.memory.answers) == ["/large.bin"]
    assert served.site.memory.size == 0


def test_what_a_remembered_answer_says_is_what_the_first_said(served: Served) -> None:
    first, second = (served.respond("GET /large.bin").response for _ in range(2))
    assert first.headers == second.headers
    for response in (first, second):
        assert isinstance(response.body, FileBody)
        served.bodies.append(response.body)


@pytest.mark.parametrize("content", [b"b" * LARGE, b"b" * 10, b"b" * (LARGE + 1)], ids=["same size", "small", "larger"])
def test_a_file_that_changed_is_answered_anew(served: Served, content: bytes) -> None:
    assert served.ask("GET /large.bin")[1] == b"a" * LARGE
    served.put("large.bin", content)
    assert served.ask("GET /large.bin") == (200, content)
    assert served.ask("GET /large.bin") == (200, content)


def test_a_file_that_another_took_the_place_of(served: Served) -> None:
    served.ask("GET /large.bin")
    served.put("other", b"c" * LARGE)
    (served.root / "other").rename(served.root / "large.bin")
    assert served.ask("GET /large.bin")[1] == b"c" * LARGE


def test_a_file_that_is_gone_or_became_a_folder_or_a_fifo(served: Served) -> None:
    path = served.root / "large.bin"
    served.ask("GET /large.bin")
    path.unlink()
    assert served.ask("GET /large.bin")[0] == 404
    served.put("large.bin", b"a" * LARGE)
    served.ask("GET /large.bin")
    path.unlink()
    os.mkfifo(path)
    assert served.ask("GET /large.bin")[0] == 403
    path.unlink()
    path.mkdir()
    assert served.ask("GET /large.bin")[0] in (301, 403, 404)


def test_a_range_or_a_condition_is_answered_anew(served: Served) -> None:
    served.ask("GET /large.bin")
    assert served.ask("GET /large.bin", "Range: bytes=0-9") == (206, b"a" * 10)
    assert served.ask("GET /large.bin", "If-Modified-Since: " + "Sun, 06 Nov 2033 08:49:37 GMT")[0] in (200, 304)
    assert served.ask("GET /large.bin") == (200, b"a" * LARGE)


def test_no_descriptor_is_left_open(served: Served) -> None:
    served.ask("GET /large.bin")
    before = len(os.listdir("/proc/self/fd"))
    served.put("large.bin", b"b" * LARGE)
    served.ask("GET /large.bin")
    served.bodies.pop().close()
    (served.root / "large.bin").unlink()
    served.ask("GET /large.bin")
    assert len(os.listdir("/proc/self/fd")) == before
