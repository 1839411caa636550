"""mod_so. `config.tree` obeys LoadModule while it reads the configuration."""

from __future__ import annotations

from ownhost.config.arguments import words
from ownhost.config.directive import SERVER_ONLY, Answer, Directive, declare

declare(
    Directive(
        "LoadFile",
        "mod_so",
        "file...",
        SERVER_ONLY,
        "Loads nothing: no module here needs a library of its own.",
        words(1),
        answer=Answer.NO_EFFECT,
    )
)
