"""What the command line says about the configuration, and reading it: shared by `run`, `check` and `vhosts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownhost.config.model import Config


@dataclass(frozen=True, slots=True)
class Options:
    """Apache's own options: -f, -d, -D, -C and -c.

    `before` and `after` are directives processed before and after the configuration file's. `server_root` None
    leaves it to ServerRoot in the file. Picklable, so that a reload can read the same configuration again.
    """

    file: str
    server_root: str | None = None
    defines: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def read_config(options: Options) -> Config:
    """The configuration that the options name, checked. Raises `ConfigError` with every problem found."""
    from ownhost import modules  # here: a server that starts has something to do first
    from ownhost.config import reader

    modules.load()
    return reader.read(
        options.file,
        server_root=options.server_root,
        defines=options.defines,
        before=options.before,
        after=options.after,
    )
