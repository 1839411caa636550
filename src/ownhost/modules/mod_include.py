"""mod_include: server-side includes, which are not made here. A file that they would be made of is refused.

What stands in such a file is meant for the server: commands, names of files, conditions. So it is not sent as it is.
"""

from __future__ import annotations

import stat

from ownhost.config.arguments import ignored, keyword
from ownhost.config.directive import ANYWHERE, SERVERS, Answer, Directive, Override, Setting, Settings, Where, declare
from ownhost.config.model import Section, VirtualHost
from ownhost.http.message import HTTPError, Response
from ownhost.modules import output_filters
from ownhost.request.links import OPTIONS, Option
from ownhost.request.module import Module, register
from ownhost.request.request import Request

EXTENSION = "shtml"  # what such files are called, whether or not a filter is named for them

X_BIT_HACK = Setting("XBitHack", "Off")

declare(
    Directive(
        name="XBitHack",
        module="mod_include",
        syntax="On|Off|Full",
        where=ANYWHERE,
        override=Override.OPTIONS,
        default="Off",
        help=("Whether HTML files that their owner may execute have server-side includes. If so, they are refused."),
        parse=keyword("On", "Off", "Full"),
        setting=X_BIT_HACK,
        answer=Answer.NO_EFFECT,
    )
)
_FOLDERS = Where.DIRECTORY | Where.HTACCESS
for _name, _where, _override in (
    ("SSIEndTag", SERVERS, Override.NONE),
    ("SSIStartTag", SERVERS, Override.NONE),
    ("SSIUndefinedEcho", ANYWHERE, Override.ALL),
    ("SSIErrorMsg", ANYWHERE, Override.ALL),
    ("SSITimeFormat", ANYWHERE, Override.ALL),
    ("SSIEtag", _FOLDERS, Override.LIMIT),
    ("SSILastModified", _FOLDERS, Override.LIMIT),
    ("SSILegacyExprParser", _FOLDERS, Override.LIMIT),
):
    declare(
        Directive(
            name=_name,
            module="mod_include",
            syntax="value",
            where=_where,
            override=_override,
            help="How server-side includes work. Files that have them are refused.",
            parse=ignored(),
            answer=Answer.NO_EFFECT,
        )
    )


def uses(server: VirtualHost) -> bool:
    """Whether Options allow server-side includes in any file."""
    return _lets(server.settings) or any(map(_section_lets, server.sections))


def _section_lets(section: Section) -> bool:
    return _lets(section.settings) or any(map(_section_lets, section.sections))


def _lets(settings: Settings) -> bool:
    options = settings[OPTIONS]
    return Option.INCLUDES in options or bool(options.added & Option.INCLUDES)


def fixup(request: Request) -> Response | None:
    """Refuse a file that Options allow to have includes, if it would be parsed for them. Raises HTTPError 403."""
    settings = request.settings
    if request.stat is None or request.is_folder or request.is_proxied or Option.INCLUDES not in settings[OPTIONS]:
        return None
    if _asks(request):
        why = f"{request.filename}: includes are not made here, and a file with includes in it is not sent as it is"
        raise HTTPError(403, why, module="include")
    return None


def _asks(request: Request) -> bool:
    settings = request.settings
    name = request.filename.rpartition("/")[2]
    media_type = request.content_type.partition(";")[0].rstrip().lower()
    asked = output_filters.names_of(settings, name, request.content_type)
    if "INCLUDES" in asked or EXTENSION in name.lower().split(".")[1:]:
        return True
    executable = request.stat is not None and bool(request.stat.st_mode & stat.S_IXUSR)
    return settings[X_BIT_HACK] != "Off" and executable and media_type == "text/html"


CORE = frozenset({"core"})  # Options says whether there are includes

# Late: types and handlers are known.
register(Module(name="mod_include", identifier="include_module", order=97, uses=uses, fixup=fixup, obeys=CORE))
