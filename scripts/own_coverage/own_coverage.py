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
LOGS = "tests/logs/"  # what is logged is a subject of its own: these are everybody's


@dataclass(frozen=True)
class Covered:
    """A file, and which part of its lines is run. Lines that importing it runs are left out: they say nothing."""

    name: str
    lines: int
    own: float  # by its own tests, 0 to 1
    all: float  # by any


def covered(data: Coverage, file: Path) -> Covered:
    """What was measured of a file."""
    _, lines, *_ = data.analysis2(str(file))
    tests = data.get_data().contexts_by_lineno(str(file.resolve()))
    own = (str(TESTS / file.relative_to(PROGRAM).parts[0]) + "/", LOGS)
    ran = [found for line in lines if "" not in (found := tests.get(line, []))]
    count = max(1, len(ran))
    return Covered(
        str(file.relative_to(PROGRAM)),
        len(ran),
        sum(any(name.startswith(own) for name in found) for found in ran) / count,
        sum(bool(found) for found in ran) / count,
    )


def main() -> None:
    """Print a line per file, the least covered first."""
    data = Coverage(data_file=sys.argv[1])
    data.load()
    tested = {name.split("/")[1] for name in data.get_data().measured_contexts() if name}
    files = [covered(data, file) for folder in sorted(tested) for file in sorted((PROGRAM / folder).rglob("*.py"))]
    print(f"{'own tests':>9} {'all':>6} {'lines':>6}  file")
    for file in sorted((file for file in files if file.lines), key=lambda file: (file.own, file.name)):
        print(f"{file.own:9.0%} {file.all:6.0%} {file.lines:6}  {file.name}")


if __name__ == "__main__":
    main()
