"""mod_cgi: the log of failing programs. `apps.cgi` runs them."""

from __future__ import annotations

from ownhost.config.arguments import integer, path
from ownhost.config.directive import SERVERS, Directive, Setting, declare

SCRIPT_LOG = Setting("ScriptLog", "")  # "": none
SCRIPT_LOG_LENGTH = Setting("ScriptLogLength", 10_385_760)
SCRIPT_LOG_BUFFER = Setting("ScriptLogBuffer", 1_024)

declare(
    Directive(
        name="ScriptLog",
        module="mod_cgi",
        syntax="file",
        where=SERVERS,
        help=("A file for what a failing program was told and what it said. The owner of the virtual host writes it."),
        parse=path(),
        setting=SCRIPT_LOG,
        differs="The owner writes it, not the server.",
    )
)
for _name, _setting, _help in (
    ("ScriptLogLength", SCRIPT_LOG_LENGTH, "The size in bytes at which nothing more is written to the ScriptLog."),
    ("ScriptLogBuffer", SCRIPT_LOG_BUFFER, "How many bytes of a request's body the ScriptLog gets."),
):
    declare(
        Directive(
            name=_name,
            module="mod_cgi",
            syntax="bytes",
            where=SERVERS,
            help=_help,
            parse=integer(0),
            setting=_setting,
            default=str(_setting.default),
        )
    )
