"""Workers ask for pairs with another identity of their virtual hosts: who gets one, when, and what others learn."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from clock import Clock
from ownhost.http.bucket import Bucket
from ownhost.identity.accounts import Found
from ownhost.identity.identity import Assignment, Refusal
from ownhost.processes import mailbox
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Message, NotRelayed, ProtocolError, Relay, Relayed
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.relaying import LOOK_UP_COST, MOST_WAITING, REMEMBERED_FOR, Relaying
from processes.offspring import Offspring

ALICE, BOB, GAMES = 1, 2, 5  # numbers of identities
HOST, BOBS_HOST = 0, 1  # ids of virtual hosts
FOUND = Found("games", 5, 60, (60,))
NEVER = Refusal("this virtual host never serves as that")


class Relays:
    """Alice's virtual host, part of which is bob's; "games" is a name that is to be looked up."""

    capacity = 4

    def __init__(self, offspring: Offspring) -> None:
        self.worker = offspring.bear("worker", ALICE)
        self.told: list[Message] = []
        self.ends: list[int] = []  # of pairs, as the worker gets them
        self.put_into: list[tuple[int, Handover]] = []
        self.fails: type[Exception] | None = None
        self.looked_up: list[tuple[int, str, str]] = []
        self.learn: list[Callable[[Found | None], None]] = []
        servers = [SimpleNamespace(owner=ALICE), SimpleNamespace(owner=BOB)]
        self.plan = SimpleNamespace(
            config=SimpleNamespace(servers=servers),
            own=lambda server: server.owner,
            default=Assignment("www-data", "www-data"),
            known=self.known,
            name=lambda server, wanted, found: GAMES,
        )
        self.relaying = Relaying(self.plan, self, self, self.tell)  # type: ignore[arg-type]

    def known(self, server: int, wanted: Assignment) -> int | Refusal | None:
        written: dict[str, int | Refusal] = {"bob": BOB, "root": NEVER}
        return written.get(wanted.user or "")

    def put(self, number: int, descriptor: int, handover: Handover, size: int) -> None:
        if self.fails:
            raise self.fails
        os.write(descriptor, b"hello")
        self.put_into.append((number, handover))

    def ask(self, number: int, user: str, group: str, learn: Callable[[Found | None], None]) -> None:
        self.looked_up.append((number, user, group))
        self.learn.append(learn)

    def tell(self, child: Child, message: Message, descriptors: Sequence[int]) -> None:
        assert child is self.worker
        self.told.append(message)
        self.ends += map(os.dup, descriptors)

    def relay(self, serial: int, user: str, server: int = HOST) -> None:
        self.relaying.on_relay(self.worker, Relay(serial, server, user, "", 0))


@pytest.fixture
def relays(offspring: Offspring, clock: Clock) -> Relays:
    return Relays(offspring)


def test_each_gets_an_end_of_a_pair(relays: Relays) -> None:
    relays.relay(1, "bob")
    assert relays.told == [Relayed(1)]
    assert relays.put_into == [(BOB, Handover(HOST, relay=True))]
    with socket.socket(fileno=relays.ends[0]) as end:
        assert end.recv(10) == b"hello"
        assert end.recv(10) == b"", "the supervisor keeps no end"


def test_who_is_never_served_as_is_no_secret(relays: Relays) -> None:
    relays.relay(1, "root")
    assert relays.told == [NotRelayed(1, NEVER.logged)]
    assert (relays.put_into, relays.looked_up) == ([], [])


@pytest.mark.parametrize("fails", [mailbox.Full, mailbox.Broken])
def test_a_mailbox_that_takes_nothing_is_no_refusal(relays: Relays, fails: type[Exception]) -> None:
    relays.fails = fails
    relays.relay(1, "bob")
    assert relays.told == [NotRelayed(1, "")]


@pytest.mark.parametrize("server", [BOBS_HOST, -1, 2])
def test_a_worker_asks_for_its_own_virtual_hosts_alone(relays: Relays, server: int) -> None:
    with pytest.raises(ProtocolError, match="which is not its own"):
        relays.relay(1, "bob", server)
    assert relays.told == []


def test_a_name_is_looked_up_once_for_all_who_ask_and_remembered(relays: Relays, clock: Clock) -> None:
    for serial in (1, 2):
        relays.relay(serial, "games")
    clock.go_on(0.0)
    assert relays.looked_up == [(ALICE, "games", "www-data")]
    assert relays.told == []
    relays.learn[0](FOUND)
    assert relays.told == [Relayed(1), Relayed(2)]
    assert [number for number, _ in relays.put_into] == [GAMES, GAMES]
    relays.relay(3, "games")
    assert relays.told[2:] == [Relayed(3)], "it is remembered"
    clock.now += REMEMBERED_FOR
    relays.relay(4, "games")
    clock.go_on(clock.now)
    assert len(relays.looked_up) == 2, "and not for ever"
    assert relays.told[3:] == []


def test_a_database_that_says_nothing_is_asked_again(relays: Relays, clock: Clock) -> None:
    relays.relay(1, "games")
    clock.go_on(0.0)
    relays.learn[0](None)
    (told,) = relays.told
    assert isinstance(told, NotRelayed)
    assert "nsswitch.conf" in told.reason
    relays.relay(2, "games")
    clock.go_on(0.0)
    assert len(relays.looked_up) == 2


def test_who_asks_for_much_waits_and_names_cost_more(relays: Relays, clock: Clock) -> None:
    relays.worker.relays = Bucket(1.0, LOOK_UP_COST)
    relays.relay(1, "games")
    relays.relay(2, "bob")
    clock.go_on(0.9)
    assert (len(relays.looked_up), relays.told) == (1, [])
    clock.go_on(1.0)
    assert relays.told == [Relayed(2)]


def test_more_questions_than_an_honest_worker_has_are_a_lie(relays: Relays, clock: Clock) -> None:
    relays.worker.relays = Bucket(1.0, 1.0)
    relays.relay(0, "bob")
    for serial in range(MOST_WAITING):
        relays.relay(serial, "bob")
    with pytest.raises(ProtocolError, match="more than it is answered"):
        relays.relay(0, "bob")


def test_who_is_gone_meanwhile_is_told_nothing(relays: Relays, clock: Clock) -> None:
    relays.relay(1, "games")
    clock.go_on(0.0)
    relays.worker.relays = Bucket(1.0, 0.0)
    relays.relay(2, "bob")
    relays.worker.channel.close()
    relays.learn[0](FOUND)
    clock.go_on(10.0)
    assert (relays.told, relays.put_into) == ([], [])
