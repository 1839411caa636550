"""An owner's program that stays: what a launcher needs to know to start it, and a worker to talk to it.

The launcher makes a folder that only the identity can enter, with a listening socket in it, and starts processes as
they are needed. Each takes one request at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Protocol(StrEnum):
    """What is spoken on the socket."""

    FASTCGI = "fastcgi"
    HTTP = "http"


SOCKET = "{socket}"  # in commands, variables and files: the path of the program's socket
FOLDER = "{folder}"  # the folder that the launcher made


@dataclass(frozen=True, slots=True)
class App:
    """One program of one identity. Frozen, so that it is its own key: whatever differs is another program.

    With `listens`, each process finds the listening socket as its standard input (FCGI_LISTENSOCK_FILENO) and accepts
    by itself. Without, one process is started, which makes SOCKET itself and manages its own children (php-fpm).
    """

    name: str  # for people: titles, logs
    command: tuple[str, ...]
    protocol: Protocol
    module: str  # in whose name its complaints are logged
    echoes: bool = False  # its standard error has what its answers complain of once more (php-fpm's does)
    environment: tuple[tuple[str, str], ...] = ()  # beside those of any daemon (`identity.daemon_environment`)
    folder: str = "/"  # the working directory
    files: tuple[tuple[str, str], ...] = ()  # name and content: written into FOLDER before the start
    listens: bool = True
    keeps_lines: bool = False  # a process may be left to one worker between requests: there is one for each lease
    processes: int = 4  # at most; more requests wait
    at_once: int = 1  # requests that one process takes at the same time; 0: any number (ASGI), and all processes run
    first: int = 0  # processes that start at once
    spare: int = 0  # processes that are kept beside those at work
    most_spare: int = 0  # more idle ones are ended; 0: no limit
    max_requests: int = 0  # of one process before it is replaced; 0: no limit
    request_timeout: float = 0.0  # seconds; 0: the server's Timeout
    idle_timeout: float = 60.0  # seconds without a request before it is ended
    watched: tuple[str, ...] = ()  # files whose change restarts it
