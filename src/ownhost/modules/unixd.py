"""mod_unixd: the identity of requests without an AssignUserID."""

from __future__ import annotations

from ownhost.config.arguments import ignored, one_word
from ownhost.config.directive import SERVER_ONLY, Answer, Directive, Setting, declare

# Apache's own defaults name no user: a server that is to serve must name one.
USER = Setting("User", "#-1")
GROUP = Setting("Group", "#-1")

declare(
    Directive(
        "User",
        "mod_unixd",
        "name|#number",
        SERVER_ONLY,
        "The user that serves requests without an AssignUserID.",
        one_word(),
        setting=USER,
        default="#-1",
    )
)
declare(
    Directive(
        "Group",
        "mod_unixd",
        "name|#number",
        SERVER_ONLY,
        "The group that serves requests without an AssignUserID.",
        one_word(),
        setting=GROUP,
        default="#-1",
    )
)
declare(
    Directive(
        "Suexec",
        "mod_unixd",
        "On|Off",
        SERVER_ONLY,
        "Not needed: programs run as the identity of their request anyway.",
        ignored(),
        answer=Answer.NO_EFFECT,
    )
)
