"""No test sleeps: it waits for what is to come, by `waiting`, or a fake clock goes on, as `clock` has one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
POLLS = "waiting.py"  # the one file that may


def sleeps(text: str) -> Iterator[int]:
    """The lines of Python that call sleep(), or import it. `asyncio.sleep(0)` is a turn of the event loop.

    What stands in strings is programs under test: these may.
    """
    kinds = (ast.ImportFrom, ast.Attribute, ast.Call)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    turns = [call.func for call in calls if ast.unparse(call) == "asyncio.sleep(0)"]
    for node in nodes:
        imported = isinstance(node, ast.ImportFrom) and "sleep" in {alias.name for alias in node.names}
        if imported or (isinstance(node, ast.Attribute) and node.attr == "sleep" and node not in turns):
            yield node.lineno


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("time.sleep(1)", [1]),
        ("\nawait asyncio.sleep(0.1)", [2]),
        ("from time import sleep", [1]),
        ("later = time.sleep", [1]),
        ("asyncio.sleep(seconds)", [1]),
        ("asyncio.sleep(0)", []),
        ("'time.sleep(1)'", []),
    ],
)
def test_it_is_seen(text: str, lines: list[int]) -> None:
    assert list(sleeps(text)) == lines


def test_no_test_sleeps() -> None:
    texts = {path: path.read_text() for path in TESTS.rglob("*.py") if path != TESTS / POLLS}
    assert [f"{path}:{line}" for path, text in texts.items() if "sleep" in text for line in sleeps(text)] == []
    assert list(sleeps((TESTS / POLLS).read_text())), "it is the one, and is seen"
