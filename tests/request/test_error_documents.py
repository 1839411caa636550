"""ErrorDocument: what answers in an error's stead. More of it is in oracle/cases/errors*.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Served


@pytest.mark.parametrize(
    ("document", "status", "body"),
    [
        ("/a.txt", 404, b"a.txt\n"),
        ("/d/", 404, b"d/index.html\n"),
        ('"not here"', 404, b"not here"),
        ("/missing/too", 404, None),
        ("/d", 404, None),  # it leads to a redirect: the error itself is answered
        ("/moved", 404, None),
        ("http://elsewhere.test/", 302, None),
    ],
)
def test_what_answers(tmp_path: Path, document: str, status: int, body: bytes | None) -> None:
    served = Served(tmp_path, f"ErrorDocument 404 {document}\nRedirect /moved /a.txt")
    response = served.ask("/missing")
    assert response.status == status
    if body is None:
        assert response.own_page
    else:
        assert response.body == body


def test_the_document_for_a_body_that_is_too_large_is_sent_for_it(tmp_path: Path) -> None:
    served = Served(tmp_path, "LimitRequestBody 10\nErrorDocument 413 /a.txt")
    response = served.ask("/b.html", "Content-Length: 11", method="POST")
    assert response.status == 413
    assert not response.own_page


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("<b>%{req:X-A}</b>", b"<b>&lt;script&gt;&#x27;&quot;&amp;</b>"),
        ("%{tolower:%{req:X-A}} %{reqenv:A}", b"&lt;script&gt;&#x27;&quot;&amp; &lt;script&gt;&#x27;&quot;&amp;"),
        ("%{REQUEST_URI}", b"/missing&lt;x&gt;"),
        ("%{QUERY_STRING}", b"&lt;q&gt;"),
        ("%{file:@ROOT@/own.html}", b"<i>own</i>"),
        ("%{escape:%{req:X-A}}", b"%3cSCRIPT%3e&#x27;%22&amp;"),
    ],
)
def test_what_a_client_said_is_no_html_of_a_text(tmp_path: Path, text: str, body: bytes) -> None:
    served = Served(tmp_path, f'SetEnvIf X-A "(.*)" A=$1\nErrorDocument 404 "{text}"')
    (served.root / "own.html").write_text("<i>own</i>")
    response = served.ask("/missing%3Cx%3E?<q>", "X-A: <SCRIPT>'\"&")
    assert response.status == 404
    assert isinstance(response.body, bytes)
    assert response.body.lower() == body.lower()
