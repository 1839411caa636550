"""mod_negotiation: a page has variants, and a client gets the one that it likes best.

With Options MultiViews, /page stands for page.html.en, page.html.de and so on, if there is no file
/page. A type map lists variants itself.
"""

from __future__ import annotations

import os
from html import escape
from itertools import islice
from stat import S_ISREG

from ownhost.config.arguments import flag, words
from ownhost.config.directive import (
    ANYWHERE,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    declare,
    extend,
)
from ownhost.http.dates import format_date
from ownhost.http.level import Level
from ownhost.http.message import HTTPError, Response, let_go
from ownhost.http.wire import from_bytes, wire
from ownhost.modules.core_files import VARIANTS, entity_tag
from ownhost.modules.mod_mime import EXTENSIONS, not_understood, types_of
from ownhost.modules.negotiation import typemap
from ownhost.modules.negotiation.accept import Accepts, Range, accepted, negotiate, parse_ranges
from ownhost.modules.negotiation.choice import PROGRAM, Priority, Variant, best
from ownhost.modules.partial import cut, joined
from ownhost.request import expression_functions
from ownhost.request.links import OPTIONS, Option
from ownhost.request.memory import OPEN
from ownhost.request.module import Module, register
from ownhost.request.redirects import answer, answer_as, redirected, subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

HANDLER = "type-map"
MAP_TYPE = "application/x-type-map"
MOST_NAMES = 50_000  # of a folder that are looked at
MOST_VARIANTS = 200  # of a page
MOST_BYTES = 1 << 20  # of a type map
_PREFER, _FALLBACK = "prefer", "fallback"

LANGUAGES: Setting[tuple[str, ...]] = Setting("LanguagePriority", ())
FORCED: Setting[frozenset[str]] = Setting("ForceLanguagePriority", frozenset((_PREFER,)))
CACHED = Setting("CacheNegotiatedDocs", False)


def parse_languages(call: Call) -> tuple[str, ...]:
    """Languages, the preferred one first."""
    return tuple(word.lower() for word in words(1)(call))


def parse_forced(call: Call) -> frozenset[str]:
    """None, or Prefer and Fallback, both or one of them."""
    found = [word.lower() for word in words(1)(call)]
    unknown = next((word for word in found if word not in (_PREFER, _FALLBACK, "none")), None)
    if unknown is not None or ("none" in found and len(found) > 1):
        raise ArgumentError(f"expected None, or Prefer and Fallback, not {call.raw!r}")
    return frozenset(found) - {"none"}


for _directive in (
    Directive(
        "LanguagePriority",
        "mod_negotiation",
        "language...",
        ANYWHERE,
        "Which language is sent if a client likes several as much: the first one.",
        parse_languages,
        setting=LANGUAGES,
        fold=extend,
        override=Override.FILE_INFO,
    ),
    Directive(
        "ForceLanguagePriority",
        "mod_negotiation",
        "None|Prefer|Fallback...",
        ANYWHERE,
        "Whether LanguagePriority decides between equals (Prefer), and if a client likes no language (Fallback).",
        parse_forced,
        setting=FORCED,
        default="Prefer",
        override=Override.FILE_INFO,
    ),
    Directive(
        "CacheNegotiatedDocs",
        "mod_negotiation",
        "On|Off",
        SERVERS,
        "Whether HTTP/1.0 caches may keep what was negotiated.",
        flag(),
        setting=CACHED,
        default="Off",
    ),
):
    declare(_directive)


def multiviews(request: Request) -> Response | None:
    """Go on as the best file whose name begins with the one that is missing. Raises HTTPError."""
    if request.stat is not None or Option.MULTI_VIEWS not in request.settings[OPTIONS]:
        return None
    if request.is_proxied or not request.filename.startswith("/"):
        return None
    request.pure = False
    talk = _Negotiation(request)
    talk.look()
    if not talk.variants:
        return None
    program = request.method not in ("GET", "HEAD") or request.query is not None or bool(request.path_info)
    chosen = talk.choose(prefers_programs=program)
    inner = chosen.request or talk.find(chosen.file)
    if request.path_info and not inner.path_info:
        inner.path_info = request.path_info
        inner.uri += request.path_info
    request.become(inner)
    request.notes[VARIANTS] = talk.validator
    return answer(request)


