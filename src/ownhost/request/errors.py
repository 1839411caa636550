"""Error responses: ErrorDocument, and the page that is sent without one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

from ownhost.config import expression as e
from ownhost.config.arguments import number
from ownhost.config.directive import ANYWHERE, ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.config.expression_parser import is_plain, parse_string
from ownhost.config.lexer import next_word
from ownhost.http.framing import reason
from ownhost.http.message import HTTPError, Response
from ownhost.request import expressions
from ownhost.request.names import DEFAULT_PORTS, scheme, server_name, signature
from ownhost.request.request import Request

TEXT_TYPE = "text/html; charset=iso-8859-1"

# The error, in words for visitors: nothing about the server's inside.
_EXPLAINED = {
    400: "Your browser sent a request that this server could not understand.",
    401: "This page is for people who have a name and a password for it.",
    403: "You don't have permission to see this page.",
    404: "There is nothing at this address.",
    405: "This page does not accept such requests.",
    408: "The request took too long to arrive.",
    410: "The page is gone, and no new address is known.",
    413: "The request is larger than this server accepts.",
    414: "The address is longer than this server accepts.",
    416: "The part that was asked for is not in the file.",
    417: "The server cannot meet the request's expectation.",
    421: "This connection was made for another site: ask for this one on a connection of its own.",
    431: "The request's header fields are larger than this server accepts.",
    500: "The server could not answer because of an error of its own. Its error log says more.",
    501: "This server does not know that method.",
    503: "This site is busy. Try it again in a moment.",
    505: "This server does not speak that version of HTTP.",
}


@dataclass(frozen=True, slots=True)
class Document:
    """The value of an ErrorDocument: a "text", the "path" of another page of this server, a "url", or "default"."""

    kind: str
    value: str
    computed: e.StringExpression | None = None  # computes `value` for each request, if it contains %{...}


def _merge(outer: dict[int, Document], inner: dict[int, Document]) -> dict[int, Document]:
    return {**outer, **inner}


_URLS = ("http://", "https://")


def parse_document(call: Call) -> dict[int, Document]:
    """A status and a text, a path or a URL."""
    word, rest = next_word(call.raw)
    status = number(word, 400, 599)
    what = call.args[1] if len(call.args) == 2 else ""
    if not rest:
        raise ArgumentError("expected a text, a path or a URL after the status, got none")
    if rest.startswith('"') and (len(call.args) != 2 or not rest.endswith('"') or len(rest) == 1):
        return {status: Document("text", rest[1:])}  # Apache 1.3's form: one quote, up to the line's end
    if len(call.args) > 2:
        raise ArgumentError(f"expected quotes around a text of several words, not {rest!r}")
    if what.lower() == "default" and not rest.startswith('"'):
        return {status: Document("default", "")}
    if status == 401 and what.lower().startswith(_URLS):
        # A redirect would lose the request for a password.
        call.notes.append("cannot use a full URL in a 401 ErrorDocument directive: it is ignored")
        return {}
    return {status: _computed(_read_document(what))}


def _computed(document: Document) -> Document:
    return document if is_plain(document.value) else replace(document, computed=parse_string(document.value))


def _read_document(what: str) -> Document:
    if what.startswith("/"):
        return Document("path", what)
    return Document("url" if what.lower().startswith(_URLS) else "text", what)


ERROR_DOCUMENTS: Setting[dict[int, Document]] = Setting("ErrorDocument", {}, _merge)

declare(
    Directive(
        name="ErrorDocument",
        module="core",
        syntax="status text|path|URL|default",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        help="What is sent for an error: a text, another page of this server, or a redirect to a URL.",
        parse=parse_document,
        setting=ERROR_DOCUMENTS,
        fold=lambda before, documents: {**(before or {}), **documents},
    )
)


def document_for(request: Request, status: int) -> Document | None:
    """The ErrorDocument of a status; None if there is none."""
    settings = request.settings or request.site.settings
    document = settings[ERROR_DOCUMENTS].get(status)
    if document is None or document.kind == "default":
        return None
    if document.computed is None:
        return document
    value = _shown(document, document.computed, request)
    return None if value is None else replace(document, value=value, computed=None)


def _shown(document: Document, computed: e.StringExpression, request: Request) -> str | None:
    """The value of a document with %{...} in it; None if a part has no value.

    A text is HTML, and what a client sent is not: a script in a URL must not run in the page. So it
    is escaped; Apache leaves that to the author of the text. Files are not escaped: they are the
    owner's HTML.
    """
    if document.kind != "text":
        return expressions.computed(computed, request)
    shown = []
    for part in computed.parts:
        value = expressions.computed(e.StringExpression(computed.text, part), request)
        if value is None:
            return None
        is_html = isinstance(part, e.Text) or (isinstance(part, e.Call) and part.function == "file")
        shown.append(value if is_html else escape(value))
    return "".join(shown)


def page(request: Request, status: int, note: str = "") -> Response:
    """The plain page for an error or a redirect; nothing for a status without a body. `note` is HTML."""
    if status in (204, 304):
        return Response(status)
    title = f"{status} {reason(status)}"
    text = note or escape(_EXPLAINED.get(status, "The request could not be answered."))
    footer = signature(request)
    body = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{reason(status)}</h1>\n<p>{text}</p>\n{footer}</body></html>\n"
    )
    fields = [("Content-Type", "text/html; charset=utf-8")]
    return Response(status, fields, body.encode("utf-8", "replace"), own_page=True)


def make_bare(response: Response) -> None:
    """Make a response a bare 500, to which no module adds anything: for when modules themselves fail."""
    response.status, response.headers = 500, [("Content-Type", "text/plain; charset=utf-8")]
    response.body, response.own_page, response.close = f"{_EXPLAINED[500]}\n".encode(), True, True


def text(document: Document, status: int) -> Response:
    """An ErrorDocument that is a text."""
    body = document.value.encode("utf-8", "surrogateescape")
    return Response(status, [("Content-Type", TEXT_TYPE)], body, own_page=True)


def redirect(request: Request, status: int, location: str, *, relative: bool = False) -> Response:
    """A redirect; a location without a host gets this server's, unless it may be relative."""
    if location.startswith("/") and not relative:
        location = f"{base_url(request)}{location}"
    shown = escape(location)
    response = page(request, status, f'The document is <a href="{shown}">here</a>.')
    response.headers.append(("Location", location))
    return response


def base_url(request: Request) -> str:
    """Scheme, host and port of this server as the client knows it, without a slash at the end."""
    name = scheme(request)
    host, port = server_name(request)
    return f"{name}://{host}" if port == DEFAULT_PORTS[name] else f"{name}://{host}:{port}"


def simple(request: Request, error: HTTPError) -> Response:
    """The plain page of an error, with the fields that belong to it."""
    response = page(request, error.status, error.note)
    response.headers += error.headers
    return response
