"""AddDefaultCharset: the character set of texts that name none, whichever handler made them. It is applied last.

Source: ap_make_content_type of Apache 2.4, which looks for "text/plain", "text/html" and "charset="
anywhere in a type.
"""

from __future__ import annotations

from ownhost.config.arguments import single
from ownhost.config.directive import ANYWHERE, Call, Directive, Override, Setting, Settings, declare
from ownhost.http.message import Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request

DEFAULT_CHARSET = Setting("AddDefaultCharset", "")
_TEXTS = ("text/plain", "text/html")


def parse_default_charset(call: Call) -> str:
    """On, Off or a character set."""
    word = single(call)
    return {"on": "iso-8859-1", "off": ""}.get(word.lower(), word)


declare(
    Directive(
        "AddDefaultCharset",
        "core",
        "On|Off|charset",
        ANYWHERE,
        (
            "The character set of text/plain and text/html responses without one, from files, "
            "programs and other servers."
        ),
        parse_default_charset,
        setting=DEFAULT_CHARSET,
        default="Off",
        override=Override.FILE_INFO,
    )
)


def with_default_charset(content_type: str, settings: Settings) -> str:
    """A media type as it is sent."""
    charset = settings[DEFAULT_CHARSET]
    if not charset:
        return content_type
    lowered = content_type.lower()
    if "charset=" in lowered or not any(text in lowered for text in _TEXTS):
        return content_type
    return f"{content_type}; charset={charset}"


def finish(request: Request, response: Response) -> None:
    """Add the character set, except to a program's own whole head (nph-)."""
    if response.as_sent:
        return
    settings = request.settings or request.site.settings
    for place, (name, value) in enumerate(response.headers):
        if name.lower() == "content-type":
            said = with_default_charset(value, settings)
            if said != value:
                response.headers[place] = (name, said)


# Last: before this, the type that mod_headers sees has no character set.
register(
    Module(
        name="core_charset",
        identifier="core_charset_module",
        order=99,
        uses=lambda server: server.says(DEFAULT_CHARSET),
        finish=finish,
        obeys=frozenset({"core"}),
    )
)