def send_map(request: Request) -> Response:
    """The handler of type maps. Raises HTTPError."""
    request.pure = False
    talk = _Negotiation(request)
    talk.read(request)
    chosen = talk.choose(prefers_programs=False)
    if chosen.body is not None:
        return _body(request, chosen)
    path, mark, query = chosen.file.partition("?")
    start = request.uri.removesuffix(request.path_info) if request.path_info else request.uri
    folder = expression_functions.escape(start.rpartition("/")[0])
    target = path if path.startswith("/") else f"{folder}/{path}"
    queries = [text for text in (query if mark else None, request.query) if text is not None]
    uri = request.site.clean(target) + request.path_info
    inner = redirected(request, uri, "?".join(queries) if queries else None)
    inner.notes[VARIANTS] = talk.validator
    return answer_as(request, inner)


def _body(request: Request, chosen: Variant) -> Response:
    """A variant that is in the map itself. Raises HTTPError."""
    if request.method not in ("GET", "HEAD", "POST"):
        raise HTTPError(405, f"{request.method} of a type map", (("Allow", "GET, HEAD, POST, OPTIONS"),))
    assert chosen.body is not None
    content_type = wire(f"{chosen.type}; charset={chosen.charset}" if chosen.charset else chosen.type)
    fields = [("Accept-Ranges", "bytes")]
    fields += [("Content-Language", wire(", ".join(chosen.languages)))] if chosen.languages else []
    fields += [("Content-Encoding", wire(chosen.encoding))] if chosen.encoding else []
    fields += [("Content-Type", content_type)] if content_type else []
    response = Response(200, fields, chosen.body)
    response.body = joined(chosen.body, cut(request, response, len(chosen.body), is_here=True))
    return response


