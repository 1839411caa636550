"""The supervisor.

NAME        reads the configuration, opens listeners and logs, decides what runs
TRUSTS      the configuration; from its processes only the messages in `messages.TO_SUPERVISOR`
RUNS AS     root's uid with CAP_DAC_OVERRIDE and CAP_NET_BIND_SERVICE, and no other
TALKS TO    every process, over one channel each; reads nothing from the network
ENDS WHEN   it is told to by a signal, or the forkserver dies; all processes end with it
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from setproctitle import setproctitle

from ownhost.config.directive import ConfigError
from ownhost.identity.seccomp import SeccompError
from ownhost.modules.mpm import GRACEFUL_SHUTDOWN_TIMEOUT, WORKER_IDLE_TIMEOUT
from ownhost.modules.owners import MAX_WORKERS
from ownhost.processes.control_groups import ControlGroups, delegated
from ownhost.processes.descriptors import close_all
from ownhost.processes.mailbox import credits_for, handover_size
from ownhost.processes.messages import (
    Busy,
    Channel,
    Exited,
    Failed,
    Mailbox,
    Message,
    ProtocolError,
    Ready,
    Relay,
    Resolved,
    Started,
    Want,
)
from ownhost.processes.options import Options, read_config
from ownhost.processes.slices import DEFAULT_IDENTITY, FRONTS, ProgramSlice
from ownhost.processes.supervisor import startup
from ownhost.processes.supervisor.admission import Admission
from ownhost.processes.supervisor.announcing import announce
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.dispatch import Answer, Dispatch
from ownhost.processes.supervisor.examination import ForkserverGone
from ownhost.processes.supervisor.forking import ForkserverProcess
from ownhost.processes.supervisor.fronts import FrontMailbox
from ownhost.processes.supervisor.logsenders import LogSenders
from ownhost.processes.supervisor.mailboxes import Services
from ownhost.processes.supervisor.neutral import GATES, Neutral
from ownhost.processes.supervisor.policy import SpawnPolicy
from ownhost.processes.supervisor.preparation import Preparation
from ownhost.processes.supervisor.provisions import Provider
from ownhost.processes.supervisor.relaying import Relaying
from ownhost.processes.supervisor.resolving import Resolving
from ownhost.processes.supervisor.room import Room, sensible
from ownhost.processes.supervisor.stopping import Stopping
from ownhost.processes.supervisor.watching import Watch
from ownhost.request import bugs
from ownhost.request.request import Level

OF_IDENTITIES = ("worker", "launcher", "program", "resolver")  # roles with the numbers of identities
FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)  # the signals of a process that was killed from outside
NO_PROCESSES = (0, 0)  # of RLIMIT_NPROC: a neutral process starts none


def run(options: Options, forkserver: ForkserverProcess) -> int:
    """Run the server in the foreground until a signal ends it. Returns the exit status."""
    ended = contextlib.ExitStack()  # closed when no process is left: log programs take the last lines
    try:
        start = Preparation(read_config(options), strict=options.strict, end=ended, forkserver=forkserver)
        start.take_steps()
        return asyncio.run(Supervisor(start, forkserver).run())
    except (startup.StartError, SeccompError, ForkserverGone) as error:
        print(f"ownhost: {error}", file=sys.stderr)
    except ConfigError as error:
        print(error, file=sys.stderr)
    finally:
        forkserver.end()
        ControlGroups(delegated()).end()  # it may have been killed before it could
        ended.close()
    return 1


class Supervisor:
    """The running processes, and the handlers of their requests."""

    def __init__(self, start: Preparation, forkserver: ForkserverProcess) -> None:
        self.plan = start.plan
        self.forkserver = forkserver
        settings = self.plan.config.main.settings
        self.children = start.children
        self.is_root = os.geteuid() == 0
        self.logs = start.logs
        self.keys = start.keys
        self.costs, self.remarks = start.costs(), start.remarks
        self.log_senders = LogSenders(self.children)
        self.provider = Provider(
            self.plan, self.logs, self.keys, start.backend_files, start.state, self.log_senders.new
        )
        self.listeners = start.listeners
        self.pid_file = start.pid_file
        self.capacity = credits_for(len(self.plan.identities) + bool(self.plan.proxies))
        started = self.start_worker, self.start_launcher, self.end_workers
        self.services = Services(self.capacity, settings[WORKER_IDLE_TIMEOUT], *started)
        room = Room(settings[MAX_WORKERS] or sensible(*startup.machine()))
        self.admission = Admission(room, self.children, self.services.attend, self.welcome, self.warn)
        self.resolving = Resolving(self.children, self.start_resolver)
        self.relaying = Relaying(self.plan, self.services, self.resolving, self.children.tell)
        self.fronts = FrontMailbox(self.capacity) if self.plan.proxies else None
        shared = self.logs, self.log_senders, self.listeners, self.fronts
        self.neutral = Neutral(self.plan, *shared, handover_size(self.capacity), self.fork)
        self.ready: set[int] = set()  # gates that accept connections
        self.stopping = Stopping(self.children, lambda: self.services.have_mail, self.finish)
        self.finished: asyncio.Future[int]
        # Every request that a process may make, and its handler; `Channel` refuses all others.
        answers: dict[type[Message], Answer] = {
            Ready: self.on_ready,
            Want: self.on_want,
            Relay: self.relaying.on_relay,
            Resolved: self.resolving.on_resolved,
            Busy: self.on_busy,
            Failed: self.on_failed,
        }
        self.hearing = Dispatch(answers, self.end_violator)

    async def run(self) -> int:
        """Start everything, and serve until the end."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.on_trouble)
        self.finished = self.loop.create_future()
        for control in self.children.controls:
            self.loop.add_reader(control.fileno(), self.on_forkserver, control)
        self.install_signal_handlers()
        setproctitle("ownhost: supervisor")
        self.logs.watch_pipes(self.loop)
        Watch(self.children, self.forget, self.complain, time.monotonic()).look()
        self.neutral.start_all()
        try:
            return await self.finished
        finally:
            self.pid_file.remove()

    def on_trouble(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something failed: descriptors or memory ran out, or there is a bug."""
        error = context.get("exception")
        if bugs.is_shortage(error):
            self.logs.error(Level.CRIT, f"something could not be done: {error.strerror}")
        else:
            trace = "".join(traceback.format_exception(error)) if error else ""
            self.logs.error(Level.CRIT, f"{context['message']}\n{trace}")

    def warn(self, message: str) -> None:
        """Write a warning to the main log."""
        self.logs.error(Level.WARN, message)

    def complain(self, message: str) -> None:
        """Write an error to the main log."""
        self.logs.error(Level.ERROR, message)

    def install_signal_handlers(self) -> None:
        """Handle signals as Apache does."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop_now, number)
        self.loop.add_signal_handler(signal.SIGWINCH, self.stop_gracefully)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.loop.add_signal_handler(number, self.refuse_reload, number)

    # The forkservers

    def fork(self, role: str, number: int, identity: int, content: object, descriptors: list[int]) -> Child:
        """Have a process forked, and read its messages."""
        who = self.plan.roles.get(role) or self.plan.identities[identity]
        processes: Sequence[int] = ()  # without root, the limits are the caller's
        if self.is_root:
            processes = NO_PROCESSES if role in self.plan.roles else self.plan.processes(identity)
        child = self.children.fork(role, number, who, content, descriptors, processes)
        self.hearing.begin(child)
        return child

    def on_forkserver(self, control: Channel) -> None:
        """Handle a forkserver's message."""
        with contextlib.suppress(BlockingIOError):
            while received := control.receive():
                match received[0]:
                    case Started() as started:
                        self.on_started(started)
                    case Exited() as exited:
                        self.on_exited(exited)
            self.loop.remove_reader(control.fileno())
            if not self.finished.done():
                self.logs.error(Level.EMERG, "the forkserver is gone, and every process with it: stopping")
            self.finish(1)

    def on_started(self, started: Started) -> None:
        """A child has a pid, or could not be forked."""
        child = self.children.started(started)
        if not child.pid:
            self.gone(child, failed=True)

    def on_exited(self, exited: Exited) -> None:
        """A child is gone."""
        child = self.children.exited(exited)
        if child is None or child.gone:
            return
        if exited.status != 0 and not child.stopping:
            how = _signal_name(-exited.status) if exited.status < 0 else f"with status {exited.status}"
            who = f" {self.plan.identities[child.number].name}" if child.role in OF_IDENTITIES else ""
            self.logs.error(Level.ERROR, f"{child.role}{who} (pid {exited.pid}) ended {how}")
        self.gone(child, failed=exited.status != 0, killed=exited.status in FROM_OUTSIDE)

    def gone(self, child: Child, failed: bool, *, killed: bool = False) -> None:
        """Forget a child, and let its policy decide what comes next."""
        child.gone = True
        self.hearing.end(child)
        child.hang_up()
        self.log_senders.leave(child.log_senders)
        for board, page in child.pages:
            board.give_back(page)
        for program in child.programs:
            program.stopping = True
            self.children.kill(program)
        if child.role == "program":
            return
        now = time.monotonic()
        policy = self.policy_of(child)
        if child.stopping or child.is_leaving(now):
            policy.dismissed()
        else:
            policy.ended(now, now - child.since, failed, killed=killed)
        if policy.throttled and policy.not_before > now:
            self.say_throttled(child, policy, now)
        if child.role == "resolver":
            self.resolving.gone(child)
        elif child.role == "launcher":
            self.loop.call_later(max(0.0, policy.not_before - now), self.attend_orders, child.number)
        elif child.role == "worker":
            self.on_worker_gone(child.number, failed=failed and not child.stopping)
        else:
            self.loop.call_later(max(0.0, policy.not_before - now), self.start_again, child)
        if child is self.log_senders.logger:
            self.log_senders.logger = None
        if self.stopping.has_begun:
            self.stopping.go_on()

    def forget(self, child: Child) -> None:
        """Go on without a child that was killed, but that the kernel still holds."""
        self.gone(child, failed=True, killed=True)

    def on_worker_gone(self, number: int, *, failed: bool) -> None:
        """Another worker must read what is left in a mailbox; and there is room for one more worker."""
        if self.stopping.is_ending:
            return
        if not self.services[number].policy.workers:
            self.admission.shut(number)
            self.resolving.leave(number)
            if failed:
                self.end_launcher(number)
        self.services.attend(number)
        self.admission.left()

    def start_again(self, child: Child) -> None:
        """A neutral process has ended: replace it, unless the server ends."""
        if not self.stopping.has_begun:
            self.neutral.start(child.role, child.number)

    def attend_orders(self, number: int) -> None:
        """An identity's launcher is gone: another one may start, unless the server ends."""
        if not self.stopping.has_begun:
            self.services.attend_orders(number)

    def say_throttled(self, child: Child, policy: SpawnPolicy, now: float) -> None:
        """Log that processes keep dying, and that others are started later."""
        whose = f"identity {self.plan.identities[child.number].name}: its " if child.role in OF_IDENTITIES else "the "
        habit = f"{whose}{child.role} processes keep dying, {policy.early_deaths} in a row"
        self.logs.error(Level.ERROR, f"{habit}; next try in {policy.not_before - now:.1f} s")

    def policy_of(self, child: Child) -> SpawnPolicy:
        """The policy for this child."""
        match child.role:
            case "worker":
                return self.services[child.number].policy
            case "launcher":
                return self.services[child.number].launcher
            case "resolver":
                return self.resolving.policies[child.number]
            case _:
                return self.neutral.policies[child.role, child.number]

    # What owners' processes get

    def start_worker(self, number: int) -> None:
        """Start a worker, and the programs that it uses."""
        service = self.services[number]
        self.services.unwatch(service)
        if not self.admission.admit(number):
            return
        service.policy.started()
        given = self.provider.provide(number, service.workers.fileno(), service.orders[0].fileno())
        given.slice.left_over = [given.add(end.fileno()) for end in service.left_over]
        child = self.fork("worker", number, number, given.slice, given.descriptors)
        child.log_senders, child.pages = given.log_senders, given.pages
        close_all(given.ends)
        while service.left_over:
            service.left_over.pop().close()
        for command, ends in given.programs:
            child.programs.append(self.fork("program", number, number, ProgramSlice(command), ends))
            close_all(ends)

    def welcome(self, number: int) -> None:
        """There is room for the worker of a requested identity."""
        self.admission.open(number, self.services.open(number).fileno())

    def start_launcher(self, number: int) -> None:
        """Start an identity's launcher."""
        service = self.services[number]
        service.launcher.started()
        given = self.provider.provide_launcher(number, service.orders[1].fileno())
        child = self.fork("launcher", number, number, given.slice, given.descriptors)
        child.log_senders = given.log_senders
        close_all(given.ends)

    def start_resolver(self, number: int) -> Child:
        """Start the process that looks up the names in an identity's requests."""
        return self.fork("resolver", number, DEFAULT_IDENTITY, None, [])

    def end_launcher(self, number: int) -> None:
        """The last worker of an identity has not ended well: end all that it had started, or left behind."""
        for child in self.children.of("launcher", number):
            child.stopping = True
            self.children.dismiss(child)

    def end_workers(self, number: int) -> None:
        """One of an identity's workers has shut down the mailbox of all of them: end them."""
        who = self.plan.identities[number].name
        self.logs.error(
            Level.ERROR, f"identity {who}: one of its processes has shut down its workers' mailbox: they end"
        )
        for child in self.children.of("worker", number):
            child.stopping = True
            self.children.kill(child)

    def end_fronts(self) -> None:
        """A front has shut down the mailbox of all of them: restart them."""
        self.logs.error(Level.ERROR, "a front has shut down the fronts' mailbox: they end")
        for child in self.children.of("front"):
            self.children.kill(child)

    # Requests

    def end_violator(self, child: Child, error: ProtocolError) -> None:
        """End a process that has broken the protocol."""
        self.logs.error(Level.CRIT, f"{child.role} (pid {child.pid}) broke the protocol and is ended: {error}")
        self.children.kill(child)

    def on_ready(self, child: Child, _message: Message) -> None:
        """A gate accepts connections. When all do for the first time, the server is up."""
        started = len(self.ready) < GATES
        self.ready.add(child.number)
        if started and len(self.ready) == GATES:
            announce(self.plan, self.logs, self.costs, self.remarks())

    def on_failed(self, child: Child, message: Message) -> None:
        """A process says why it ends. If one fails before the server is up, the server does not start."""
        assert isinstance(message, Failed)
        self.logs.error(Level.ERROR, f"{child.role} (pid {child.pid}) fails: {message.reason}")
        self.hearing.end(child)
        self.children.kill(child)
        if child.role != "worker" and len(self.ready) < GATES:
            print(f"ownhost: a {child.role} could not start; the error log says why", file=sys.stderr, flush=True)
            self.finish(1)

    def on_want(self, child: Child, message: Message) -> None:
        """A process has a connection for an identity: give it the mailbox, and have a worker read it."""
        assert isinstance(message, Want)
        if message.identity == FRONTS and child.role == "gate" and self.fronts is not None:
            if self.fronts.renew():
                self.end_fronts()
            self.children.tell(child, Mailbox(FRONTS), [self.fronts.upper.fileno()])
            return
        if not 0 <= message.identity < len(self.plan.identities):
            self.logs.error(Level.CRIT, f"{child.role} (pid {child.pid}) asked for an unknown identity: it is ended")
            self.children.kill(child)
            return
        if self.admission.is_full and not self.services[message.identity].policy.workers:
            self.admission.wait(message.identity)
            return
        self.children.tell(child, Mailbox(message.identity), [self.services.open(message.identity).fileno()])

    def on_busy(self, child: Child, _message: Message) -> None:
        """A worker cannot keep up: start one more, if the policy allows it."""
        if self.stopping.has_begun or self.admission.is_full:
            return
        if self.services[child.number].policy.busy(time.monotonic()):
            self.start_worker(child.number)

    # The end

    def stop_now(self, number: int) -> None:
        """TERM, INT."""
        self.logs.error(Level.NOTICE, f"caught {signal.Signals(number).name}, stopping")
        self.stopping.now()

    def stop_gracefully(self) -> None:
        """WINCH: accept nothing more, finish active requests, then end."""
        if self.stopping.has_begun:
            return
        self.logs.error(Level.NOTICE, "caught SIGWINCH, finishing active requests, then stopping")
        for listener in self.listeners:
            listener.close()
        self.stopping.gracefully(self.plan.config.main.settings[GRACEFUL_SHUTDOWN_TIMEOUT])

    def refuse_reload(self, number: int) -> None:
        """HUP, USR1."""
        name = signal.Signals(number).name
        self.logs.error(Level.WARN, f"caught {name}: reloading is not supported yet; restart to apply changes")

    def finish(self, status: int) -> None:
        """End the loop; `run` then ends the forkserver, and so every process."""
        if not self.finished.done():
            self.finished.set_result(status)


def _signal_name(number: int) -> str:
    name = next((known.name for known in signal.Signals if known == number), "a real-time signal")
    return f"by signal {number} ({name})"
