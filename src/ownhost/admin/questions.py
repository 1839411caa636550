"""The commands that answer questions: about a configuration, a request, a directive."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click

from ownhost import modules
from ownhost.admin import listing, manual, reference
from ownhost.admin.command_line import STRICT, Failure, fail, print_json, takes_configuration
from ownhost.admin.table import print_table
from ownhost.config.directive import REGISTRY, ConfigError, Problem
from ownhost.config.known import UNSUPPORTED
from ownhost.config.notes import Note, folded
from ownhost.processes.options import Options, read_config
from ownhost.processes.supervisor import likely_mistakes
from ownhost.processes.supervisor.preparation import Preparation, with_faults

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@takes_configuration
@STRICT
@JSON
def check(options: Options, strict: bool, as_json: bool) -> None:
    """Check a configuration: print each error as FILE:LINE, with what was expected.

    It tries the steps of a start: users and groups, log folders, certificates and keys, addresses. It makes nothing
    and takes no address. An error in a virtual host counts as an error, though it costs only that virtual host. The
    exit code is 0 if there is no error. Likely mistakes, and directives without effect, are notes on standard error.
    Without root, so is everything that only root can check.
    """
    try:
        start = trial(options, strict)
        config = start.config
        remarks = [*start.remarks(), *config.without_effect]
        remarks += likely_mistakes.of_certificates(config, start.keys)
        errors, costs = start.errors, [] if strict else start.costs()
    except ConfigError as error:
        errors, costs, remarks = error.problems, [], error.notes
    except OSError as error:
        fail(error)
    found = [*errors, *costs]
    notes = folded(remarks)
    if as_json:
        print_json({"ok": not found, "starts": not errors, "problems": _problems(found), "notes": _notes(notes)})
    else:
        for note in notes:
            click.echo(note, err=True)
        click.echo("\n".join(map(str, found)) or "Syntax OK")
    if found:
        sys.exit(1)


def trial(options: Options, strict: bool) -> Preparation:
    """Take the steps of a start without their effects. Raises ConfigError, OSError."""
    config = read_config(options, passes_over=os.geteuid() != 0)
    start = Preparation(config, strict=strict, trial=True)
    with start.end:
        start.take_steps()
    return start


@click.command()
@takes_configuration
@JSON
def vhosts(options: Options, as_json: bool) -> None:
    """List the virtual hosts: addresses, names, identity, and where each was declared."""
    try:
        config = with_faults(read_config(options))
    except (ConfigError, OSError) as error:
        fail(error)
    hosts = listing.hosts(config)
    if as_json:
        print_json([asdict(host) for host in hosts])
        return
    print_table(listing.HEADERS, list(listing.lines(hosts)))
    for refusal in listing.refusals(hosts):
        click.echo(f"{refusal.source}: {refusal.message}", err=True)
    for host in hosts:
        for fault in host.faults:
            click.echo(f"{fault}: this virtual host ({host.declared}) is answered with 500", err=True)


@click.command()
@click.argument("name", required=False)
@JSON
@click.option("--markdown", is_flag=True, help="Print the reference page, docs/directives.md.")
def directives(name: str | None, as_json: bool, markdown: bool) -> None:
    """List the known directives, or describe the directive NAME."""
    if markdown and (as_json or name is not None):
        raise click.UsageError("--markdown prints all directives, and takes neither NAME nor --json.")
    modules.load()
    if name is None:
        known = [reference.entry(directive) for directive in sorted(REGISTRY.values(), key=lambda d: d.name.lower())]
        if as_json:
            print_json([asdict(entry) for entry in known])
        elif markdown:
            undeclared = (proper for key, (proper, _) in UNSUPPORTED.items() if key not in REGISTRY)
            click.echo(manual.page(known, undeclared), nl=False)
        else:
            print_table(reference.HEADERS, [reference.line(entry) for entry in known], reference.SENTENCES)
        return
    try:
        entry = reference.entry(reference.find(name))
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    if as_json:
        print_json(asdict(entry))
    else:
        click.echo(reference.text(entry))


@click.command()
@click.argument("url")
@takes_configuration
@click.option("-H", "headers", metavar='"Name: value"', multiple=True, help="A header field of the request.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--client", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The client's address.")
@click.option("--all", "everything", is_flag=True, help="Show all settings and variables, not only those that matter.")
@JSON
def explain(
    options: Options,
    url: str,
    headers: tuple[str, ...],
    method: str,
    client: str,
    everything: bool,
    as_json: bool,
) -> None:
    """Show what would happen to a request for URL, and why.

    The verdict comes first, with its causes and the smallest fix. Then come virtual host, identity and its source,
    rewriting step by step, sections, access rules and settings with file and line, handler and file. It serves
    nothing and runs no program. As root, it looks at files as the identity that would serve them.
    """
    from ownhost.admin import explain as explaining  # here: the other commands do not need it
    from ownhost.admin import report

    try:
        question = explaining.Question(url, headers, method, client)
        found = explaining.explain(with_faults(read_config(options)), question)
    except (ConfigError, OSError) as error:
        fail(error)
    except explaining.ExplainError as error:
        raise Failure(f"{error}.") from None
    if as_json:
        print_json(asdict(found))
    else:
        for line in report.lines(found, everything=everything):
            click.echo(line)


def _problems(problems: list[Problem]) -> list[dict[str, object]]:
    return [{"file": p.source.file, "line": p.source.line, "message": p.message} for p in problems]


def _notes(notes: list[Note]) -> list[dict[str, object]]:
    """`more` counts the other places in the same file."""
    return [{"file": n.source.file, "line": n.source.line, "message": n.message, "more": n.more} for n in notes]


COMMANDS: dict[str, click.Command] = {"check": check, "vhosts": vhosts, "directives": directives, "explain": explain}
