"""The common parts of `ownhost` commands: reading a configuration, ending, printing."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ownhost.processes.options import Options

if TYPE_CHECKING:
    from ownhost.config.directive import ConfigError

Command = Callable[..., None]

DEFAULT_FILE = "/etc/ownhost/ownhost.conf"  # where scripts/install puts it

STRICT = click.option(
    "--strict", is_flag=True, help="Treat errors that cost one virtual host as errors of all: run does not start."
)

_CONFIGURATION = (
    click.argument("named", metavar="[FILE]", required=False),
    click.option("-f", "file", metavar="FILE", help=f"The configuration file. Default: {DEFAULT_FILE}."),
    click.option("-d", "server_root", metavar="SERVERROOT", help="The ServerRoot, if the file does not set one."),
    click.option("-D", "defines", metavar="NAME", multiple=True, help="Define NAME, for <IfDefine> and ${NAME}."),
    click.option("-C", "before", metavar='"directive"', multiple=True, help="A directive to read before FILE."),
    click.option("-c", "after", metavar='"directive"', multiple=True, help="A directive to read after FILE."),
)


def takes_configuration(command: Command) -> Command:
    """Give a command the argument FILE and the options -f, -d, -D, -C and -c, as in Apache, as one `Options`."""

    @functools.wraps(command)
    def with_options(
        named: str | None,
        file: str | None,
        server_root: str | None,
        defines: tuple[str, ...],
        before: tuple[str, ...],
        after: tuple[str, ...],
        **others: Any,
    ) -> None:
        if named is not None and file is not None:
            raise click.UsageError(f"two configuration files are named: {named}, and {file} with -f; name one of them.")
        command(Options(named or file or default_file(), server_root, defines, before, after), **others)

    for option in reversed(_CONFIGURATION):
        with_options = option(with_options)
    return with_options


def default_file() -> str:
    """The configuration of a command that names none. Raises Failure if it does not exist."""
    if not os.path.lexists(DEFAULT_FILE):
        raise Failure(f"there is no {DEFAULT_FILE}; name a configuration file with -f FILE.")
    return DEFAULT_FILE


class Failure(click.ClickException):
    """A failure, as one sentence; exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print it as `ownhost: sentence`."""
        click.echo(f"ownhost: {self.message}", file=file, err=True)


def fail(error: ConfigError | OSError) -> NoReturn:
    """End the command with a configuration's errors, one on each line, or with one sentence."""
    from ownhost.config.directive import ConfigError

    if isinstance(error, ConfigError):
        click.echo(error, err=True)
        sys.exit(1)
    about = f"{error.filename}: " if error.filename else ""
    raise Failure(f"{about}{error.strerror or error}.") from None


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    click.echo(json.dumps(value, indent=2, default=str))
