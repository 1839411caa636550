"""BROTLI_COMPRESS, alone and beside DEFLATE."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import brotli
import pytest

from ownhost.config.directive import ConfigError
from ownhost.http.message import FileBody, Response
from serving import NOW, Served, make_site, values

TEXT = "<p>a text that says the same again and again</p>\n" * 40
LARGE = "".join(f"{number} is a number, and so is {number * number}\n" for number in range(9_000))
BOTH = "Accept-Encoding: gzip, br"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    for name, content in (("t.txt", TEXT), ("large.txt", LARGE), ("zero.txt", "")):
        path = tmp_path / "root" / name
        path.write_text(content)
        os.utime(path, (NOW - 600, NOW - 600))
    return tmp_path


def coding(response: Response) -> str:
    (found,) = values(response, "Content-Encoding") or [""]
    return found


async def collected(response: Response) -> bytes:
    body = response.body
    assert not isinstance(body, (bytes, FileBody))
    data = b"".join([piece async for piece in body])
    body.close()
    return data


def test_files_are_compressed(folder: Path) -> None:
    site = Served(folder, "SetOutputFilter BROTLI_COMPRESS")
    short, large = site.ask("/t.txt", BOTH), site.ask("/large.txt", BOTH)
    assert (coding(short), coding(large)) == ("br", "br")
    assert isinstance(short.body, bytes)
    assert brotli.decompress(short.body).decode() == TEXT
    assert brotli.decompress(asyncio.run(collected(large))).decode() == LARGE
    assert values(short, "Vary") == ["Accept-Encoding"]
    assert (short.header("etag") or "").endswith('-br"')


@pytest.mark.parametrize(
    ("filters", "accept", "expected"),
    [
        ("BROTLI_COMPRESS;DEFLATE", "gzip, br", "br"),
        ("DEFLATE;BROTLI_COMPRESS", "gzip, br", "gzip"),
        ("BROTLI_COMPRESS;DEFLATE", "gzip", "gzip"),
        ("DEFLATE;BROTLI_COMPRESS", "br", "br"),
        ("DEFLATE;BROTLI_COMPRESS", "zstd", ""),
        ("BROTLI_COMPRESS", "gzip", ""),
        ("BROTLI_COMPRESS", "br;q=0", ""),
    ],
)
def test_the_first_filter_whose_coding_is_accepted_counts(
    folder: Path, filters: str, accept: str, expected: str
) -> None:
    site = Served(folder, f"AddOutputFilterByType {filters} text/plain")
    assert coding(site.ask("/t.txt", f"Accept-Encoding: {accept}")) == expected


def test_variables_except_one_coding_each(folder: Path) -> None:
    text = "SetOutputFilter BROTLI_COMPRESS;DEFLATE\n"
    assert coding(Served(folder, f"{text}SetEnv no-brotli 1").ask("/t.txt", BOTH)) == "gzip"
    assert coding(Served(folder, f"{text}SetEnv no-gzip 1").ask("/t.txt", "Accept-Encoding: gzip")) == ""


def test_nothing_stays_nothing(folder: Path) -> None:
    response = Served(folder, "SetOutputFilter BROTLI_COMPRESS").ask("/zero.txt", BOTH)
    assert (coding(response), response.body) == ("", b"")


def test_all_directives_are_obeyed(folder: Path) -> None:
    text = (
        "SetOutputFilter BROTLI_COMPRESS\nBrotliCompressionQuality 0\nBrotliCompressionWindow 10\n"
        "BrotliCompressionMaxInputBlock 16\nBrotliAlterETag Remove\nBrotliFilterNote Output out"
    )
    site = Served(folder, text)
    response = site.ask("/large.txt", BOTH)
    assert response.header("etag") is None
    data = asyncio.run(collected(response))
    assert brotli.decompress(data).decode() == LARGE
    assert site.request.notes == {"out": str(len(data))}
    best = Served(folder, "SetOutputFilter BROTLI_COMPRESS\nBrotliCompressionQuality 9")
    assert len(asyncio.run(collected(best.ask("/large.txt", BOTH)))) < len(data)


@pytest.mark.parametrize(
    "line",
    [
        "BrotliCompressionQuality 12",
        "BrotliCompressionWindow 9",
        "BrotliCompressionMaxInputBlock 25",
        "BrotliAlterETag x",
        "BrotliFilterNote x y",
    ],
)
def test_wrong_lines_are_errors(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError):
        make_site(tmp_path, line)
