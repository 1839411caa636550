"""mod_filter: the output filters of responses are applied. Those that exist compress: mod_deflate, mod_brotli.

Source: Apache's mod_deflate.c and mod_brotli.c, for which fields a compressed response has.
"""

from __future__ import annotations

from ownhost.config.arguments import either, ignored, words
from ownhost.config.directive import ANYWHERE, SECTIONS, Answer, ArgumentError, Call, Directive, Override, declare
from ownhost.http.message import FileBody, Response
from ownhost.modules.compression.body import AT_ONCE, Compressed, compressed, has_room
from ownhost.modules.compression.codings import CODINGS, Coding, Content, accepted
from ownhost.modules.compression.declared import INPUT, OUTPUT, RATIO, altered_tag
from ownhost.modules.output_filters import BY_EXTENSION, BY_TYPE, SET, coding_for
from ownhost.modules.partial import cut, joined
from ownhost.request.module import Module, register
from ownhost.request.request import Request

_BODILESS = (204, 206, 304)
_OF_PLAIN_BODY = ("content-encoding", "content-md5")  # fields that do not say what is sent then


def parse_provider(call: Call) -> None:
    """A name, a filter, a condition. A filter that does more than compress cannot be left out. Raises ArgumentError."""
    provider = words(3, 3)(call)[1].upper()
    if provider not in CODINGS:
        raise ArgumentError(f"the filter {provider} is not supported yet; expected {either(list(CODINGS))}")


for _name, _syntax, _where, _override, _parse in (
    ("FilterDeclare", "name [type]", ANYWHERE, Override.OPTIONS, ignored()),
    ("FilterProvider", "name filter expression", ANYWHERE, Override.OPTIONS, parse_provider),
    ("FilterChain", "[+|-|=|@|!]name...", ANYWHERE, Override.OPTIONS, ignored()),
    ("FilterProtocol", "name [filter] flags", ANYWHERE, Override.OPTIONS, ignored()),
    ("FilterTrace", "name 0|1|2", SECTIONS, Override.NONE, ignored()),
):
    declare(
        Directive(
            _name,
            "mod_filter",
            _syntax,
            _where,
            "Chains of filters with conditions. They are left out: what they would compress is sent as it is.",
            _parse,
            answer=Answer.NO_EFFECT,
            override=_override,
        )
    )


def variant(request: Request) -> str:
    """The codings that a request accepts: each set of them has its own remembered response."""
    value = request.head.values.get("accept-encoding")
    return "" if value is None else " ".join(sorted(accepted(value)))


def finish(request: Request, response: Response) -> None:
    """Compress a response, if its filters say so and its client accepts it. Raises HTTPError 416."""
    if response.own_page or response.as_sent or response.tunnel is not None or response.status in _BODILESS:
        return
    if response.header("content-range") is not None:
        return
    body = response.body
    size = len(body) if isinstance(body, bytes) else body.length
    content = Content(response.header("content-type") or "", _encodings(request, response), size)
    asked, coding = coding_for(request, content)
    if asked:
        response.say_vary(("Accept-Encoding",))
    if coding is not None:
        _compress(request, response, coding, content)


def _encodings(request: Request, response: Response) -> str:
    return ",".join(v for name, v in (*response.headers, *request.fields) if name.lower() == "content-encoding")


def _compress(request: Request, response: Response, coding: Coding, content: Content) -> None:
    settings, body = request.site.settings, response.body
    is_short = isinstance(body, bytes) and len(body) <= AT_ONCE
    if isinstance(body, FileBody) and response.status >= 400:
        return  # an error's page is not waited for: it may end a conversation
    if not is_short and not has_room(coding):
        request.pure = False  # the next one may be compressed
        return
    names = settings[coding.notes]
    if names:
        request.pure = False

    def note(before: int, after: int) -> None:
        values = {INPUT: str(before), OUTPUT: str(after), RATIO: str(after * 100 // before) if before else "-"}
        request.notes.update((name, values[kind]) for kind, name in names.items())

    _change_fields(request, response, coding, content)
    compressor = coding.compressor(settings)
    if not is_short:
        response.body = Compressed(body, coding, compressor, coding.piece(settings), note)
        return
    assert isinstance(body, bytes)
    whole = compressed(body, compressor)
    note(len(body), len(whole))
    response.body = whole  # also if it becomes an error
    response.body = joined(whole, cut(request, response, len(whole), is_here=True))


def _change_fields(request: Request, response: Response, coding: Coding, content: Content) -> None:
    before = [one for one in content.encodings.split(",") if one.strip().lower() not in ("", "identity")]
    encodings = ", ".join((*before, coding.token))
    response.headers = [field for field in response.headers if field[0].lower() not in _OF_PLAIN_BODY]
    response.headers.append(("Content-Encoding", encodings))
    if request.encodings:
        request.encodings = [encodings]  # the response has them, whatever is set
    tag = response.header("etag")
    if tag is not None:
        altered = altered_tag(tag, request.site.settings[coding.etag], coding.token)
        response.headers = [field for field in response.headers if field[0].lower() != "etag"]
        response.headers += [("ETag", altered)] if altered else []


register(
    Module(
        name="mod_filter",
        identifier="filter_module",
        order=94,
        uses=lambda server: server.says(SET, BY_EXTENSION, BY_TYPE),
        obeys=frozenset({"core", "mod_mime"}),
        variant=variant,
        finish=finish,
    )
)
