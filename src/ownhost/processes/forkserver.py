"""The forkserver.

NAME        forks gates, workers, loggers and launchers, warm; ends what programs of an ended launcher left running
TRUSTS      the supervisor; nothing else speaks to it
RUNS AS     root's uid; once all is loaded, of capabilities SETUID, SETGID, SETPCAP, KILL, SYS_NICE and
SYS_RESOURCE alone TALKS TO    the supervisor, over one channel ENDS WHEN   the channel ends, as it does when the
supervisor dies; all that runs below it is ended first

It is a program of its own, started with an empty environment before the configuration is read: all modules are
imported, and no owner's data is in its memory. A child gets its slice over a channel that the forkserver only
passes on, after it has become who it is to be.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from setproctitle import setproctitle

from ownhost.identity import become, keyrings, prctl
from ownhost.identity.identity import Identity
from ownhost.identity.shedding import CONTROL, Before, Wanted, shed
from ownhost.processes import control_groups, pulse
from ownhost.processes.control_groups import ControlGroups
from ownhost.processes.descendants import end_all, end_strangers
from ownhost.processes.descriptors import close_all, raise_limit
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Exited, Failed, Fork, Message, Signal, Started
from ownhost.processes.table import PROCESSES

END = 8.0  # seconds that all below it gets to be ended: less than the supervisor waits
HIGHEST = -20  # of nice values: the most that a process gets of a processor
BRIEFLY = 0.02  # seconds that what an ended launcher left running may take of everybody's, at a time


def main() -> NoReturn:
    """Run the forkserver on the channel whose descriptor its parent names as the only argument."""
    given = int(sys.argv[1])
    if given != CONTROL:
        os.dup2(given, CONTROL, inheritable=False)
        os.close(given)
    os.set_inheritable(CONTROL, False)
    prctl.adopt_orphans()
    prctl.set_dumpable(False)
    keyrings.join_new_session_keyring()  # nothing of root's is in it, should a child ever fail to leave it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_limit()
    setproctitle("ownhost: forkserver")
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a service manager tells all: it is the supervisor's
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR["forkserver"])
    groups = ControlGroups(control_groups.delegated())
    for process in PROCESSES.values():
        process.rehearse()
    if os.geteuid() == 0:  # only now: what has been loaded may lie in a home that nobody else can enter
        become.limit_forkserver()
    Forkserver(channel, groups).run()


class Forkserver:
    """Forks on the supervisor's word, reaps, and says who left."""

    def __init__(self, channel: Channel, groups: ControlGroups) -> None:
        self.channel = channel
        self.groups = groups
        self.before = Before.now()  # what its children are, before they shed it
        self.children: dict[int, int] = {}  # pid -> serial number of the order
        self.has_strangers = False  # that could not be ended yet
        # A child's end wakes the loop through this pipe.
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> NoReturn:
        """Serve until the channel ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            woken = self.has_strangers
            for descriptor, _ in poll.poll(BRIEFLY * 1_000 if self.has_strangers else None):
                if descriptor == self.wake_read:
                    woken = True
                else:
                    self.take_message()
            if woken:
                self.reap()

    def take_message(self) -> None:
        """Obey one message; at the end of the channel, end everything."""
        received = self.channel.receive()
        if received is None:
            self.end()
        message, descriptors = received
        self.obey(message, descriptors)

    def obey(self, message: Message, descriptors: list[int]) -> None:
        """Fork, or pass a signal on."""
        match message:
            case Fork():
                self.fork(message, *descriptors)
                close_all(descriptors)
            case Signal():
                # Only this process reaps, so a pid in `children` is still ours.
                if message.pid in self.children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(message.pid, message.number)

    def fork(self, order: Fork, control: int, page: int) -> None:
        """Fork one process and tell the supervisor its pid."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"ownhost: fork failed: {error.strerror}", file=sys.stderr)
            pid = -1
        if pid == 0:
            _child(self.wanted(order, control, parent), order.role, page)
        if pid > 0:
            self.children[pid] = order.serial
        self.channel.send(Started(order.serial, max(pid, 0)))

    def wanted(self, order: Fork, control: int, parent: int) -> Wanted:
        """What a child is to be."""
        process = PROCESSES[order.role]
        return Wanted(
            Identity(order.uid, order.gid, tuple(order.groups), order.name, order.nice),
            self.before,
            owners=process.owners,
            no_new_privs=process.no_new_privs,
            processes=(order.processes[0], order.processes[1]) if order.processes else None,
            umask=order.umask,
            session=True,
            control=control,
            parent=parent,
            control_group=None if process.no_new_privs else self.groups.name(order.serial),
        )

    def reap(self) -> None:
        """Collect children that ended, and end what they left running: that is a child of this process now."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_read, 4096)
        for child in list(self.children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self.groups.end_one(self.children.pop(pid))
                self.channel.send(Exited(pid, os.waitstatus_to_exitcode(status)))
        self.has_strangers = not end_strangers(self.children, BRIEFLY)

    def end(self) -> NoReturn:
        """The supervisor is gone: so is everything."""
        with contextlib.suppress(OSError):  # what is to be ended may keep all processors busy
            os.setpriority(os.PRIO_PROCESS, 0, HIGHEST)
        self.groups.end()
        end_all(END)
        os._exit(0)


def _child(wanted: Wanted, role: str, page: int) -> NoReturn:
    """What a new process does first: become who it is to be. Only then is it sent anything to serve."""
    status = 70  # EX_SOFTWARE
    try:
        pulse.OWN.pulse = pulse.own_page(page)
        shed(wanted)
        setproctitle(f"ownhost: {role} {wanted.identity.name}")
        PROCESSES[role].main(Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[role]))
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        _say_why(role)
    finally:
        os._exit(status)


def _say_why(role: str) -> None:
    """Tell the supervisor, for the log: there is no terminal any more."""
    with contextlib.suppress(Exception):
        channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[role])
        channel.send(Failed(traceback.format_exc()[-4096:]))


if __name__ == "__main__":
    main()
