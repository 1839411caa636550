"""The `ownhost` command.

What went wrong is one sentence on standard error, and exit code 1; a command line that makes no sense is exit
code 2. Whatever a program might read is on standard output, as JSON with --json.
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
    click.option("-f", "file", metavar="FILE", help=f"The configuration file ({DEFAULT_FILE}), if not FILE."),
    click.option("-d", "server_root", metavar="SERVERROOT", help="ServerRoot, where the file does not say."),
    click.option("-D", "defines", metavar="NAME", multiple=True, help="Define NAME, for <IfDefine> and ${NAME}."),
    click.option("-C", "before", metavar='"directive"', multiple=True, help="A directive to obey before FILE."),
    click.option("-c", "after", metavar='"directive"', multiple=True, help="A directive to obey after FILE."),
)


def takes_configuration(command: Command) -> Command:
    """Give a command a FILE, which may also be named with -f, and Apache's -d, -D, -C and -c, as one `Options`."""

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
    """The configuration of a command that names none. Raises Failure where there is none."""
    if not os.path.lexists(DEFAULT_FILE):
        raise Failure(f"there is no {DEFAULT_FILE}; name a configuration file with -f FILE.")
    return DEFAULT_FILE


class Commands(click.Group):
    """`run`, and those of `questions.py`: these are imported where they are wanted, for a server to start sooner."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name not in self.commands:
            self._add_questions()
        return super().get_command(context, name)

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all."""
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
        # A configuration may hold bytes that are no text; a message that quotes one must still come out.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


STRICT = click.option(
    "--strict", is_flag=True, help="Count as an error what costs one virtual host alone; run does not start then."
)


@main.command()
@takes_configuration
@STRICT
def run(options: Options, strict: bool) -> None:
    """Serve, in the foreground. Ready means listening.

    TERM and INT stop, WINCH stops once the requests under way are answered. A virtual host with an error in it is
    answered with 500; with --strict, the server does not start.
    """
    try:
        forkserver = start_forkserver()  # at once: while it imports what it needs, so does this process
        from ownhost.processes.supervisor import supervisor

        code = supervisor.run(replace(options, strict=strict), forkserver)
    except OSError as error:
        fail(error)
    sys.exit(code)


class Failure(click.ClickException):
    """What went wrong, in one sentence; exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print it as `ownhost: sentence`."""
        click.echo(f"ownhost: {self.message}", file=file, err=True)


def fail(error: ConfigError | OSError) -> NoReturn:
    """End the command with what is wrong: a configuration's errors, one a line, or one sentence."""
    from ownhost.config.directive import ConfigError

    if isinstance(error, ConfigError):
        click.echo(error, err=True)
        sys.exit(1)
    about = f"{error.filename}: " if error.filename else ""
    raise Failure(f"{about}{error.strerror or error}.") from None


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    click.echo(json.dumps(value, indent=2, default=str))
