"""The directives of Apache's process models (mpm_common, prefork, worker, event) that have a meaning here.

Their numbers of processes are per identity: they limit the owner's programs, which serve one
request at a time, like prefork's processes. Workers start on demand, and have no threads.
"""

from __future__ import annotations

from ownhost.config.arguments import duration, ignored, integer
from ownhost.config.directive import SERVER_ONLY, Answer, Directive, Setting, declare

MAX_REQUEST_WORKERS = Setting("MaxRequestWorkers", 256)  # requests at a time, over all of an identity's programs
MAX_CONNECTIONS_PER_CHILD = Setting("MaxConnectionsPerChild", 0)  # requests before a process ends; 0: no limit
START_SERVERS = Setting("StartServers", 0)  # processes of a program that start at once
MIN_SPARE_SERVERS = Setting("MinSpareServers", 0)  # idle processes of a program that are kept
MAX_SPARE_SERVERS = Setting("MaxSpareServers", 10)  # idle processes of a program that are allowed
LISTEN_BACKLOG = Setting("ListenBacklog", 511)  # connections that the kernel queues; requests that wait for programs
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
        (
            "How many connections the kernel queues for a listening address. Also, how many "
            "requests wait for an identity's programs when MaxRequestWorkers are at work; one more "
            "is answered 503."
        ),
        integer(1, 65_535),
        setting=LISTEN_BACKLOG,
        default="511",
    ),
    Directive(
        "GracefulShutdownTimeout",
        "mpm_common",
        "seconds",
        SERVER_ONLY,
        "How long a graceful stop waits for active requests; 0 is as long as they take.",
        duration(),
        setting=GRACEFUL_SHUTDOWN_TIMEOUT,
        default="0",
    ),
    Directive(
        "WorkerIdleTimeout",
        "ownhost",
        "seconds",
        SERVER_ONLY,
        "How long a worker stays without a connection. Ownhost's own directive.",
        duration(),
        setting=WORKER_IDLE_TIMEOUT,
        default="60",
    ),
):
    declare(_directive)

_AT_ONCE = (
    "How many requests an identity's programs serve at the same time, over all of its programs. "
    "Others wait, up to Timeout and up to ListenBacklog of them. Files need no program, and do not "
    "count."
)
_PER_CHILD = (
    "How many requests a PHP or WSGI process serves before another replaces it; 0 is no limit. With "
    "1, each request has a new process."
)

for _name, _setting, _least, _text in (
    ("MaxRequestWorkers", MAX_REQUEST_WORKERS, 1, _AT_ONCE),
    ("MaxClients", MAX_REQUEST_WORKERS, 1, "The old name of MaxRequestWorkers."),
    ("MaxConnectionsPerChild", MAX_CONNECTIONS_PER_CHILD, 0, _PER_CHILD),
    ("MaxRequestsPerChild", MAX_CONNECTIONS_PER_CHILD, 0, "The old name of MaxConnectionsPerChild."),
    (
        "StartServers",
        START_SERVERS,
        0,
        (
            "How many processes PHP and WSGI start with an identity's first request for the "
            "program, up to MaxSpareServers of PHP or processes= of WSGI. With 0, they start on "
            "demand. ASGI starts processes= at once."
        ),
    ),
    (
        "MinSpareServers",
        MIN_SPARE_SERVERS,
        0,
        (
            "How many idle processes PHP and WSGI keep for an identity, beside those at work, as "
            "long as the program gets requests. With 0, WSGI keeps none; PHP keeps one if "
            "StartServers is set, as prefork does. ASGI has no spare processes, as each takes any "
            "number of requests."
        ),
    ),
    (
        "MaxSpareServers",
        MAX_SPARE_SERVERS,
        1,
        ("How many PHP or WSGI processes may be idle. More than these end. All end after a minute without a request."),
    ),
):
    declare(
        Directive(
            _name,
            "mpm_common",
            "number",
            SERVER_ONLY,
            _text,
            integer(_least),
            setting=_setting,
            default=str(_setting.default),
        )
    )

for _name, _setting, _text in (
    ("SendBufferSize", SEND_BUFFER_SIZE, "The socket's send buffer, in bytes."),
    ("ReceiveBufferSize", RECEIVE_BUFFER_SIZE, "The socket's receive buffer, in bytes."),
):
    declare(
        Directive(
            _name,
            "mpm_common",
            "number",
            SERVER_ONLY,
            f"{_text} Checked, but without effect yet.",
            integer(0),
            setting=_setting,
            answer=Answer.NO_EFFECT,
            default=str(_setting.default),
        )
    )

for _name, _text in (
    ("ServerLimit", "The highest MaxRequestWorkers that Apache may be reconfigured to."),
    ("MinSpareThreads", "How many idle threads are kept. Workers have none."),
    ("MaxSpareThreads", "How many threads may be idle. Workers have none."),
    ("ThreadLimit", "The highest ThreadsPerChild. Workers have no threads."),
    ("ThreadsPerChild", "How many threads a process has. Workers have none."),
    ("ThreadStackSize", "The size of a thread's stack."),
    ("AsyncRequestWorkerFactor", "How many idle connections the event MPM takes on per thread."),
    ("ListenCoresBucketsRatio", "How many processors share a listening socket. Gates share theirs."),
    ("EnableExceptionHook", "Whether modules may run code after a process has crashed."),
    ("MaxMemFree", "How much freed memory Apache's allocator keeps."),
    ("CoreDumpDirectory", "Where core dumps go. Workers are undumpable."),
    ("ScoreBoardFile", "Where Apache keeps its scoreboard."),
):
    declare(Directive(_name, "mpm_common", "value...", SERVER_ONLY, _text, ignored(), answer=Answer.NO_EFFECT))
