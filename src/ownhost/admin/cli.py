"""The `ownhost` command.

A failure is one sentence on standard error, and exit code 1. Wrong use of the command line is exit code 2.
Results that a program might read are on standard output, as JSON with --json.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ownhost import __version__
from ownhost.processes.options import Options
from ownhost.processes.supervisor.forking import start_forkserver

if TYPE_CHECKING:
    from ownhost.config.directive import ConfigError

Command = Callable[..., None]

DEFAULT_FILE = "/etc/ownhost/ownhost.conf"  # where scripts/install puts it

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


class Commands(click.Group):
    """`run`, and those of `questions.py`, which are imported only when needed, so that a server starts sooner."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name not in self.commands:
            self._add_questions()
        return super().get_command(context, name)

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        self._add_questions()
        return super().list_commands(context)

    def _add_questions(self) -> None:
        from ownhost.admin.questions import COMMANDS

        self.commands.update(COMMANDS)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 115})
@click.version_option(__version__, prog_name="ownhost", message="%(prog)s %(version)s")
def main() -> None:
    """A web server that reads Apache's configuration and serves every virtual host as its owner."""
    for stream in (sys.stdout, sys.stderr):
        # A configuration may contain bytes that are not text. A message that quotes one must still be printed.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


STRICT = click.option(
    "--strict", is_flag=True, help="Treat errors that cost one virtual host as errors of all: run does not start."
)


@main.command()
@takes_configuration
@STRICT
def run(options: Options, strict: bool) -> None:
    """Serve in the foreground.

    The server is ready when it listens. TERM and INT stop it. WINCH stops it after the active requests are
    answered. A virtual host with an error answers 500. With --strict, the server does not start then.
    """
    try:
        forkserver = start_forkserver()  # first: it imports its modules while this process imports its own
        from ownhost.processes.supervisor import supervisor

        code = supervisor.run(replace(options, strict=strict), forkserver)
    except OSError as error:
        fail(error)
    sys.exit(code)


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
