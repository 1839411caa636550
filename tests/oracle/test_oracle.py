"""The same configuration and the same requests for Debian's Apache with mpm_itk and for Ownhost: the answers agree."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness import World
from oracle import cases
from oracle.accounts import accounts
from oracle.client import Answer, ask
from oracle.compare import differences, shown
from oracle.servers import APACHE, Ports, both
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


def with_port(answer: Answer, theirs: int, ours: int) -> Answer:
    """Apache's answer as it were from our port: each server is asked with its own, and answers with it in Location."""
    return replace(
        answer, fields={key: value.replace(f":{theirs}", f":{ours}") for key, value in answer.fields.items()}
    )


def check(name: str, ports: Ports) -> None:
    """Ask both servers all that a case asks, and compare."""
    theirs, ours = ports
    wrong = []
    for requests in cases.connections(name):
        apache = [with_port(answer, theirs, ours) for answer in ask(theirs, requests)]
        for asked, their_answer, our_answer in zip(requests, apache, ask(ours, requests), strict=True):
            LOG.info("%s: %s -> %s", asked.where, asked.title, shown(their_answer))
            found = differences(asked, their_answer, our_answer)
            if found:
                wrong.append(f"{asked.where}: {asked.title}: {'; '.join(found)}")
    assert not wrong, "\n".join([f"{len(wrong)} answers of {name} differ from Apache's:", *wrong])


@pytest.fixture(scope="module")
def shared(tree: World) -> Iterator[dict[str, Ports]]:
    """One server of each kind, with a port for each case that is content with that."""
    with both(tree, [name for name in cases.NAMES if not cases.has_own_server(name)]) as ports:
        yield ports


@pytest.mark.parametrize("name", [name for name in cases.NAMES if not cases.has_own_server(name)])
def test_virtual_hosts_answer_alike(shared: dict[str, Ports], name: str) -> None:
    check(name, shared[name])


@pytest.mark.parametrize("name", [name for name in cases.NAMES if cases.has_own_server(name)])
def test_servers_answer_alike(tree: World, name: str) -> None:
    with both(tree, [name]) as ports:
        check(name, ports[name])
