"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from clock import Clock
from encrypted import Sites
from harness import World

# How long an example takes is no test's business: the machine may have something else to do.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("any machine"), max_examples=20)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """What hypothesis remembers is left in one's own checkout only: root's files would be in somebody's way."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as a server does; tests send descriptors in numbers
    if config.rootpath.stat().st_uid != os.geteuid():
        folder = tempfile.mkdtemp(prefix="ownhost-hypothesis-")
        set_hypothesis_home_dir(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the real server: a file that knows `World`, a test that has a `world`. Such files go first.

    Several processes share the files: at the end, there are only quick ones left, and all have something to do.
    """
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        if hasattr(getattr(item, "module", None), "World") or fixtures & {"world", "shared_world"}:
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def world() -> Iterator[World]:
    """A folder for owners' trees and servers over it; gone, and every process ended, after the test."""
    yield from _world()


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """The same for all tests of a file, where these only ask a server: most of a test's time is its server's start."""
    yield from _world()


def _world() -> Iterator[World]:
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


@pytest.fixture(scope="module")
def shared_sites(shared_world: World) -> Sites:
    """The same in what a file's tests share."""
    return Sites(shared_world)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time for whoever asks for the running loop's timers, or for monotonic seconds."""
    made = Clock()  # type: ignore[abstract]
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    monkeypatch.setattr(time, "monotonic", made.time)
    return made
