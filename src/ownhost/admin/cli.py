"""The `ownhost` command.

What went wrong is one sentence on standard error, and exit code 1; a command line that makes no sense is exit
code 2. Whatever a program might read is on standard output, as JSON with --json.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import click

from ownhost import __version__, modules
from ownhost.admin import listing, reference
from ownhost.admin.table import print_table
from ownhost.config.directive import REGISTRY, ConfigError, Problem
from ownhost.processes.options import Options, read_config
from ownhost.processes.supervisor import keys

Command = Callable[..., None]

_CONFIGURATION = (
    click.option("-f", "file", metavar="FILE", required=True, help="The configuration file."),
    click.option("-d", "server_root", metavar="SERVERROOT", help="ServerRoot, where the file does not say."),
    click.option("-D", "defines", metavar="NAME", multiple=True, help="Define NAME, for <IfDefine> and ${NAME}."),
    click.option("-C", "before", metavar='"directive"', multiple=True, help="A directive to obey before FILE."),
    click.option("-c", "after", metavar='"directive"', multiple=True, help="A directive to obey after FILE."),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def takes_configuration(command: Command) -> Command:
    """Give a command Apache's -f, -d, -D, -C and -c, as one `Options`."""

    @functools.wraps(command)
    def with_options(
        file: str,
        server_root: str | None,
        defines: tuple[str, ...],
        before: tuple[str, ...],
        after: tuple[str, ...],
        **others: Any,
    ) -> None:
        command(Options(file, server_root, defines, before, after), **others)

    for option in reversed(_CONFIGURATION):
        with_options = option(with_options)
    return with_options


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 115})
@click.version_option(__version__, prog_name="ownhost", message="%(prog)s %(version)s")
def main() -> None:
    """A web server that reads Apache's configuration and serves every virtual host as its owner."""
    for stream in (sys.stdout, sys.stderr):
        # A configuration may hold bytes that are no text; a message that quotes one must still come out.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command()
@takes_configuration
def run(options: Options) -> None:
    """Serve, in the foreground. Ready means listening.

    TERM and INT stop, WINCH stops once the requests under way are answered.
    """
    from ownhost.processes.supervisor import supervisor  # here: a quick `check` needs no server

    try:
        code = supervisor.run(options)
    except (ConfigError, OSError) as error:
        fail(error)
    sys.exit(code)


@main.command()
@takes_configuration
@_JSON
def check(options: Options, as_json: bool) -> None:
    """Read the configuration and say every error in it as FILE:LINE: what is wrong, what was expected.

    Certificates and keys are read, too: they must fit, and be valid now.
    """
    try:
        config = read_config(options)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": _problems(error.problems), "notes": []})
        else:
            click.echo(error)
        sys.exit(1)
    except OSError as error:
        fail(error)
    found, unknown = keys.problems(config)
    notes = [*config.notes, *listing.refusals(listing.hosts(config)), *listing.without_http2(config), *unknown]
    if as_json:
        print_json({"ok": not found, "problems": _problems(found), "notes": _problems(notes)})
    else:
        for note in notes:
            click.echo(f"{note.source}: note: {note.message}", err=True)
        click.echo("\n".join(map(str, found)) or "Syntax OK")
    if found:
        sys.exit(1)


@main.command()
@takes_configuration
@_JSON
def vhosts(options: Options, as_json: bool) -> None:
    """List the virtual hosts: addresses, names, identity, and where each was declared."""
    try:
        config = read_config(options)
    except (ConfigError, OSError) as error:
        fail(error)
    hosts = listing.hosts(config)
    if as_json:
        print_json([asdict(host) for host in hosts])
        return
    print_table(listing.HEADERS, list(listing.lines(hosts)))
    for refusal in listing.refusals(hosts):
        click.echo(f"{refusal.source}: {refusal.message}", err=True)


@main.command()
@click.argument("name", required=False)
@_JSON
def directives(name: str | None, as_json: bool) -> None:
    """List the directives that are known here, or say all about NAME."""
    modules.load()
    if name is None:
        known = [reference.entry(directive) for directive in sorted(REGISTRY.values(), key=lambda d: d.name.lower())]
        if as_json:
            print_json([asdict(entry) for entry in known])
        else:
            print_table(reference.HEADERS, [reference.line(entry) for entry in known])
        return
    try:
        entry = reference.entry(reference.find(name))
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    if as_json:
        print_json(asdict(entry))
    else:
        click.echo(reference.text(entry))


@main.command()
@click.argument("url")
@takes_configuration
@click.option("-H", "headers", metavar='"Name: value"', multiple=True, help="A header field of the request.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--client", metavar="ADDRESS", default="", help="The client's address (127.0.0.1).")
@_JSON
def explain(options: Options, url: str, headers: tuple[str, ...], method: str, client: str, as_json: bool) -> None:
    """Show what would happen to a request for URL, and why.

    Virtual host, identity and what gave it, rewriting step by step, sections and settings with file and line, handler
    and file. Nothing is served. As root, files are looked at as the identity that would serve them.
    """
    from ownhost.admin import explain as explaining  # here: the other commands need none of it

    try:
        found = explaining.explain(read_config(options), url, headers, method, client)
    except (ConfigError, OSError) as error:
        fail(error)
    except explaining.ExplainError as error:
        raise Failure(f"{error}.") from None
    if as_json:
        print_json(asdict(found))
    else:
        for line in explaining.lines(found):
            click.echo(line)


class Failure(click.ClickException):
    """What went wrong, in one sentence; exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print it as `ownhost: sentence`."""
        click.echo(f"ownhost: {self.message}", file=file, err=True)


def fail(error: ConfigError | OSError) -> NoReturn:
    """End the command with what is wrong: a configuration's errors, one a line, or one sentence."""
    if isinstance(error, ConfigError):
        click.echo(error, err=True)
        sys.exit(1)
    about = f"{error.filename}: " if error.filename else ""
    raise Failure(f"{about}{error.strerror or error}.") from None


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    click.echo(json.dumps(value, indent=2, default=str))


def _problems(problems: list[Problem]) -> list[dict[str, object]]:
    return [{"file": p.source.file, "line": p.source.line, "message": p.message} for p in problems]
