"""The forkservers.

NAME        fork gates, workers, loggers and launchers, warm; end what programs of an ended launcher left
            running
TRUSTS      the supervisor; no other process speaks to them
RUNS AS     root's uid. After loading, their only capabilities are SETUID, SETGID, SETPCAP, KILL, SYS_NICE and
            SYS_RESOURCE. There are two. The forkserver has launchers and programs; its bounding set is full,
            or sudo would be root in name only. The confined one, forked by it, has all others, and is under
            no_new_privs and a filter
TALKS TO    the supervisor, over a channel each
ENDS WHEN   the channel ends, as it does when the supervisor dies; all processes below it are ended first

They are one program, started with an empty environment before the configuration is read: all modules
are imported, and no owner's data is in their memory. A child first takes its identity. Then it gets
its slice, over a channel that a forkserver only passes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from functools import partial
from typing import NoReturn

from setproctitle import setproctitle

from ownhost.identity import become, keyrings, prctl, seccomp
from ownhost.identity.call_numbers import this_machine
from ownhost.identity.identity import Identity
from ownhost.identity.shedding.line import Before, Wanted
from ownhost.identity.shedding.surroundings import CONTROL
from ownhost.identity.shedding.walk import shed
from ownhost.processes import control_groups, heap, heartbeat
from ownhost.processes.control_groups import ControlGroups
from ownhost.processes.descendants import end_all, end_below, strangers
from ownhost.processes.descriptors import close_all, raise_limit
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Exited, Failed, Fork, Message, Signal, Started
from ownhost.processes.spare import Spare
from ownhost.processes.table import PROCESSES
from ownhost.processes.worker import rehearsal

END = 8.0  # seconds to end all processes below it: less than the supervisor waits
HIGHEST = -20  # nice value: the largest share of a processor
ROUND = 5.0  # seconds for a process that ends what an owner's launcher left running
REHEARSALS = 10  # checks of its own state, as each child makes one: after some, Python is faster at it
SPARES = 3  # spare processes in a row that may end without an order; then no more are forked
# Modules that a worker uses before it serves, which the forkserver cannot rehearse.
BEFORE_THAT = (
    "__main__",
    "ownhost.identity.",
    "ownhost.processes.messages",
    "ownhost.processes.slices",
    "ownhost.processes.spare",
)
AT_A_TIME = 0.05  # seconds for the forkserver itself to do that


def main() -> NoReturn:
    """Run both forkservers on the channels whose descriptors their parent passes as arguments."""
    if this_machine() is None:
        sys.exit(1)  # the supervisor says why
    given = [int(argument) for argument in sys.argv[1:]]
    control, confined_control = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, CONTROL + 1) for one in given)
    close_all(given)
    os.dup2(control, CONTROL, inheritable=False)
    os.close(control)
    prctl.adopt_orphans()
    prctl.set_dumpable(False)
    keyrings.join_new_session_keyring()  # nothing of root's is in it, if a child should ever fail to leave it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_limit()
    setproctitle("ownhost: forkserver")
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a service manager tells all: it is the supervisor's
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR["forkserver"])
    groups = ControlGroups(control_groups.delegated())
    groups.begin()
    for process in PROCESSES.values():
        process.rehearse()
    _kept = arrange()  # this never returns
    if os.geteuid() == 0:  # only now: the modules may be in a home that only root can enter
        become.limit_forkserver()
    if confined := fork_confined(confined_control):
        Forkserver(channel, groups, confined).run()
    Forkserver(channel, ControlGroups(None), spares=True).run()


def arrange() -> list[list[object]]:
    """Arrange workers' objects side by side in memory, as long as the result is kept. After that, only fork."""
    first_request = heap.executed(partial(rehearsal.rehearse_first_request, 1))
    gc.collect()
    gaps = [heap.fill_gaps()]  # otherwise the copies would lie in gaps, far apart: 0.15 MiB for each worker
    heap.gather(first_request, BEFORE_THAT)
    # Python's cache of attributes has names that workers never use, and writes to each that it evicts: 0.2 MiB.
    sys._clear_type_cache()
    rehearsal.rehearse_first_request()
    gc.collect()
    gaps.append(heap.fill_gaps())
    gc.freeze()
    return gaps


