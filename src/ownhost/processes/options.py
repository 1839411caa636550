"""The command line's options about the configuration, and reading it: shared by `run`, `check` and `vhosts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownhost.config.model import Config


@dataclass(frozen=True, slots=True)
class Options:
    """Apache's own options: -f, -d, -D, -C and -c.

    `before` and `after` are directives processed before and after the configuration file's.
    `server_root` None leaves it to ServerRoot in the file. `strict`: an error within a virtual host
    is an error of the configuration. Picklable, so that a reload can read the same configuration
    again.
    """

    file: str
    server_root: str | None = None
    defines: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    strict: bool = False


def read_config(options: Options, *, passes_over: bool = False) -> Config:
    """The configuration that the options name, checked. Raises `ConfigError` with every problem found.

    An error within a virtual host is that virtual host's fault, and little is left of it then
    (`faulty`). `passes_over`: included files that this process may not read are noted and skipped.
    """
    from ownhost import modules  # here: a server that starts has something to do first
    from ownhost.config import reader

    modules.load()
    from ownhost.processes import faulty

    config = reader.read(
        options.file,
        server_root=options.server_root,
        defines=options.defines,
        before=options.before,
        after=options.after,
        strict=options.strict,
        passes_over=passes_over,
    )
    return faulty.reduce(config)
