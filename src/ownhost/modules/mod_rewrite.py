"""mod_rewrite: URLs by rules, for a whole server and per folder.

The rules of a server see the path before anything is known about files. Those of a section see the
file's name, and lead to an internal redirect. `rewriting.engine` applies them; this file says when
they run and what happens to the result.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Iterator

from ownhost.config.directive import ANYWHERE, SERVERS, Directive, Override, Settings, Where, declare
from ownhost.config.model import Section, VirtualHost
from ownhost.config.overrides import may_override
from ownhost.http.message import HTTPError, Response
from ownhost.http.wire import unwire, wire
from ownhost.modules.mod_proxy import forward
from ownhost.modules.rewriting import config, urls
from ownhost.modules.rewriting.conditions import CONDITION_FLAGS, TESTS
from ownhost.modules.rewriting.config import OPTIONS as REWRITE_OPTIONS
from ownhost.modules.rewriting.config import REWRITE, Option, RewriteConfig
from ownhost.modules.rewriting.engine import END, HANDLER, TYPE, Engine
from ownhost.modules.rewriting.flags import FLAGS, RuleFlag
from ownhost.modules.rewriting.maps import FUNCTIONS
from ownhost.modules.rewriting.rules import Rule
from ownhost.request import errors
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.links import OPTIONS
from ownhost.request.links import Option as Follow
from ownhost.request.module import Module, register
from ownhost.request.redirects import answer_as, redirected
from ownhost.request.request import Level, Request

REDIRECT = "redirect-handler"  # the handler that answers with another URI of this server
TARGET = "rewrite-target"  # the note with that URI

for _directive in (
    Directive(
        "RewriteEngine",
        "mod_rewrite",
        "On|Off",
        ANYWHERE,
        "Whether rules are applied.",
        config.parse_engine,
        setting=REWRITE,
        fold=config.fold,
        default="Off",
        override=Override.FILE_INFO,
    ),
    Directive(
        "RewriteOptions",
        "mod_rewrite",
        "option...",
        ANYWHERE,
        "Whose rules are inherited, and exceptions from how rules work.",
        config.parse_options,
        setting=REWRITE,
        fold=config.fold,
        override=Override.FILE_INFO,
        words=(REWRITE_OPTIONS,),
    ),
    Directive(
        "RewriteRule",
        "mod_rewrite",
        "pattern substitution [flags]",
        ANYWHERE,
        "What becomes of paths that match a regular expression.",
        config.parse_rules,
        setting=REWRITE,
        fold=config.fold,
        override=Override.FILE_INFO,
        differs="A pattern that takes too long is a 500, and a path that climbs above its root a 403.",
        words=(FLAGS,),
    ),
    Directive(
        "RewriteCond",
        "mod_rewrite",
        "test-string pattern [flags]",
        ANYWHERE,
        "What must hold for the next RewriteRule to be applied: a regular expression or a test, with ! the contrary.",
        config.parse_conditions,
        setting=REWRITE,
        fold=config.fold,
        override=Override.FILE_INFO,
        words=(TESTS, CONDITION_FLAGS),
    ),
    Directive(
        "RewriteBase",
        "mod_rewrite",
        "path",
        Where.DIRECTORY | Where.HTACCESS,
        "The path by which a folder is reached, for relative substitutions.",
        config.parse_base,
        setting=REWRITE,
        fold=config.fold,
        override=Override.FILE_INFO,
    ),
    Directive(
        "RewriteMap",
        "mod_rewrite",
        "name txt:file|rnd:file|int:function|prg:command [user:group]",
        SERVERS,
        "A table that rules can look something up in, by ${name:key|default}.",
        config.parse_maps,
        setting=REWRITE,
        fold=config.fold,
        words=(FUNCTIONS,),
        differs="dbm:, dbd: and fastdbd: are errors.",
    ),
):
    declare(_directive)


def uses(server: VirtualHost) -> bool:
    """Whether rewriting is configured, for the server or in a section."""
    return REWRITE in server.settings or any(map(_speaks, server.sections))


def _speaks(section: Section) -> bool:
    return REWRITE in section.settings or any(map(_speaks, section.sections))


def programs(server: VirtualHost) -> set[tuple[str, ...]]:
    """The programs of maps in a server's rules, or those of its sections; of all that .htaccess files may name."""
    maps = [one for one in server.settings[REWRITE].maps.values() if one.command]
    if not maps:
        return set()
    if may_override(server, "RewriteRule"):
        return {one.command for one in maps}
    texts = [template.text for rule in _rules(server.settings, server.sections) for template in rule.templates()]
    return {one.command for one in maps if any(f"${{{one.name}:" in text for text in texts)}


def _rules(settings: Settings, sections: Iterable[Section]) -> Iterator[Rule]:
    yield from settings[REWRITE].rules
    for section in sections:
        yield from _rules(section.settings, section.sections)


# The rules of a server


