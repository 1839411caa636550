"""The forkserver.

NAME        forks gates, workers, loggers and launchers, warm; ends what programs of an ended launcher left running
TRUSTS      the supervisor; nothing else speaks to it
RUNS AS     root's uid; once all is loaded, of capabilities SETUID, SETGID, SETPCAP, KILL and SYS_NICE alone
TALKS TO    the supervisor, over one channel
ENDS WHEN   the channel ends, as it does when the supervisor dies; all that runs below it is ended first

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

from ownhost.identity import become, prctl
from ownhost.identity.identity import Identity
from ownhost.processes.descendants import end_all, kill, strangers
from ownhost.processes.descriptors import raise_limit
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Exited, Failed, Fork, Message, Signal, Started
from ownhost.processes.table import PROCESSES

CONTROL = 3  # the descriptor on which the forkserver and every child of it have their channel


def main() -> NoReturn:
    """Run the forkserver on the channel whose descriptor its parent names as the only argument."""
    given = int(sys.argv[1])
    if given != CONTROL:
        os.dup2(given, CONTROL, inheritable=False)
        os.close(given)
    os.set_inheritable(CONTROL, False)
    prctl.adopt_orphans()
    prctl.set_dumpable(False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_limit()
    setproctitle("ownhost: forkserver")
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a service manager tells all: it is the supervisor's
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR["forkserver"])
    for process in PROCESSES.values():
        process.rehearse()
    if os.geteuid() == 0:  # only now: what has been loaded may lie in a home that nobody else can enter
        become.limit_forkserver()
    Forkserver(channel).run()


class Forkserver:
    """Forks on the supervisor's word, reaps, and says who left."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.children: set[int] = set()
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
            for descriptor, _ in poll.poll():
                if descriptor == self.wake_read:
                    self.reap()
                else:
                    self.take_message()

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
                (control,) = descriptors
                self.fork(message, control)
                os.close(control)
            case Signal():
                # Only this process reaps, so a pid in `children` is still ours.
                if message.pid in self.children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(message.pid, message.number)

    def fork(self, order: Fork, control: int) -> None:
        """Fork one process and tell the supervisor its pid."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"ownhost: fork failed: {error.strerror}", file=sys.stderr)
            pid = -1
        if pid == 0:
            _child(order, control, parent)
        if pid > 0:
            self.children.add(pid)
        self.channel.send(Started(order.serial, max(pid, 0)))

    def reap(self) -> None:
        """Collect children that ended, and end those that it adopted: their launcher is no more."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_read, 4096)
        for child in list(self.children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self.children.discard(pid)
                self.channel.send(Exited(pid, os.waitstatus_to_exitcode(status)))
        for orphan in strangers(self.children):
            kill(orphan)

    def end(self) -> NoReturn:
        """The supervisor is gone: so is everything."""
        end_all()
        os._exit(0)


def _child(order: Fork, control: int, parent: int) -> NoReturn:
    """What a new process does first: become who it is to be. Only then is it sent anything to serve."""
    status = 70  # EX_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _keep_only(control)
        process = PROCESSES[order.role]
        identity = Identity(order.uid, order.gid, tuple(order.groups), order.name, order.nice)
        if order.nice:
            os.setpriority(os.PRIO_PROCESS, 0, order.nice)
        become.become(identity, no_new_privs=process.no_new_privs)
        prctl.set_dumpable(False)
        # Last, because a change of credentials clears it; the parent may have died before it took effect.
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        setproctitle(f"ownhost: {order.role} {order.name}" if process.is_an_owners else f"ownhost: {order.role}")
        _leave_terminal()
        channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[order.role])
        process.main(channel)
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        _say_why(order.role)
    finally:
        os._exit(status)


def _say_why(role: str) -> None:
    """Tell the supervisor, for the log: there is no terminal any more."""
    with contextlib.suppress(Exception):
        channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[role])
        channel.send(Failed(traceback.format_exc()[-4096:]))


def _keep_only(control: int) -> None:
    """Close every inherited descriptor but the standard ones and the child's channel, which becomes CONTROL."""
    os.dup2(control, CONTROL, inheritable=False)
    os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))


def _leave_terminal() -> None:
    """A session of its own and no standard descriptors: a hostile process could type into a terminal it shares."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


if __name__ == "__main__":
    main()
