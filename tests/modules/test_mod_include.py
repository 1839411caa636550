"""Server-side includes: a file with them is never sent as it is, and what has none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.config.directive import ConfigError
from serving import ask, make_site

SECRET = '<!--#exec cmd="secret" -->'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("x.shtml", "x.html", "run.html", "x.SHTML.de", "x.txt"):
        (folder / name).write_text(SECRET)
    (folder / "x.html").chmod(0o644)
    (folder / "run.html").chmod(0o744)
    return tmp_path


ON = "AddType text/html .html .shtml\nOptions +Includes\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("AddOutputFilter INCLUDES .shtml", "/x.shtml"),
        ("AddOutputFilter INCLUDES shtml", "/x.SHTML.de"),
        ("AddOutputFilter DEFLATE;INCLUDES .html", "/x.html"),
        ("SetOutputFilter INCLUDES", "/x.txt"),
        ("AddOutputFilterByType INCLUDES text/html", "/x.html"),
        ("XBitHack on", "/run.html"),
        ("XBitHack full", "/run.html"),
        ("", "/x.shtml"),
    ],
)
@pytest.mark.parametrize("options", ["Options +Includes", "Options IncludesNOEXEC", "Options All"])
def test_what_would_be_parsed_is_refused(root: Path, text: str, path: str, options: str) -> None:
    asked = ask(make_site(root, f"{ON}{options}\n{text}"), f"GET {path}")
    assert asked.status == 403
    assert SECRET.encode() not in asked.body
    assert asked.log == [
        f"include:error {root}/root{path}: includes are not made here, "
        "and a file with includes in it is not sent as it is"
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Options -Includes\nAddOutputFilter INCLUDES .shtml", "/x.shtml"),  # as in Apache: the filter is left out
        ("XBitHack on", "/x.html"),
        ("XBitHack off", "/run.html"),
        ("AddOutputFilter INCLUDES .html\nRemoveOutputFilter .html", "/x.html"),
        ("AddOutputFilter INCLUDES .html\nSetOutputFilter None", "/x.txt"),
        ("AddOutputFilter DEFLATE .html", "/x.html"),
        ("", "/none.shtml"),
    ],
)
def test_what_would_not_is_sent(root: Path, text: str, path: str) -> None:
    assert ask(make_site(root, ON + text), f"GET {path}").status == (404 if "none" in path else 200)


@pytest.mark.parametrize("text", ["AddOutputFilter SUBSTITUTE .html", "SetOutputFilter x;DEFLATE", "XBitHack maybe"])
def test_other_filters_are_errors(root: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"not supported yet|expected On"):
        make_site(root, text)
