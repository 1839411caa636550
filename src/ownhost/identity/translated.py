"""The directives of mod_ruid2 and suEXEC for the identity: their forms of AssignUserID.

With both, several identities may serve a virtual host: suEXEC's only its programs, mod_ruid2's the
owner of each file. Here it is one, for files and programs, and never one that the configuration
does not name.
"""

from __future__ import annotations

import dataclasses

from ownhost.config.arguments import ignored, single
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Where,
    declare,
)
from ownhost.identity.assignment import ASSIGN_USER_ID, parse_assignment, preferred
from ownhost.identity.identity import Assignment


def parse_translated(call: Call) -> Assignment:
    """A user and a group, each a name or "#number"."""
    return dataclasses.replace(parse_assignment(call), translated=True)


def parse_mode(call: Call) -> None:
    """config. With stat, the owner of a file would serve it. Ownhost does not choose a user that way."""
    if single(call).lower() != "config":
        raise ArgumentError(f"expected config, not {call.args[0]!r}: AssignUserID says who serves a virtual host")


def _declare_user(name: str, module: str, where: Where) -> None:
    declare(
        Directive(
            name=name,
            module=module,
            syntax="user group",
            where=where,
            help=f"{module}'s form of AssignUserID. It has the same effect, unless AssignUserID is there, too.",
            parse=parse_translated,
            setting=ASSIGN_USER_ID,
            fold=preferred,
            note=f"{name} is understood as AssignUserID",
        )
    )


_declare_user("SuexecUserGroup", "mod_suexec", SERVERS)
_declare_user("RUidGid", "mod_ruid2", SECTIONS)
declare(
    Directive(
        name="RMode",
        module="mod_ruid2",
        syntax="config",
        where=SECTIONS,
        default="config",
        help="Who serves: the user of RUidGid. The file's owner (stat) is not supported.",
        parse=parse_mode,
        note="understood: RUidGid says who serves",
    )
)
declare(
    Directive(
        name="RDocumentChRoot",
        module="mod_ruid2",
        syntax="folder [folder]",
        where=SERVERS,
        help="A folder that becomes the root of the file system for a virtual host.",
        parse=ignored(),
        answer=Answer.UNSUPPORTED,
    )
)
for _name, _syntax, _where, _note in (
    ("RGroups", "group...|@none", SECTIONS, "supplementary groups are those of the account"),
    ("RMinUidGid", "user group", SERVERS, "LimitUIDRange and LimitGIDRange refuse ids that are too low"),
    ("RDefaultUidGid", "user group", SERVERS, "a refused identity is not replaced by another"),
    ("RCoredump", "On|Off", SERVERS, "workers are undumpable"),
):
    declare(
        Directive(
            name=_name,
            module="mod_ruid2",
            syntax=_syntax,
            where=_where,
            help=f"No effect: {_note}.",
            parse=ignored(),
            answer=Answer.NO_EFFECT,
            note=f"has no effect: {_note}",
        )
    )