class _Negotiation:
    """One request for a page with variants."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder = request.filename.rpartition("/")[0] + "/"
        self.accepts: Accepts = accepted(request.head.values)
        self.variants: list[Variant] = []
        self.from_names = 0  # variants that MultiViews has found
        self.validator = ""  # tells these variants from others that the page had (part of its ETag)
        self.transparent = False

    # Which variants are there?

    def look(self) -> None:
        """Find the variants by their names. Raises HTTPError: 404 if there are files, but none that can be sent."""
        request = self.request
        start = request.filename.rpartition("/")[2]
        try:
            self.validator = f"{os.stat(self.folder).st_mtime_ns // 1000:x}"
            with os.scandir(self.folder) as scan:
                entries = islice(scan, MOST_NAMES)
                names = sorted(one.name for one in entries if one.name.startswith(f"{start}.") and not one.is_dir())
        except FileNotFoundError:
            return
        except OSError as error:
            reason = f"AH00686: cannot read directory for multi: {self.folder}: {error.strerror}"
            raise HTTPError(403, reason, module="negotiation") from None
        for name in names[:MOST_VARIANTS]:
            inner = self._usable(name, start)
            if inner is None:
                continue
            if MAP_TYPE in (inner.content_type, inner.handler) or inner.handler == HANDLER:
                self.variants.clear()
                self.from_names = 0
                self.read(inner)
                return
            self._add(name, inner)
        if names and not self.variants:
            found = f"discovered file(s) matching request: {request.filename} (None could be negotiated)."
            raise HTTPError(404, f"AH00687: Negotiation: {found}", module="negotiation", level=Level.ERROR)

    def find(self, name: str) -> Request:
        """A look at a file of the folder. Raises HTTPError if it cannot be sent to this client."""
        request = self.request
        uri = (request.uri.removesuffix(request.path_info) if request.path_info else request.uri).rpartition("/")[0]
        inner = subrequest(request, f"{uri}/{name}", request.query, filename=f"{self.folder}{name}")
        response = advance(inner, Phase.FIXUPS)
        if response is not None:
            let_go(response.body)
        if response is not None or inner.stat is None or not S_ISREG(inner.stat.st_mode):
            raise HTTPError(404, f"{inner.filename} is no file that can be sent as a variant", module="negotiation")
        return inner

    def _usable(self, name: str, start: str) -> Request | None:
        """The look at a file, if all of its name's parts are understood or asked for, and its type is known."""
        try:
            inner = self.find(name)
        except HTTPError:
            return None
        unknown = not_understood(name, inner.settings[EXTENSIONS], types_of(inner.settings))
        if unknown is None:
            return None
        for part in start.split("."):
            if unknown and part == unknown[0]:
                unknown.pop(0)
        return inner if not unknown and (inner.content_type or inner.handler) else None

    def _add(self, name: str, inner: Request) -> None:
        assert inner.stat is not None
        variant = Variant(name, languages=list(inner.languages), encoding=", ".join(inner.encodings), request=inner)
        variant.describe(inner.content_type or PROGRAM)
        variant.size = inner.stat.st_size
        self.variants.append(variant)
        self.from_names += 1

    def read(self, file: Request) -> None:
        """Read the variants from a map. Raises HTTPError."""
        try:
            descriptor = os.open(file.filename, OPEN)
        except OSError as error:
            status = 404 if isinstance(error, FileNotFoundError | NotADirectoryError) else 403
            why = f"AH00683: cannot access type map file: {file.filename}: {error.strerror}"
            raise HTTPError(status, why, module="negotiation", level=Level.ERROR) from None
        try:
            found = os.fstat(descriptor)
            if not S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
                raise HTTPError(403, f"{file.filename} is no map of at most {MOST_BYTES} bytes", module="negotiation")
            text = from_bytes(os.pread(descriptor, MOST_BYTES, 0))
        finally:
            os.close(descriptor)
        try:
            self.variants = typemap.parse(text, file.filename.rpartition("/")[2])[:MOST_VARIANTS]
        except typemap.MapError as error:
            raise HTTPError(500, f"{error} in {file.filename}", module="negotiation") from None
        self.validator = (entity_tag(file, found) or "").removeprefix("W/").strip('"')
        for variant in self.variants:
            variant.size = self._size(variant.file) if variant.size < 0 else variant.size

    def _size(self, name: str) -> int:
        try:
            return os.stat(f"{self.folder}{name}").st_size
        except (OSError, ValueError):
            return -1

    # Which one is sent?

    def choose(self, *, prefers_programs: bool) -> Variant:
        """The variant to send. Raises HTTPError: 300, 406 or 506, with a list of variants."""
        request, accepts = self.request, self.accepts
        self.transparent = request.method in ("GET", "HEAD") and not request.path_info
        self.transparent = self.transparent and not any(
            "/" in one.file or one.body is not None for one in self.variants
        )
        if self.transparent:
            negotiate(accepts, request.head.values)
        accepts.types = [Range("*/*")] if accepts.types is None else accepts.types
        program = 0.0 if accepts.remotely else 2.0 if prefers_programs else 0.001
        accepts.types = [*accepts.types, Range(PROGRAM, program)]
        forced = request.settings[FORCED]
        languages: tuple[str, ...] = request.settings[LANGUAGES]
        priority = Priority(languages, _PREFER in forced, _FALLBACK in forced)
        found, sure = best(self.variants, accepts, priority, request.env)
        if not sure and accepts.transparent and self.transparent:
            raise self._refusal(300, "")
        if found is None:
            raise self._refusal(406, f"AH00690: no acceptable variant: {request.filename}")
        if self.transparent:
            self._check(found)
            request.fields.append(("Content-Location", expression_functions.escape(found.file)))
        request.fields += self._fields("choice" if sure else "list", alternates=accepts.transparent or not sure)
        if not request.site.settings[CACHED] and not request.head.knows_chunks and self.from_names != 1:
            request.fields.append(("Expires", format_date(request.time)))  # HTTP/1.0 has no Vary
        request.vary += [name for name in self._vary() if name not in request.vary]
        return found

    def _check(self, found: Variant) -> None:
        """Refuse a variant that is negotiated itself. Raises HTTPError 506."""
        inner = found.request or self.find(found.file)
        if inner.handler in (HANDLER, MAP_TYPE):
            raise HTTPError(506, f"{self.request.filename}: {found.file} has variants itself", module="negotiation")
        found.request = inner

    def _refusal(self, status: int, reason: str) -> HTTPError:
        fields = self._fields("list", alternates=True)
        vary = self._vary()
        fields += [("Vary", ", ".join(vary))] if vary else []
        items = "".join(map(_listed, self.variants))
        note = f"Available variants:</p>\n<ul>\n{items}</ul>\n<p>"
        return HTTPError(status, reason, tuple(fields), module="negotiation", note=note, level=Level.ERROR)

    def _fields(self, result: str, *, alternates: bool) -> list[tuple[str, str]]:
        fields = []
        if alternates and self.variants:
            fields.append(("Alternates", ", ".join(map(_alternate, self.variants))))
        if self.transparent:
            fields.append(("TCN", result))
        return fields

    def _vary(self) -> list[str]:
        """The fields of the request that decide: those in which variants differ."""
        differ = {
            "accept": {one.type for one in self.variants},
            "accept-language": {",".join(one.languages) for one in self.variants},
            "accept-charset": {one.charset for one in self.variants},
            "accept-encoding": {one.encoding for one in self.variants},
        }
        return [*["negotiate"] * self.transparent, *(name for name, values in differ.items() if len(values) > 1)]


