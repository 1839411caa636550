"""The `ownhost` command.

A failure is one sentence on standard error, and exit code 1. Wrong use of the command line is exit code 2.
Results that a program might read are on standard output, as JSON with --json.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import click

from ownhost import __version__
from ownhost.admin.command_line import STRICT, fail, takes_configuration
from ownhost.processes.options import Options
from ownhost.processes.supervisor.forking import start_forkserver


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
