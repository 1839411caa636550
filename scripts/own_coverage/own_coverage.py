"""What `scripts/coverage` prints: how much of each file of the program its own tests run.

Tests mirror the tree: those of `src/ownhost/NAME` stand in `tests/NAME`. A file that only its neighbours' tests run has
none that says what is expected of it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from coverage import Coverage

PROGRAM = Path("src/ownhost")
TESTS = Path("tests")


@dataclass(frozen=True)
class Covered:
    """A file, and which part of its lines is run."""

    name: str
    lines: int
    own: float  # by its own tests, 0 to 1
    all: float  # by any


def covered(data: Coverage, file: Path) -> Covered:
    """What was measured of a file. Lines that importing it runs count as run by its own tests."""
    _, lines, *_ = data.analysis2(str(file))
    found = data.get_data().contexts_by_lineno(str(file.resolve()))
    own = str(TESTS / file.relative_to(PROGRAM).parts[0]) + "/"
    ran = [found.get(line, []) for line in lines]
    count = max(1, len(lines))
    return Covered(
        str(file.relative_to(PROGRAM)),
        len(lines),
        sum("" in contexts or any(name.startswith(own) for name in contexts) for contexts in ran) / count,
        sum(bool(contexts) for contexts in ran) / count,
    )


def main() -> None:
    """Print a line per file, the least covered first."""
    data = Coverage(data_file=sys.argv[1])
    data.load()
    files = [covered(data, file) for file in sorted(PROGRAM.rglob("*.py")) if len(file.relative_to(PROGRAM).parts) > 1]
    print(f"{'own tests':>9} {'all':>6} {'lines':>6}  file")
    for file in sorted((file for file in files if file.lines), key=lambda file: (file.own, file.name)):
        print(f"{file.own:9.0%} {file.all:6.0%} {file.lines:6}  {file.name}")


if __name__ == "__main__":
    main()
