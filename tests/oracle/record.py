"""Ask Apache all that the cases ask, and write what it answered beside them. `scripts/record` runs it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Iterator

from harness import World
from oracle import cases, recorded
from oracle.accounts import accounts
from oracle.behind import backends
from oracle.servers import Served, apache, free_ports
from oracle.tree import make_tree


def main(arguments: list[str]) -> int:
    """Record cases. The exit code: 1 where --check finds one that Apache does not answer as it is written down."""
    parser = argparse.ArgumentParser(prog="scripts/record", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where anything would change")
    parser.add_argument("case", nargs="*", help="all, where none is named")
    options = parser.parse_args(arguments)
    names = options.case or cases.NAMES
    if unknown := set(names).difference(cases.NAMES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    changed = list(record(names, write=not options.check))
    for name in changed:
        print(f"{recorded.path_of(name).name}: {'Apache answers otherwise' if options.check else 'written'}")
    print(f"{len(changed)} of {len(names)} cases {'differ' if options.check else 'changed'}")
    return 1 if options.check and changed else 0


def record(names: Collection[str], *, write: bool) -> Iterator[str]:
    """Ask Apache the cases: the names of those whose files are not what it answered, and are written, or not."""
    with contextlib.ExitStack() as running:
        world = World()
        running.callback(world.close)
        running.enter_context(accounts(world.folder / "homes"))
        make_tree(world)
        behind = running.enter_context(backends(world.folder))
        shared = [name for name in names if not cases.has_own_server(name)]
        for group in filter(None, (shared, *([name] for name in names if name not in shared))):
            with apache(world.folder, group, free_ports(), behind) as served:
                for name in group:
                    if _differs(name, served, write=write):
                        yield name


def _differs(name: str, served: Served, *, write: bool) -> bool:
    text = recorded.written(name, served.answers(name))
    differs = recorded.text_of(name) != text
    if differs and write:
        path = recorded.path_of(name)
        path.write_text(text)
        os.chown(path, cases.FOLDER.stat().st_uid, cases.FOLDER.stat().st_gid)  # root's would be in somebody's way
    return differs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