def translate(request: Request) -> Response | None:
    """Apply the server's rules to the path. Raises HTTPError."""
    said = request.site.settings[REWRITE]
    if said.silent or not request.settings[REWRITE].engine:  # a Location may override the server
        return None
    engine = Engine(request, said.rules, said.maps, None)
    if _has_ended(request):
        engine.trace(8, "Declining, no further rewriting due to END flag")
        return None
    _set_script_variables(request)
    request.filename = request.uri
    engine.trace(2, "init rewrite engine with requested uri %s", request.uri)
    engine.run()
    if not engine.changed:
        engine.trace(1, "pass through %s", request.filename)
        request.filename = ""
        return None
    return _translated(request, engine, said)


def _has_ended(request: Request) -> bool:
    """Whether a rule with [END] was applied, here or before an internal redirect led here."""
    step: Request | None = request
    while step is not None:
        if END in step.notes:
            return True
        step = None if step.is_subrequest else step.previous
    return False


def _set_script_variables(request: Request) -> None:
    """SCRIPT_URL and SCRIPT_URI: the request's target, before any rule.

    They do not prevent that a response is remembered: only logs would show that it was for another
    name of the host.
    """
    env = request.env
    if not request.is_subrequest or "SCRIPT_URL" not in env:
        env["SCRIPT_URL"] = env.get("REDIRECT_SCRIPT_URL", request.uri)
    env["SCRIPT_URI"] = errors.base_url(request) + env["SCRIPT_URL"]


def _translated(request: Request, engine: Engine, said: RewriteConfig) -> Response | None:
    """Handle the path that results from the server's rules."""
    if engine.proxies or not urls.scheme_of(request.filename):
        _check_query(request)
    if engine.proxies:
        _forward(request, engine, request.filename, engine.last is not None and RuleFlag.NO_ESCAPE in engine.last)
        return None
    if urls.scheme_of(request.filename):
        location, request.filename = request.filename, ""
        return _redirect(request, engine, location)
    if engine.passes_through:
        request.uri, request.filename = _resolved(request.filename), ""
        return None
    request.filename = _expand_home(request)
    engine.trace(2, "local path result: %s", request.filename)
    name = _resolved(request.filename, clamp=True)
    prefixes = engine.reduced and not said.has(Option.LEGACY_PREFIX_DOC_ROOT)
    if prefixes or not _is_file_name(request, name, engine.last):
        name = request.site.settings[DOCUMENT_ROOT].rstrip("/") + _resolved(request.filename)
        engine.trace(2, "prefixed with document_root to %s", name)
    request.filename = name
    engine.trace(1, "go-ahead with %s [OK]", request.filename)
    return None


def _resolved(path: str, *, clamp: bool = False) -> str:
    """A path without dots. Raises HTTPError 403 for one that climbs above the root, unless it must stop there."""
    resolved = urls.resolve_dots(path, clamp=clamp)
    if resolved is None or "\0" in resolved:
        raise HTTPError(403, f"a rule came to {path!r}, which is above the root or no file name", module="rewrite")
    return resolved


def _expand_home(request: Request) -> str:
    """A path /~user is in the user's home."""
    name = request.filename
    if not name.startswith("/~") or name.startswith("/~/") or name == "/~":
        return name
    user, slash, rest = name[2:].partition("/")
    try:
        home = pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
        return name
    return f"{home.removesuffix('/') if slash else home}{slash}{rest}"


def _is_file_name(request: Request, name: str, rule: Rule | None) -> bool:
    """Whether a path is a file name already, and not one below DocumentRoot. Its first component decides.

    It must be in the root directory, and literally in the rule, so that a client cannot choose it;
    but any path below DocumentRoot counts.
    """
    root = request.site.settings[DOCUMENT_ROOT].rstrip("/")
    if root and f"{name}/".startswith(f"{root}/"):
        return True
    component, written = urls.first_component(name), urls.first_component(rule.written) if rule else ""
    if rule is None or not (RuleFlag.UNSAFE_PREFIX_STAT in rule or component in (written, written and "/")):
        return False
    if component == written and rule.in_root is not None:
        return rule.in_root
    return urls.is_in_root(component)


# The rules of a section


def fixup(request: Request) -> Response | None:
    """Apply the rules of sections to the file name, and [T] and [H] to the result. Raises HTTPError."""
    if request.is_proxied:
        return None
    said = request.settings[REWRITE]
    response = None
    if said.engine and said.directory is not None and not _lacks_slash(request, said, said.directory):
        response = _rewrite_file(request, said, said.directory)
    if response is None and request.handler != REDIRECT:
        _force(request)
    return response


def _lacks_slash(request: Request, said: RewriteConfig, directory: str) -> bool:
    """Whether the folder itself was requested without a slash: mod_dir redirects that first."""
    return not said.has(Option.ALLOW_NO_SLASH) and f"{request.filename}/" == directory


