"""Fixtures of the tests that start servers."""

from __future__ import annotations

import pytest

from encrypted import Sites
from harness import World


@pytest.fixture
def sites(world: World) -> Sites:
    """Virtual hosts that speak TLS."""
    return Sites(world)
