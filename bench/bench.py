"""Ownhost and Apache with mpm_itk, measured in turns on the same files. Run it with `sudo ./scripts/bench`.

What each line of the table compares is written down in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import measure
import sites
from servers import APACHE, OWNHOST, Server, running

from ownhost import __version__
from ownhost.admin.table import print_table

HEADERS = ("MEASURED", "APACHE + MPM_ITK", "OWNHOST", "OWNHOST / APACHE", "BETTER IS")


def main() -> int:
    """Measure, print the table, keep the figures. The exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ownhost-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sites.make_sites(folder / "sites")
        files = {
            program: sites.make_configuration(folder / run, folder / "sites", port)
            for program, run, port in (
                (APACHE, "apache", options.port),
                (OWNHOST, "ownhost", options.port + 1),
            )
        }
        try:
            with (
                running(APACHE, files[APACHE], options.port) as apache,
                running(OWNHOST, files[OWNHOST], options.port + 1) as ownhost,
            ):
                figures = run((apache, ownhost), quick=options.quick)
        except (RuntimeError, ValueError, subprocess.CalledProcessError) as error:
            print(f"bench: {error}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    report(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
        print(f"All figures are in {options.json}")
    return 0


def run(servers: Sequence[Server], *, quick: bool) -> dict[str, Any]:
    """All measurements, server by server in turns. Keys: server name, then what was measured."""
    rounds, seconds, warm_up = (3, 1, 1) if quick else (5, 5, 3)
    figures: dict[str, Any] = {"machine": machine(), "rounds": rounds, "seconds_per_round": seconds}
    for server in servers:
        figures[server.program.name] = {"idle": measure.first_requests(server)}
    for load in measure.LOADS:
        _say(f"{load.name}: {rounds} times {seconds} s each")
        for server in servers:
            measure.requests_per_second(server, load, warm_up)
            figures[server.program.name][load.name] = []
        for _ in range(rounds):
            for server in servers:
                result = measure.requests_per_second(server, load, seconds)
                figures[server.program.name][load.name].append(result)
    for server in servers:
        figures[server.program.name]["alternation"] = measure.alternation(server)
    return figures


def report(figures: dict[str, Any]) -> None:
    """Print the medians and their ratios, and what was lost on the way."""
    rows = [_row(figures, f"{load.name}, requests/s", _rate(load.name), "more") for load in measure.LOADS]
    rows.append(_row(figures, "first request to an idle owner, ms", _idle("median_ms"), "less"))
    mebibytes = 2**20
    with_client = _idle("memory_per_owner_with_client", mebibytes)
    rows.append(_row(figures, "memory per owner with an idle client, MiB", with_client, "less"))
    rows.append(_row(figures, "memory per idle owner, MiB", _idle("memory_per_idle_owner", mebibytes), "less"))
    print_table(HEADERS, rows)
    for name in (APACHE.name, OWNHOST.name):
        _print_losses(name, figures[name])


def _rate(load: str) -> Any:
    return lambda of_server: median(result["rate"] for result in of_server[load])


def _idle(figure: str, unit: int = 1) -> Any:
    return lambda of_server: of_server["idle"][figure] / unit


def _row(figures: dict[str, Any], title: str, pick: Any, better: str) -> tuple[str, ...]:
    apache, ownhost = pick(figures[APACHE.name]), pick(figures[OWNHOST.name])
    ratio = f"{ownhost / apache:.2f}" if apache > 0 and ownhost > 0 else ""
    return title, _number(apache), _number(ownhost), ratio, better


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _print_losses(name: str, of_server: dict[str, Any]) -> None:
    for load in measure.LOADS:
        results = of_server[load.name]
        lost = {key: sum(r[key] for r in results) for key in ("not_2xx", "broken_connections", "timeouts")}
        if any(lost.values()):
            total = sum(r["responses"] for r in results)
            words = ", ".join(f"{count:,} {key.replace('_', ' ')}" for key, count in lost.items() if count)
            print(f"{name}, {load.name}: {words}, beside {total:,} responses")
    turn = of_server["alternation"]
    print(
        f"{name}, {turn['requests']} requests to two owners in turn on one connection: "
        f"{turn['answered']} answered, connection lost {turn['connection_lost']} times"
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on, and which versions."""
    apache = subprocess.run([APACHE.command[0], "-v"], check=True, capture_output=True, text=True).stdout
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "apache": apache.splitlines()[0].partition(": ")[2],
        "ownhost": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", usage="sudo ./scripts/bench [--quick] [--json FILE] [--port N]", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--json", metavar="FILE", help="keep all figures there")
    parser.add_argument("--port", type=int, default=19480, metavar="N", help="use 127.0.0.1, ports N and N+1")
    return parser.parse_args()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