def _alternate(one: Variant) -> str:
    """A variant as Alternates has it (RFC 2295, 8.3)."""
    quality = f"{one.source_quality:.3f}".rstrip("0").rstrip(".")
    length = one.size if one.request is None or not one.request.handler else -1
    parts = (
        ("type", one.type),
        ("charset", one.charset),
        ("language", ",".join(one.languages)),
        ("encoding", one.encoding),
        ("length", str(length) if length >= 0 else ""),
    )
    said = "".join(f" {{{name} {wire(value)}}}" for name, value in parts if value)
    return f'{{"{expression_functions.escape(one.file)}" {quality}{said}}}'


def _listed(one: Variant) -> str:
    about = (
        ("type", one.type),
        ("language", ",".join(one.languages)),
        ("charset", one.charset),
        ("encoding", one.encoding),
    )
    said = "".join(f", {name} {escape(value)}" for name, value in about if value)
    name = expression_functions.escape(one.file)
    return f'<li><a href="{escape(name)}">{escape(one.file)}</a> {escape(one.description)}{said}</li>\n'


def name_encoding(request: Request) -> Response | None:
    """Name a file's encoding as the client does: gzip or x-gzip."""
    if len(request.encodings) != 1 or request.is_proxied:
        return None
    request.pure = False
    plain = request.encodings[0].removeprefix("x-")
    names = [one.name for one in parse_ranges(request.head.values.get("accept-encoding")) or ()]
    said = next((name for name in names if name == plain), next((one for one in names if one == f"x-{plain}"), ""))
    if said:
        request.encodings = [said]
    return None


# Before mod_mime, as it finds the file.
register(
    Module(
        name="mod_negotiation",
        identifier="negotiation_module",
        order=-1,
        fixup=multiviews,
        handlers=dict.fromkeys((HANDLER, MAP_TYPE), send_map),
    )
)
register(Module(name="mod_negotiation_encoding", identifier="negotiation_encoding_module", fixup=name_encoding))