def fork_confined(control: int) -> int:
    """Fork the confined forkserver, which has this channel. Returns its pid; 0 in it.

    All processes that deal with the network are its children. It executes nothing, and so can do
    without rights and system calls that owners' programs may need: neither it nor a child of it
    ever gets them back.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.dup2(control, CONTROL, inheritable=False)
        prctl.adopt_orphans()
        setproctitle("ownhost: forkserver of gates and workers")
        if os.geteuid() == 0:
            become.limit_confined_forkserver()
        prctl.set_no_new_privs()
        seccomp.install(seccomp.FORKSERVER)
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    os.close(control)
    return pid


class Forkserver:
    """Forks for the supervisor, reaps, and reports who left.

    `confined` is the pid of the one below it; 0: none. `spares`: the next worker is forked before
    it is needed.
    """

    def __init__(self, channel: Channel, groups: ControlGroups, confined: int = 0, *, spares: bool = False) -> None:
        self.channel = channel
        self.groups = groups
        self.confined = confined
        self.spares = SPARES if spares else 0  # more of them may end without an order
        self.spare: Spare | None = None
        self.children: dict[int, int] = {}  # pid -> serial number of the order
        self.ender: Ender | None = None  # ends what an owner's launcher left running
        self.has_failed = False  # the last one of these
        # A child's end wakes the loop through this pipe.
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        for _ in range(REHEARSALS):
            self.before = Before.now()  # what its children are, before they give anything up

    def run(self) -> NoReturn:
        """Serve until the channel ends."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            ready = poll.poll(0 if self.spares and self.spare is None else None)
            if not ready:
                self.fork_spare()
            for descriptor, _ in ready:
                try:
                    if descriptor == self.wake_read:
                        self.reap()
                    else:
                        self.on_message()
                except ConnectionError:  # there is no one to tell
                    self.end()

    def on_message(self) -> None:
        """Obey one message; at the end of the channel, end everything."""
        received = self.channel.receive()
        if received is None:
            self.end()
        message, descriptors = received
        self.obey(message, descriptors)

    def obey(self, message: Message, descriptors: list[int]) -> None:
        """Fork, or pass on a signal."""
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
        """Fork one process, or use the spare one, and tell the supervisor its pid."""
        replaced = self.ender if self.ender is not None and self.ender.owner.uid == order.uid else None
        if replaced is not None:
            replaced.stop()
            self.ender = None
        pid = self.use_spare(order, control, page) or self.fork_now(order, control, page)
        if pid > 0:
            self.children[pid] = order.serial
        self.channel.send(Started(order.serial, pid))
        if replaced is not None:
            self.reap()

    def fork_now(self, order: Fork, control: int, page: int) -> int:
        """Fork a process. Returns its pid; 0 if that fails."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"ownhost: fork failed: {error.strerror}", file=sys.stderr)
            return 0
        if pid == 0:
            self.be(parent, order, control, page)
        return pid

    def fork_spare(self) -> None:
        """Make a spare process for the next worker, while there is nothing else to do."""
        try:
            self.spare = Spare(rehearsal.warm_up, partial(self.be, os.getpid()))
        except OSError:
            self.spares = 0  # workers are forked on demand

    def use_spare(self, order: Fork, control: int, page: int) -> int:
        """Give the spare process an order. Returns its pid; 0 if that fails."""
        spare = self.spare
        if spare is None or order.role != spare.role or not spare.give(order, control, page):
            return 0
        self.spare, self.spares = None, SPARES
        return spare.pid

    def be(self, parent: int, order: Fork, control: int, page: int) -> NoReturn:
        """In a child: carry out the order."""
        _child(self.wanted(order, control, parent), order.role, page)

    def wanted(self, order: Fork, control: int, parent: int) -> Wanted:
        """The state that a child must have."""
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
        """Collect children that ended, and end what they left running, which is a child of this process now."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_read, 4096)
        for child in list(self.children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                self.groups.end_one(self.children.pop(pid))
                self.channel.send(Exited(pid, os.waitstatus_to_exitcode(status)))
        if self.spare is not None and self.spare.has_ended():
            self.spare = None
            self.spares -= 1
        if self.ender is not None and self.ender.has_ended():
            self.has_failed, self.ender = self.ender.failed, None
        if self.ender is None and (left := strangers(self.children, self.helpers)):
            self.end_strangers(left[0])

    @property
    def helpers(self) -> tuple[int, ...]:
        """The pids of its children that it did not fork on an order."""
        return (self.confined, self.spare.pid) if self.spare is not None else (self.confined,)

    def end_strangers(self, pid: int) -> None:
        """Have a process and others of its owner ended. They may fork without end, and other work must not wait.

        So a process of their owner does it, which sees them below this one.
        """
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{pid}")
            if self.has_failed or not self.before.root or not status.st_uid or not status.st_gid:
                self.has_failed = False
                known = {*self.children, *self.helpers}
                end_below(os.getpid(), known, AT_A_TIME)  # set-user-id programs are among them
            else:
                self.ender = Ender(Identity(status.st_uid, status.st_gid, (), f"#{status.st_uid}"), self)

    def end(self) -> NoReturn:
        """The supervisor is gone: end everything."""
        with contextlib.suppress(OSError):  # the processes to end may keep all processors busy
            os.setpriority(os.PRIO_PROCESS, 0, HIGHEST)
        self.groups.end()
        end_all(END)
        os._exit(0)


def _child(wanted: Wanted, role: str, page: int) -> NoReturn:
    """A new process's first steps: take its identity. Only then does it get anything to serve."""
    status = 70  # EX_SOFTWARE
    try:
        heartbeat.OWN.heartbeat = heartbeat.own_page(page)
        shed(wanted)
        process = PROCESSES[role]
        setproctitle(f"ownhost: {role} {wanted.identity.name}" if process.owners else f"ownhost: {role}")
        process.main(Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[role]))
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        _say_why(role)
    finally:
        os._exit(status)


class Ender:
    """A process that ends what is left of an owner's below the forkserver, as that owner."""

    def __init__(self, owner: Identity, forkserver: Forkserver) -> None:
        self.owner = owner
        self.failed = False
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._work(Wanted(owner, forkserver.before, session=True, control=CONTROL, parent=parent), forkserver)

    def _work(self, wanted: Wanted, forkserver: Forkserver) -> NoReturn:
        status = 1
        try:
            os.close(CONTROL)
            os.open(os.devnull, os.O_RDWR)  # it replaces the channel, which is not this process's
            shed(wanted)
            setproctitle(f"ownhost: ending what is left of {self.owner.name}")
            end_below(wanted.parent, {*forkserver.children, *forkserver.helpers, os.getpid()}, ROUND)
            status = 0
        finally:
            os._exit(status)

    def has_ended(self) -> bool:
        """Whether it has finished, with or without success."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self.failed = status != 0
        return pid != 0

    def stop(self) -> None:
        """End it: it does not know of a child that is about to appear."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _say_why(role: str) -> None:
    """Tell the supervisor, for the log: there is no terminal any more."""
    with contextlib.suppress(Exception):
        channel = Channel(socket.socket(fileno=CONTROL), FROM_SUPERVISOR[role])
        channel.send(Failed(traceback.format_exc()[-4096:]))


if __name__ == "__main__":
    main()
