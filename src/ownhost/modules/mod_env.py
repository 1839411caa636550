"""mod_env: the environment of requests."""

from __future__ import annotations

import os

from ownhost.config.arguments import words
from ownhost.config.directive import ANYWHERE, Call, Directive, Override, Setting, declare
from ownhost.http.message import Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request

Changes = dict[str, str | None]  # None removes the variable from the scopes around


def parse_set(call: Call) -> Changes:
    """A name and a value, which is "" where there is none."""
    name, *value = words(1, 2)(call)
    return {name: value[0] if value else ""}


def parse_pass(call: Call) -> Changes:
    """Names of variables of the server's own environment: read once, with the configuration."""
    names = words(1)(call)
    call.notes.extend(f"PassEnv: there is no variable {name} to pass on" for name in names if name not in os.environ)
    return {name: os.environ[name] for name in names if name in os.environ}


def parse_unset(call: Call) -> Changes:
    """Names of variables to take away."""
    return dict.fromkeys(words(1)(call))


def _both(before: Changes | None, after: Changes) -> Changes:
    return {**(before or {}), **after}


ENVIRONMENT: Setting[Changes] = Setting("SetEnv", {}, _both)

for _name, _syntax, _help, _parse in (
    ("SetEnv", "name [value]", "Sets a variable for programs and logs.", parse_set),
    ("PassEnv", "name...", "Passes on variables from the environment in which the server was started.", parse_pass),
    ("UnsetEnv", "name...", "Removes variables that were set or passed on.", parse_unset),
):
    declare(
        Directive(
            name=_name,
            module="mod_env",
            syntax=_syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_parse,
            setting=ENVIRONMENT,
            fold=_both,
        )
    )


def fixup(request: Request) -> Response | None:
    """Put the variables into the request's environment. As in Apache, existing variables stay unchanged."""
    for name, value in request.settings[ENVIRONMENT].items():
        if value is not None:
            request.env.setdefault(name, value)
    return None


register(
    Module(
        name="mod_env",
        identifier="env_module",
        order=10,
        uses=lambda server: server.says(ENVIRONMENT),
        fixup=fixup,
    )
)
