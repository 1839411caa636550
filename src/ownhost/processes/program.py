"""A program that an owner's worker asks for answers.

NAME        runs a program of the configuration (RewriteMap prg:) for one worker
TRUSTS      the supervisor
RUNS AS     the worker's identity; no filter and no no_new_privs, so that sudo and sendmail work from it
TALKS TO    its worker, by standard input, output and error
ENDS WHEN   it likes, or its worker is gone
"""

from __future__ import annotations

import os
from typing import NoReturn

from ownhost.identity.daemon_environment import daemon_environment
from ownhost.identity.shedding.line import Wanted
from ownhost.identity.shedding.surroundings import shed_signals
from ownhost.processes.descriptors import lower_limit
from ownhost.processes.messages import Channel
from ownhost.processes.slices import ProgramSlice, receive_slice


def main(channel: Channel) -> NoReturn:
    """Become the program: see the head of this file."""
    slice_, (talk, errors) = receive_slice(channel)
    assert isinstance(slice_, ProgramSlice)
    for standard, descriptor in enumerate((talk, talk, errors)):
        os.dup2(descriptor, standard)
    lower_limit()
    shed_signals(Wanted.program(0))
    os.execve(slice_.command[0], slice_.command, daemon_environment())


def rehearse() -> None:
    """There is nothing to warm: the program is executed."""
