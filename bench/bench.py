"""Ownhost and what people use today, measured in turns on the same files and programs: `sudo ./scripts/bench`.

What each line of the table compares is written down in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import measure
import programs
import sites
from servers import APACHE, APACHE_COMMAND, APART, EVERYWHERE, OWNHOST, Cores, Peer, Server, running

import encrypted
from ownhost import __version__
from ownhost.admin.table import print_table

IDLE_HEADERS = ("MEASURED, LESS IS BETTER", "APACHE + MPM_ITK", "OWNHOST", "OWNHOST / APACHE")
BY_OWNER = (APACHE, OWNHOST)  # servers that serve each site as its owner


def main() -> int:
    """Measure, print the table, keep the figures. The exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ownhost-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sites.make_sites(folder / "sites")
        programs.make_programs(folder / "programs")
        try:
            figures = measure_files(folder, options)
            figures["encrypted"] = measure_encrypted(folder, options)
            figures["programs"] = measure_programs(folder, options)
        except (RuntimeError, ValueError, OSError, subprocess.CalledProcessError) as error:
            print(f"bench: {error}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    report_files(figures)
    report_encrypted(figures["encrypted"])
    report_programs(figures["programs"])
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
        print(f"All figures are in {options.json}")
    return 0


def measure_files(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements with files: what each server's name stands for when idle, and each load's results by server."""
    rounds, seconds, _ = effort(options)
    figures: dict[str, Any] = {"machine": machine(), "rounds": rounds, "seconds_per_round": seconds, "files": {}}
    peers = Peers(folder, "files", sites.PEERS, folder / "sites", options.port)
    with peers.running(EVERYWHERE) as servers:
        owners = [server for server in servers if server.program in BY_OWNER]
        for server in owners:
            figures[server.program.name] = {"idle": measure.first_requests(server)}
        for load in measure.LOADS:
            if not load.apart:
                figures["files"][load.name] = in_turns(owners if load.by_owner else servers, load, options)
        for server in owners:
            figures[server.program.name]["alternation"] = measure.alternation(server)
    with peers.running(APART) as servers:
        for load in measure.LOADS:
            if load.apart:
                figures["files"][load.name] = in_turns(servers, load, options)
    return figures


class Peers:
    """The servers that are compared: each configured once, on a port of its own, and started as often as needed."""

    def __init__(self, folder: Path, name: str, peers: Sequence[Peer], served: Path, port: int) -> None:
        self.peers = [
            (port, peer.program, peer.configure(folder / f"{name}-{port}", served, port))
            for port, peer in enumerate(peers, port)
        ]

    @contextlib.contextmanager
    def running(self, cores: Cores) -> Iterator[list[Server]]:
        """All of them, on these cores."""
        with contextlib.ExitStack() as started:
            yield [started.enter_context(running(program, files, port, cores)) for port, program, files in self.peers]


def measure_programs(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements with owners' programs. Keys: kind of program, load, server name."""
    figures: dict[str, Any] = {}
    for kind in programs.KINDS:
        figures[kind.name] = {}
        peers = Peers(folder, kind.path.strip("/"), kind.peers, folder / "programs", options.port)
        with peers.running(EVERYWHERE) as servers:
            for server in servers:
                measure.check(server, programs.OWNERS, kind.path)
            for load in measure.PROGRAM_LOADS:
                figures[kind.name][load.name] = in_turns(servers, load, options, kind.path, kind.name)
    return figures


def measure_encrypted(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements over TLS. Keys: load, server name."""
    figures: dict[str, Any] = {}
    peers = Peers(folder, "encrypted", encrypted.PEERS, folder / "sites", options.port)
    with peers.running(EVERYWHERE) as servers:
        for load in encrypted.WRK_LOADS:
            figures[load.name] = in_turns(servers, load, options, scheme="https")
        figures[encrypted.MULTIPLEXED] = taking_turns(servers, encrypted.multiplexed, encrypted.MULTIPLEXED, options)
    with peers.running(APART) as servers:
        load = encrypted.APART_LOAD
        figures[load.name] = in_turns(servers, load, options, scheme="https")
    return figures


def in_turns(
    servers: Sequence[Server],
    load: measure.Load,
    options: argparse.Namespace,
    path: str = "",
    what: str = "",
    scheme: str = "http",
) -> dict[str, list[dict[str, Any]]]:
    """Load one server after the other with wrk, and again: results by server name."""

    def once(server: Server, seconds: int) -> dict[str, Any]:
        return measure.requests_per_second(server, load, seconds, path, scheme)

    return taking_turns(servers, once, ", ".join(filter(None, (what, load.name))), options)


_warm: set[tuple[int, ...]] = set()  # servers that were under load already


def taking_turns(
    servers: Sequence[Server],
    once: Callable[[Server, int], dict[str, Any]],
    what: str,
    options: argparse.Namespace,
) -> dict[str, list[dict[str, Any]]]:
    """Do something to one server after the other, for some seconds each, and again: results by server name."""
    rounds, seconds, warm_up = effort(options)
    _say(f"{what}: {rounds} times {seconds} s each")
    for server in servers:
        if not (options.quick and server.pids in _warm):
            once(server, warm_up)
            _warm.add(server.pids)
    results: dict[str, list[dict[str, Any]]] = {server.program.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            results[server.program.name].append(once(server, seconds))
    return results


def effort(options: argparse.Namespace) -> tuple[int, int, int]:
    """Rounds, seconds of each, and seconds of warm-up."""
    return (1, 1, 1) if options.quick else (5, 5, 3)


def report_files(figures: dict[str, Any]) -> None:
    """Print the medians and their ratios, and what was lost on the way."""
    _report_peers(figures["files"], [peer.program.name for peer in sites.PEERS])
    print()
    mebibytes = 2**20
    rows = (
        _idle_row(figures, "first request to an idle owner, ms", "median_ms"),
        _idle_row(figures, "memory per owner with an idle client, MiB", "memory_per_owner_with_client", mebibytes),
        _idle_row(figures, "memory per idle owner, MiB", "memory_per_idle_owner", mebibytes),
    )
    print_table(IDLE_HEADERS, list(rows))
    for program in BY_OWNER:
        turn = figures[program.name]["alternation"]
        print(
            f"{program.name}, {turn['requests']} requests to two owners in turn on a front proxy's connection: "
            f"{turn['answered']} answered, connection lost {turn['connection_lost']} times"
        )


def report_encrypted(figures: dict[str, Any]) -> None:
    """Print a table of what was measured over TLS, and what was lost."""
    _report_peers(figures, [peer.program.name for peer in encrypted.PEERS])


def report_programs(figures: dict[str, Any]) -> None:
    """Print a table for each kind of program, and what was lost."""
    for kind in programs.KINDS:
        by_load = {f"{kind.name}, {load}": results for load, results in figures[kind.name].items()}
        _report_peers(by_load, [peer.program.name for peer in kind.peers])


def _report_peers(by_load: dict[str, Any], names: Sequence[str]) -> None:
    rows = []
    for load, results in by_load.items():
        rates = [_rate(results[name]) if name in results else 0.0 for name in names]
        ratios = (f"{rates[-1] / rate:.2f}" if rate else "" for rate in rates[:-1])
        rows.append((f"{load}, requests/s", *(_number(rate) if rate else "" for rate in rates), *ratios))
    print()
    print_table(("MEASURED", *map(str.upper, names), *(f"OWNHOST / {name.upper()}" for name in names[:-1])), rows)
    for load, results in by_load.items():
        for name in results:
            _print_lost(f"{name}, {load}", results[name])


def _rate(results: Sequence[dict[str, Any]]) -> float:
    return float(median(result["rate"] for result in results))


def _idle_row(figures: dict[str, Any], title: str, figure: str, unit: int = 1) -> tuple[str, ...]:
    apache, ownhost = (figures[program.name]["idle"][figure] / unit for program in BY_OWNER)
    ratio = f"{ownhost / apache:.2f}" if apache > 0 and ownhost > 0 else ""
    return title, _number(apache), _number(ownhost), ratio


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _print_lost(title: str, results: list[dict[str, Any]]) -> None:
    lost = {key: sum(r[key] for r in results) for key in ("not_2xx", "broken_connections", "timeouts")}
    if any(lost.values()):
        total = sum(r["responses"] for r in results)
        words = ", ".join(f"{count:,} {key.replace('_', ' ')}" for key, count in lost.items() if count)
        print(f"{title}: {words}, beside {total:,} responses")


def machine() -> dict[str, Any]:
    """What the figures were measured on, and which versions."""
    apache = subprocess.run([APACHE_COMMAND[0], "-v"], check=True, capture_output=True, text=True).stdout
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
    parser.add_argument("--quick", action="store_true", help="end within 90 seconds")
    parser.add_argument("--json", metavar="FILE", help="keep all figures there")
    parser.add_argument("--port", type=int, default=19480, metavar="N", help="use 127.0.0.1, ports N to N+3")
    return parser.parse_args()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
