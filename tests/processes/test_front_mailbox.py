"""The fronts' mailbox."""

from __future__ import annotations

import socket

from ownhost.processes.supervisor.fronts import FrontMailbox


def test_it_is_renewed_once_a_front_has_shut_it_down() -> None:
    mailbox = FrontMailbox(4)
    assert not mailbox.renew()
    upper, lower = mailbox.upper, mailbox.lower
    lower.shutdown(socket.SHUT_RDWR)
    assert mailbox.renew()
    assert (upper.fileno(), lower.fileno()) == (-1, -1), "the old ends are closed"
    assert not mailbox.renew()
    mailbox.upper.send(b"mail")
    assert mailbox.lower.recv(10) == b"mail"
    mailbox.upper.close()
    mailbox.lower.close()