def _rewrite_file(request: Request, said: RewriteConfig, directory: str) -> Response | None:
    engine = Engine(request, said.rules, request.site.settings[REWRITE].maps, directory, said.base or "")
    if _has_ended(request):
        engine.trace(8, "Declining, no further rewriting due to END flag")
        return None
    options = request.settings[OPTIONS]
    if Follow.FOLLOW_SYMLINKS not in options and Follow.SYMLINKS_IF_OWNER_MATCH not in options:
        raise HTTPError(
            403,
            "Options FollowSymLinks and SymLinksIfOwnerMatch are both off, so the RewriteRule directive is also "
            f"forbidden due to its similar ability to circumvent directory restrictions: {request.filename}",
            module="rewrite",
        )
    before = request.filename
    engine.run()
    result, request.filename = request.filename, before
    if not engine.changed:
        engine.trace(1, "pass through %s", before)
        return None
    if engine.proxies:
        _check_query(request)
        _forward(request, engine, result, True)
        return None
    if urls.scheme_of(result):
        return _redirect(request, engine, _with_base(result, directory, said.base))
    engine.trace(2, "local path result: %s", result, here=False)
    if not result.startswith("/"):
        why = f"AH00126: Invalid URI in request '{request.head.request_line}' '{result}'"
        raise HTTPError(400, why, level=Level.ERROR)
    _check_query(request)
    if result == before:
        engine.trace(1, "initial URL equal rewritten URL: %s [IGNORING REWRITE]", before)
        return None
    _go_on(request, engine, _path_of(request, engine, said, result))
    return None


def _forward(request: Request, engine: Engine, url: str, is_encoded: bool) -> None:
    """[P]: leave the response to another server. Rules of sections have encoded the URL, unless [NE] is set."""
    forward(request, url, is_encoded=is_encoded)
    query = f"?{request.query}" if request.query else ""
    engine.trace(1, "go-ahead with proxy request %s%s [OK]", request.filename, query)


def _with_base(url: str, directory: str, base: str | None) -> str:
    """A URL whose path begins with the folder's name, with the folder's URL path instead."""
    if base is None:
        return url
    scheme = urls.scheme_of(url)
    host, slash, path = url[len(scheme) :].partition("/")
    return f"{scheme}{host}{urls.replace_prefix(slash + path, directory, base)}"


def _go_on(request: Request, engine: Engine, target: str) -> None:
    """Leave the response to another URI of this server: the handler asks for it, after all fixups."""
    engine.trace(1, "internal redirect with %s [INTERNAL REDIRECT]", target)
    request.pure = False
    request.notes[TARGET] = target
    request.handler = REDIRECT


def _path_of(request: Request, engine: Engine, said: RewriteConfig, name: str) -> str:
    """The path that leads to a file name: by RewriteBase, DocumentRoot, or the Alias of the request."""
    root = request.document_root or request.site.settings[DOCUMENT_ROOT]
    if said.base is not None:
        engine.trace(2, "trying to replace prefix %s with %s", engine.directory, said.base)
        path = urls.replace_prefix(name, engine.directory or "", said.base)
    else:
        path = urls.replace_prefix(name, root, "/")
    if path == name and request.context_prefix and not said.has(Option.IGNORE_CONTEXT_INFO):
        path = urls.replace_prefix(name, request.context_document_root or root, request.context_prefix)
    return path


def redirect(request: Request) -> Response:
    """The handler that goes on with another URI of this server. Raises HTTPError."""
    target = wire(request.notes[TARGET])
    if request.query is not None:
        target += f"?{request.query}"
    path, mark, query = target.partition("?")
    inner = redirected(request, request.site.clean(path), query if mark else None)
    inner.env["REDIRECT_STATUS"] = "200"
    inner.env["REDIRECT_URL"] = request.uri
    if request.query is not None:
        inner.env["REDIRECT_QUERY_STRING"] = request.query
    inner.vary = request.vary
    if END in request.notes:
        inner.notes[END] = request.notes[END]
    return answer_as(request, inner)


def _force(request: Request) -> None:
    """Type and handler as [T] and [H] want them."""
    if TYPE in request.notes:
        request.content_type = request.notes[TYPE]
    request.handler = request.notes.get(HANDLER, request.handler)


# Both


def _redirect(request: Request, engine: Engine, location: str) -> Response:
    """Send the client to another URL. Raises HTTPError."""
    query = request.query
    if engine.escape:
        engine.trace(1, "escaping %s for redirect", location)
        location = urls.escape_url(location)
    if query is not None:
        if not engine.escape:
            _check_query(request)
        elif query != engine.asked_query:
            query = urls.escape_path(unwire(query))
        location += f"?{query}"
    location = wire(location)
    if not urls.is_fit_for_head(location):
        raise HTTPError(500, f"rules came to a redirect to {location!r}, which no header field can hold", (), "rewrite")
    engine.trace(1, "redirect to %s [REDIRECT/%d]", location, engine.status)
    return errors.redirect(request, engine.status, location)


def _check_query(request: Request) -> None:
    """Refuse a query with spaces or control characters from rules. Raises HTTPError 403."""
    if request.query and not urls.is_fit_for_query(request.query):
        raise HTTPError(403, "the rewritten query has control characters or spaces in it", module="rewrite")


# Before mod_env and mod_alias, as in Apache; after mod_mime, whose types [T] and [H] replace.
register(
    Module(
        name="mod_rewrite",
        identifier="rewrite_module",
        order=5,
        uses=uses,
        translate=translate,
        located=(REWRITE,),
        fixup=fixup,
        programs=programs,
        handlers={REDIRECT: redirect},
    )
)
