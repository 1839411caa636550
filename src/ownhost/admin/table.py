"""Tables: drawn for a person at a terminal, plain aligned columns for anything else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

Row = Sequence[str]


def print_table(headers: Row, rows: Sequence[Row]) -> None:
    """Print a table on standard output. A cell may not hold line breaks."""
    if sys.stdout.isatty():
        _draw(headers, rows)
    else:
        for line in plain(headers, rows):
            print(line)


def plain(headers: Row, rows: Sequence[Row]) -> list[str]:
    """A table's lines: columns as wide as their widest cell, two spaces apart, an empty cell as "-"."""
    cells = [[cell or "-" for cell in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _draw(headers: Row, rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
