"""mod_vhost_alias beside what the comparison with Apache shows (tests/oracle/cases/vhost-alias-*)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError
from ownhost.http.message import HTTPError
from ownhost.modules.mod_vhost_alias import parse_template
from ownhost.request.resolve import resolve
from serving import ask, make_request, make_site

TEMPLATES = st.text(alphabet="/%.+-0123459px", max_size=30).map("/".__add__)
NAMES = st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True)


@given(TEMPLATES, NAMES)
def test_any_template_is_one_or_refused_and_any_folder_is_below_it(text: str, name: str) -> None:
    try:
        template = parse_template(text, by_address=False)
        assert template is not None
        folder = template.folder(name, 80)
    except (ArgumentError, HTTPError):
        return
    assert not {".", ".."} & set(folder.split("/"))
    assert not folder.endswith("/.")


@pytest.mark.parametrize(
    ("template", "name", "folder"),
    [
        ("/www/%0/htdocs", "a.b", "/www/a.b/htdocs"),
        ("/www/%-1/%-2/%1", "www.example.org", "/www/org/example/www"),
        ("/www/%3+/%2.1/%2.2/%2.3/%2", "www.domain.example.com", "/www/example.com/d/o/m/domain"),
        ("/www/%2.1/%2.2/%2.3/%2", "www.x.org", "/www/x/_/_/x"),
        ("/www/%-2.0.%%", "a.b", "/www/a.%"),
        ("/%0/", "a", "/a"),
        ("/www/%0.2/x", "a.b", "/www/x"),
        ("/", "a", ""),
    ],
)
def test_folders(template: str, name: str, folder: str) -> None:
    found = parse_template(template, by_address=False)
    assert found is not None
    assert found.folder(name, 80) == folder


def test_characters_of_a_name_cannot_lead_upwards(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    site = make_site(tmp_path, "VirtualDocumentRoot @ROOT@/%0.2%0.4/x")
    asked = ask(site, "GET /x", "Host: a.b.c")
    assert asked.status == 400
    assert asked.log == [f"vhost_alias:info the name 'a.b.c' leads to {tmp_path}/root/../x"]


def test_a_name_is_not_remembered_for_the_next(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "x.txt").write_text(name)
    site = make_site(tmp_path, "VirtualDocumentRoot @ROOT@/%1")
    answers = [ask(site, "GET /x.txt", f"Host: {name}.test").response.body for name in ("one", "two", "one")]
    assert answers == [b"one", b"two", b"one"]


def test_index_and_error_pages_come_from_the_same_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "index.html").write_text(f"{name}'s index")
        (tmp_path / "root" / name / "missing.html").write_text(f"not in {name}")
    site = make_site(tmp_path, "VirtualDocumentRoot @ROOT@/%1\nErrorDocument 404 /missing.html")
    asked = ask(site, "GET /", "Host: two.test")
    assert asked.response.body == b"two's index"
    assert asked.request.document_root == f"{tmp_path}/root/two"
    assert ask(site, "GET /nothing", "Host: one.test").response.body == b"not in one"


def test_a_name_says_whose_a_request_is(tmp_path: Path) -> None:
    text = """VirtualDocumentRoot /home/%1/www
    <DirectoryMatch "^/home/(?<OWNER>[^/]+)/">
        AssignUserIDExpr %{reqenv:MATCH_OWNER}
    </DirectoryMatch>"""
    site = make_site(tmp_path, text)
    assignment = resolve(make_request(site, "GET /x", "Host: alice.example.org").request)
    assert assignment.user == "alice"


def test_programs_have_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    site = make_site(tmp_path, "VirtualScriptAlias /srv/%0/cgi\nVirtualDocumentRootIP /srv/%0/htdocs")
    asked = ask(site, "GET /cgi-bin/do/it", "Host: a.test")
    assert asked.request.alias == "cgi-script"
    assert asked.request.context_prefix == "/cgi-bin"
    assert asked.request.context_document_root == "/srv/a.test/cgi"
    asked = ask(site, "GET /cgi-bin", "Host: a.test", local="2001:db8::1")
    assert asked.request.document_root == "/srv/2001:db8::1/htdocs"
