"""The directives of Apache's process models (mpm_common, prefork, worker, event) that mean something here.

Ownhost starts workers on demand for each identity, so most of the counts have nothing to count.
"""

from __future__ import annotations

from ownhost.config.arguments import duration, ignored, integer
from ownhost.config.directive import SERVER_ONLY, Answer, Directive, Setting, declare

MAX_REQUEST_WORKERS = Setting("MaxRequestWorkers", 256)  # connections served at the same time, over all identities
MAX_CONNECTIONS_PER_CHILD = Setting("MaxConnectionsPerChild", 0)  # connections before a worker leaves; 0: no limit
LISTEN_BACKLOG = Setting("ListenBacklog", 511)  # connections that the kernel queues
SEND_BUFFER_SIZE = Setting("SendBufferSize", 0)  # bytes; 0: the system's default
RECEIVE_BUFFER_SIZE = Setting("ReceiveBufferSize", 0)  # bytes; 0: the system's default
GRACEFUL_SHUTDOWN_TIMEOUT = Setting("GracefulShutdownTimeout", 0.0)  # seconds; 0: for ever
WORKER_IDLE_TIMEOUT = Setting("WorkerIdleTimeout", 60.0)  # seconds

for _directive in (
    Directive(
        "ListenBacklog",
        "mpm_common",
        "number",
        SERVER_ONLY,
        "How many connections the kernel queues for a listening address.",
        integer(1, 65_535),
        setting=LISTEN_BACKLOG,
        default="511",
    ),
    Directive(
        "GracefulShutdownTimeout",
        "mpm_common",
        "seconds",
        SERVER_ONLY,
        "How long a graceful stop waits for requests under way; 0 is as long as they take.",
        duration(),
        setting=GRACEFUL_SHUTDOWN_TIMEOUT,
        default="0",
    ),
    Directive(
        "WorkerIdleTimeout",
        "ownhost",
        "seconds",
        SERVER_ONLY,
        "How long a worker without a connection stays. Ownhost's own directive.",
        duration(),
        setting=WORKER_IDLE_TIMEOUT,
        default="60",
    ),
):
    declare(_directive)

for _name, _setting, _text in (
    ("MaxRequestWorkers", MAX_REQUEST_WORKERS, "How many requests are served at the same time."),
    (
        "MaxConnectionsPerChild",
        MAX_CONNECTIONS_PER_CHILD,
        "How many connections a process serves before it leaves.",
    ),
    ("SendBufferSize", SEND_BUFFER_SIZE, "The socket's send buffer, in bytes."),
    ("ReceiveBufferSize", RECEIVE_BUFFER_SIZE, "The socket's receive buffer, in bytes."),
):
    declare(
        Directive(
            _name,
            "mpm_common",
            "number",
            SERVER_ONLY,
            f"{_text} Checked, but nothing acts on it yet.",
            integer(0),
            setting=_setting,
            answer=Answer.NO_EFFECT,
            default=str(_setting.default),
        )
    )

for _name, _text in (
    ("MaxClients", "The old name of MaxRequestWorkers."),
    ("MaxRequestsPerChild", "The old name of MaxConnectionsPerChild."),
    ("ServerLimit", "The highest MaxRequestWorkers that Apache may be reconfigured to."),
    ("StartServers", "How many processes start at once. Workers start on demand."),
    ("MinSpareServers", "How many idle processes are kept. Workers start on demand."),
    ("MaxSpareServers", "How many idle processes may be. See WorkerIdleTimeout."),
    ("MinSpareThreads", "How many idle threads are kept. Workers have none."),
    ("MaxSpareThreads", "How many idle threads may be. Workers have none."),
    ("ThreadLimit", "The highest ThreadsPerChild. Workers have no threads."),
    ("ThreadsPerChild", "How many threads a process has. Workers have none."),
    ("ThreadStackSize", "The size of a thread's stack."),
    ("AsyncRequestWorkerFactor", "How many idle connections the event MPM takes on per thread."),
    ("ListenCoresBucketsRatio", "How many processors share a listening socket. Gates share theirs."),
    ("EnableExceptionHook", "Whether modules may run code once a process has crashed."),
    ("MaxMemFree", "How much freed memory Apache's allocator keeps."),
    ("CoreDumpDirectory", "Where core dumps go. Workers are undumpable."),
    ("ScoreBoardFile", "Where Apache keeps its scoreboard."),
):
    declare(Directive(_name, "mpm_common", "value...", SERVER_ONLY, _text, ignored(), answer=Answer.NO_EFFECT))
