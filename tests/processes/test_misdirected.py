"""What becomes of a connection whose next request is somebody else's."""

from __future__ import annotations

import pytest

from ownhost.processes.worker.misdirected import Ending, ending


@pytest.mark.parametrize(
    ("method", "first", "expected"),
    [
        ("GET", False, Ending.IN_SILENCE),
        ("HEAD", False, Ending.IN_SILENCE),
        ("OPTIONS", False, Ending.IN_SILENCE),
        ("TRACE", False, Ending.IN_SILENCE),
        ("PUT", False, Ending.IN_SILENCE),
        ("DELETE", False, Ending.IN_SILENCE),
        ("POST", False, Ending.SAID),
        ("PATCH", False, Ending.SAID),
        ("get", False, Ending.SAID),
        ("MADE-UP", False, Ending.SAID),
        ("GET", True, Ending.DISAGREEMENT),
        ("POST", True, Ending.DISAGREEMENT),
    ],
)
def test_endings(method: str, first: bool, expected: Ending) -> None:
    assert ending(method, first=first) is expected
