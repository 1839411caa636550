"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from encrypted import Sites
from harness import World

# How long an example takes is no test's business: the machine may have something else to do.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("any machine"), max_examples=20)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """What hypothesis remembers is left in one's own checkout only: root's files would be in somebody's way."""
    if config.rootpath.stat().st_uid != os.geteuid():
        folder = tempfile.mkdtemp(prefix="ownhost-hypothesis-")
        set_hypothesis_home_dir(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the real server: a file that knows `World`, a test that has a `world`."""
    for item in items:
        if hasattr(getattr(item, "module", None), "World") or "world" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture
def world() -> Iterator[World]:
    """A folder for owners' trees and servers over it; gone, and every process ended, after the test."""
    assert os.geteuid() == 0, "these tests start the real server: run them as root (sudo ./scripts/test)"
    made = World()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def sites(world: World) -> Sites:
    """Virtual hosts that speak TLS."""
    return Sites(world)
