"""Files with a head of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownhost.http.message import FileBody, Response
from serving import Served, values

ON = "AddHandler send-as-is .asis\n"


def sent(folder: Path, content: bytes, target: str = "/x.asis", text: str = ON, method: str = "GET") -> Response:
    """The response to a request for a file with this content."""
    site = Served(folder, text)
    (site.root / "x.asis").write_bytes(content)
    return site.ask(target, method=method)


def body_of(response: Response) -> bytes:
    """All of a body."""
    if isinstance(response.body, bytes):
        return response.body
    assert isinstance(response.body, FileBody)
    try:
        return b"".join(
            part if isinstance(part, bytes) else os.pread(response.body.fd, part[1], part[0])
            for part in response.body.parts
        )
    finally:
        response.body.close()


@pytest.mark.parametrize("text", [ON, "AddType httpd/send-as-is .asis", "AddHandler httpd/send-as-is asis"])
def test_a_head_and_a_body(tmp_path: Path, text: str) -> None:
    response = sent(tmp_path, b"Status: 410 Gone\nContent-Type: text/x\nX-Own: \xff\n\nbody\n", text=text)
    assert response.status == 410
    assert values(response, "Content-Type") == ["text/x"]
    assert values(response, "X-Own") == ["\xff"]
    assert body_of(response) == b"body\n"


def test_a_large_head_and_body(tmp_path: Path) -> None:
    response = sent(tmp_path, b"X: " + b"x" * 10_000 + b"\r\n\r\n" + b"y" * 10_000)
    assert len(values(response, "X")[0]) == 10_000
    assert body_of(response) == b"y" * 10_000


@pytest.mark.parametrize("content", [b"", b"no end", b"X: y\n", b"no field\n\nx", b"X: " + b"x" * 70_000 + b"\n\n"])
def test_heads_that_are_malformed(tmp_path: Path, content: bytes) -> None:
    assert sent(tmp_path, content).status == 500


def test_a_range(tmp_path: Path) -> None:
    site = Served(tmp_path, ON)
    (site.root / "x.asis").write_bytes(b"X: y\n\n0123456789")
    response = site.ask("/x.asis", "Range: bytes=2-4")
    assert (response.status, values(response, "Content-Range")) == (206, ["bytes 2-4/10"])
    assert body_of(response) == b"234"


def test_redirects(tmp_path: Path) -> None:
    elsewhere = sent(tmp_path, b"Location: http://other.test/\n\nx")
    assert (elsewhere.status, values(elsewhere, "Location")) == (302, ["http://other.test/"])
    elsewhere.body.close() if isinstance(elsewhere.body, FileBody) else None
    assert body_of(sent(tmp_path, b"Location: /a.txt\n\n")) == b"a.txt\n"


@pytest.mark.parametrize(
    ("method", "target", "status"), [("POST", "/x.asis", 200), ("PUT", "/x.asis", 405), ("GET", "/y.asis", 404)]
)
def test_what_else_is_answered(tmp_path: Path, method: str, target: str, status: int) -> None:
    assert sent(tmp_path, b"X: y\n\nx", target, method=method).status == status


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    site = Served(tmp_path, ON)
    (site.root / "x.asis").write_bytes(b"X: y\n\n")
    monkeypatch.setattr("ownhost.apps.asis.os.open", closed)
    assert site.ask("/x.asis").status == 403
