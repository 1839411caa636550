"""The same configuration and the same requests for Debian's Apache with mpm_itk and for Ownhost: the answers agree."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness import World
from oracle import cases, recorded
from oracle.accounts import accounts
from oracle.compare import all_differences, shown
from oracle.servers import APACHE, Served, both
from oracle.tree import make_tree

LOG = logging.getLogger("oracle")  # --log-cli-level=INFO shows what Apache answers


@pytest.fixture(scope="module")
def tree() -> Iterator[World]:
    """The tree of all cases, and the accounts that own parts of it."""
    assert os.geteuid() == 0, "these tests start real servers: run them as root (sudo ./scripts/test)"
    assert APACHE.exists(), "Apache is missing: run the tests with ./scripts/test, which installs it"
    world = World()
    try:
        with accounts(world.folder / "homes"):
            make_tree(world)
            yield world
    finally:
        world.close()


@dataclass(frozen=True)
class Both:
    """Apache and Ownhost, over the same cases."""

    apache: Served
    ownhost: Served

    def check(self, name: str) -> None:
        """Ask both servers all that a case asks, and compare; Apache's answers with those that are recorded, too."""
        asked, theirs, ours = cases.connections(name), self.apache.answers(name), self.ownhost.answers(name)
        for requests, answers in zip(asked, theirs, strict=True):
            for request, answer in zip(requests, answers, strict=True):
                LOG.info("%s: %s -> %s", request.where, request.title, shown(answer))
        wrong = [line for one in zip(asked, theirs, ours, strict=True) for line in all_differences(*one)]
        assert not wrong, "\n".join([f"{len(wrong)} answers of {name} differ from Apache's:", *wrong])
        stale = f"Apache answers otherwise than {name}.answers has it: run sudo ./scripts/record {name}, and look at it"
        assert recorded.written(name, theirs) == recorded.text_of(name), stale


@pytest.fixture(scope="module")
def shared(tree: World) -> Iterator[Both]:
    """One server of each kind, with a port for each case that is content with that."""
    with both(tree, [name for name in cases.NAMES if not cases.has_own_server(name)]) as servers:
        yield Both(*servers)


@pytest.mark.parametrize("name", [name for name in cases.NAMES if not cases.has_own_server(name)])
def test_virtual_hosts_answer_alike(shared: Both, name: str) -> None:
    shared.check(name)


@pytest.mark.parametrize("name", [name for name in cases.NAMES if cases.has_own_server(name)])
def test_servers_answer_alike(tree: World, name: str) -> None:
    with both(tree, [name]) as servers:
        Both(*servers).check(name)
