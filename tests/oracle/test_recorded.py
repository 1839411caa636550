"""All cases in this process, without root and without Apache: what it has answered is recorded, and Ownhost agrees."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import pytest

from oracle import cases, recorded
from oracle.compare import all_differences
from oracle.inprocess import Inside, serving, tree_of_cases
from oracle.servers import Served, written

Tree = Callable[[Collection[str]], Served]


@dataclass
class Alone:
    """Ownhost, over some cases."""

    served: Served
    inside: Inside

    def check(self, name: str) -> None:
        """Ask all that a case asks, and compare with what Apache answered."""
        theirs, ours = recorded.read(name), self.served.answers(name, self.inside.connect)
        both = zip(cases.connections(name), theirs, ours, strict=True)
        wrong = [line for one in both for line in all_differences(*one)]
        assert not wrong, "\n".join([f"{len(wrong)} answers of {name} differ from Apache's:", *wrong])


def need_names(name: str) -> None:
    """Leave a case out that looks localhost up, on a machine that has no such name (`scripts/test` adds it)."""
    if "localhost" in cases.configuration(name) and not _knows_localhost():
        pytest.skip("this machine does not know the name localhost")


@functools.cache
def _knows_localhost() -> bool:
    try:
        return bool(socket.getaddrinfo("localhost", None))
    except OSError:
        return False


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """The tree of all cases."""
    with tree_of_cases() as served:
        yield served


@pytest.fixture(scope="module")
def shared(tree: Tree) -> Iterator[Alone]:
    """One Ownhost for all cases that are content with a virtual host."""
    served = tree([name for name in cases.NAMES if not cases.has_own_server(name)])
    with serving(written(served, "inside")) as inside:
        yield Alone(served, inside)


@pytest.mark.parametrize("name", [name for name in cases.NAMES if not cases.has_own_server(name)])
def test_virtual_hosts_answer_as_recorded(shared: Alone, name: str) -> None:
    need_names(name)
    shared.check(name)


@pytest.mark.parametrize("name", [name for name in cases.NAMES if cases.has_own_server(name)])
def test_servers_answer_as_recorded(tree: Tree, name: str) -> None:
    need_names(name)
    served = tree([name])
    with serving(written(served, "inside")) as inside:
        Alone(served, inside).check(name)
