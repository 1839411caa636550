"""Tables: drawn for a person at a terminal, plain aligned columns for anything else.

A cell is never folded in the middle, so that a path can be copied. If a drawn table is wider than
the terminal, plain lines are printed, and only the terminal breaks them.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

Row = Sequence[str]
_NARROWEST = 24  # characters of a column of sentences


def print_table(headers: Row, rows: Sequence[Row], sentences: Collection[str] = ()) -> None:
    """Print a table on standard output. A cell may not contain line breaks.

    `sentences` are the headers of columns whose cells may continue on a further line, between two
    words.
    """
    if not sys.stdout.isatty() or not _draw(headers, rows, sentences):
        for line in plain(headers, rows):
            print(line)


def plain(headers: Row, rows: Sequence[Row]) -> list[str]:
    """A table's lines: columns as wide as their widest cell, two spaces apart, an empty cell as "-"."""
    cells = [[cell or "-" for cell in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _draw(headers: Row, rows: Sequence[Row], sentences: Collection[str]) -> bool:
    """Draw a table, if it fits."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        if header in sentences:
            table.add_column(header, min_width=_NARROWEST)
        else:
            table.add_column(header, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    if Measurement.get(console, console.options.update(max_width=sys.maxsize), table).minimum > console.width:
        return False
    console.print(table)
    return True
