"""Serves a WSGI application on FastCGI: one process, one request at a time.

NAME       wsgi_runner.py SCRIPT CALLABLE [options]
RUNS AS    the application's owner, on the owner's own Python (3.8 or later). It needs nothing but the standard library
           and fastcgi_responder.py beside it; nothing of Ownhost can be imported here.
TALKS TO   workers of the same owner, that connect to the unix socket which is its standard input
           (FCGI_LISTENSOCK_FILENO).
ENDS WHEN  told to (SIGTERM: after the request under way), after --maximum-requests, or where one of them takes longer
           than --request-timeout.

Sources: PEP 3333; mod_wsgi's manual for how scripts are loaded.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import io
import locale
import os
import select
import signal
import site
import socket
import sys
import traceback
import types
from typing import Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Tuple
from wsgiref.util import FileWrapper

from fastcgi_responder import MOST_CONTENT, Broken, Exchange

Headers = List[Tuple[str, str]]


class Input(io.RawIOBase):
    """wsgi.input, unbuffered: a request's body."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.part = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come, or wait for it. Raises Broken if the client is gone."""
        if not self.part:
            self.part = memoryview(next(self.parts, b""))
        size = min(len(buffer), len(self.part))
        buffer[:size] = self.part[:size]
        self.part = self.part[size:]
        return size


class Errors(io.RawIOBase):
    """wsgi.errors, sys.stderr and sys.stdout: the error log, through the current request if there is one."""

    exchange: Exchange | None = None

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The process's own, for faulthandler and the like."""
        return 2

    def write(self, data: Any) -> int:
        """Send it at once."""
        taken = bytes(data)
        if self.exchange is not None:
            self.exchange.error(taken)
        else:
            with contextlib.suppress(OSError):
                os.write(2, taken)
        return len(taken)


class Answer:
    """A response that an application makes by PEP 3333."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.is_head = exchange.params.get("REQUEST_METHOD") == "HEAD"
        self.head: tuple[str, Headers] | None = None
        self.sent = False  # whether the head was sent
        self.left: int | None = None  # bytes that Content-Length still promises

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """start_response: remember the head until there is something to send with it."""
        if exc_info is not None:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the frame and the traceback would hold each other
        elif self.head is not None:
            raise AssertionError("start_response is called again, without exc_info")
        _check_head(status, headers)
        self.head = (status, list(headers))
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body, and the head first. Bytes beyond Content-Length are left out. Raises Broken."""
        if not isinstance(data, bytes):
            raise TypeError(f"a response's parts must be bytes, not {type(data).__name__}")
        if not data:
            return
        head = self._head_bytes()
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        self.exchange.output(head + (b"" if self.is_head else data))

    def _head_bytes(self) -> bytes:
        if self.sent:
            return b""
        if self.head is None:
            raise AssertionError("start_response must be called before there is a body")
        status, headers = self.head
        self.sent = True
        for name, value in headers:
            if name.lower() == "content-length":
                self.left = int(value)
        lines = ["Status: " + status, *(f"{name}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, result: Iterable[bytes]) -> None:
        """Send an application's result. Raises whatever the application does, and Broken."""
        if isinstance(result, (list, tuple)) and len(result) == 1:
            self._measure(result[0])
        for data in result:
            self.write(data)
            if self.sent and (self.left == 0 or self.is_head):
                break
        self.exchange.output(self._head_bytes())
        if self.left and not self.is_head:
            raise ValueError(f"the response is {self.left} bytes shorter than its Content-Length")

    def _measure(self, body: bytes) -> None:
        """Set the length of a body that is one part, if the application did not."""
        if self.head is None or self.sent or self.head[0][:3] in ("204", "304"):
            return
        if body and all(name.lower() != "content-length" for name, _ in self.head[1]):
            self.head[1].append(("Content-Length", str(len(body))))

    def fail(self) -> None:
        """Tell the client about a failure, if no success was sent yet. Raises Broken."""
        if self.sent:
            return
        self.sent = True
        self.exchange.output(
            b"Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n500 Internal Server Error\n"
        )


def _check_head(status: str, headers: Headers) -> None:
    """Check that a status and header fields can be sent. Raises TypeError, ValueError."""
    if not isinstance(status, str) or not isinstance(headers, list):
        raise TypeError("start_response takes a str and a list of tuples")
    if not (status[:3].isdigit() and status[3:4] in ("", " ")) or _has_controls(status):
        raise ValueError(f"a status must be like '200 OK', not {status!r}")
    for name, value in headers:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"header fields must be str, not {name!r}: {value!r}")
        if not name or _has_controls(name + value) or ":" in name or " " in name:
            raise ValueError(f"this is no header field: {name!r}: {value!r}")
        if name.lower() == "content-length" and not (value.isdigit() and value.isascii()):
            raise ValueError(f"Content-Length must be a number, not {value!r}")
        (name + value).encode("latin-1")


def _has_controls(text: str) -> bool:
    return any(char < " " and char != "\t" for char in text)


Application = Callable[[Dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Script:
    """The file of an application, as mod_wsgi treats it: of any name, loaded as a module of its own."""

    def __init__(self, path: str, variable: str) -> None:
        self.path = path
        self.variable = variable
        self.changed = 0  # modification time of the loaded file, nanoseconds; 0: none is
        self.application: Application | None = None

    def load(self) -> Application:
        """The application. The file is run on first use. Raises whatever the file does."""
        if self.application is None:
            with open(self.path, "rb") as file:
                self.changed = os.fstat(file.fileno()).st_mtime_ns
                source = file.read()
            module = types.ModuleType("_mod_wsgi_" + hashlib.sha256(os.fsencode(self.path)).hexdigest()[:32])
            module.__file__ = self.path
            sys.modules[module.__name__] = module
            exec(compile(source, self.path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
            found: Application = getattr(module, self.variable)
            self.application = found
        return self.application

    def is_stale(self) -> bool:
        """Whether the file has changed since it was loaded."""
        try:
            return self.changed not in (0, os.stat(self.path).st_mtime_ns)
        except OSError:
            return False


def environ_of(params: dict[str, str], parts: Iterator[bytes], errors: io.TextIOBase) -> dict[str, Any]:
    """The environ of a request (PEP 3333): the server's variables, and how it runs."""
    environ: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "", **params}
    environ["wsgi.version"] = (1, 0)
    environ["wsgi.url_scheme"] = "https" if params.get("HTTPS", "").lower() in ("on", "1") else "http"
    environ["wsgi.input"] = io.BufferedReader(Input(parts), MOST_CONTENT)
    environ["wsgi.input_terminated"] = True  # reads end at the end of the body, whatever its length
    environ["wsgi.errors"] = errors
    environ["wsgi.multithread"] = False
    environ["wsgi.multiprocess"] = True
    environ["wsgi.run_once"] = False
    environ["wsgi.file_wrapper"] = FileWrapper
    return environ


class Runner:
    """The process: serves one request after another."""

    def __init__(self, listener: socket.socket, script: Script, options: argparse.Namespace) -> None:
        self.listener = listener
        self.script = script
        self.options = options
        self.served = 0
        self.stopping = False
        self.log = Errors()
        self.errors = io.TextIOWrapper(
            io.BufferedWriter(self.log), "utf-8", "backslashreplace", line_buffering=True, write_through=False
        )
        # A signal just before poll would not interrupt it, so it writes a byte here.
        self.awakened, self.wakes = socket.socketpair()
        self.awakened.setblocking(False)
        self.wakes.setblocking(False)

    def stop(self, *_: object) -> None:
        """SIGTERM: end after the current request."""
        self.stopping = True

    def run(self, connection: socket.socket | None = None) -> None:
        """Serve until told to stop, or for as many requests as wanted; an open connection comes first."""
        while not self.is_done():
            connection = connection or self.accept()
            if connection is None:
                continue
            with connection:
                while self.serve(connection) and self.wait_for(connection):
                    pass
            connection = None

    def is_done(self) -> bool:
        """Whether to accept no more requests."""
        return self.stopping or 0 < self.options.maximum_requests <= self.served

    def accept(self) -> socket.socket | None:
        """The next connection; None if another process has it, or it is time to stop."""
        if not self.wait_for(self.listener):
            return None
        try:
            connection, _ = self.listener.accept()
        except (BlockingIOError, ConnectionError):
            return None
        connection.setblocking(True)
        return connection

    def wait_for(self, source: socket.socket) -> bool:
        """Wait for a connection; False if it is time to stop.

        If the script has changed by then, this process restarts, without a request that could be
        lost.
        """
        signal.set_wakeup_fd(self.wakes.fileno(), warn_on_full_buffer=False)  # each time: asyncio takes it away
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(self.awakened, select.POLLIN)
        while not self.is_done():
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.awakened.fileno() in ready:
                self.awakened.recv(4096)
            elif self.options.reload and self.script.is_stale():
                self.restart(source)
            else:
                return True
        return False

    def restart(self, source: socket.socket) -> NoReturn:
        """Execute a new process image, with the same pid, listener and connection."""
        atexit._run_exitfuncs()
        os.dup2(self.listener.fileno(), 0)
        if source is not self.listener:
            source.set_inheritable(True)
            os.environ[CONNECTION] = str(source.fileno())
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), *self.options.arguments])  # noqa: PTH100

    def serve(self, connection: socket.socket) -> bool:
        """Serve one request. Returns whether the connection may bring another."""
        try:
            exchange = Exchange(connection)
        except (EOFError, Broken):
            return False
        self.served += 1
        self.log.exchange = exchange
        if self.options.request_timeout:  # the signal ends the process, whatever it does
            signal.setitimer(signal.ITIMER_REAL, self.options.request_timeout + GRACE)
        try:
            status = self.answer(exchange)
            self.errors.flush()
            exchange.end(status)
        except Broken:
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.errors.flush()
            self.log.exchange = None
        return exchange.keeps and exchange.input_ended

    def answer(self, exchange: Exchange) -> int:
        """Have the application answer. Returns 0, or 1 if it failed. Raises Broken."""
        answer = Answer(exchange)
        try:
            application = self.script.load()
            environ = environ_of(exchange.params, exchange.input, self.errors)
            environ["mod_wsgi.process_group"] = self.options.process_group
            environ["mod_wsgi.application_group"] = self.options.application_group
            result = application(environ, answer.start)
            try:
                answer.send(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except Broken:
            raise
        except (Exception, SystemExit):
            traceback.print_exc(file=self.errors)
            answer.fail()
            return 1
        return 0


GRACE = 0.1  # seconds beyond the request timeout, in which the worker can say that it is over
SHUTDOWN_TIMEOUT = 5  # seconds, as mod_wsgi's shutdown-timeout
CONNECTION = "WSGI_RUNNER_CONNECTION"  # in the environment of a new image: a connection that waits


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line. Ends the process if it is wrong."""
    parser = argparse.ArgumentParser(description="Serves a WSGI application on FastCGI, on standard input's socket.")
    parser.add_argument("script", metavar="SCRIPT", help="the file that the application is in")
    parser.add_argument("callable", metavar="CALLABLE", help="what the application is called there")
    parser.add_argument("--home", default="", help="the working directory, which is searched for modules, too")
    parser.add_argument("--python-path", default="", help="directories of modules, separated by colons")
    parser.add_argument("--maximum-requests", type=int, default=0, help="end after so many; 0: never")
    parser.add_argument("--request-timeout", type=int, default=0, help="seconds that one may take; 0: no limit")
    parser.add_argument("--no-reload", dest="reload", action="store_false", help="keep a script that has changed")
    parser.add_argument("--process-group", default="", help="what applications find as mod_wsgi.process_group")
    parser.add_argument("--application-group", default="", help="and as mod_wsgi.application_group")
    parser.add_argument("--umask", default="", help="the file mode creation mask, octal")
    parser.add_argument("--title", default="", help="the process's name")
    return parser.parse_args(arguments, argparse.Namespace(arguments=arguments))


def prepare(options: argparse.Namespace) -> None:
    """Set up what an application expects: its directory, its module path, its name."""
    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):  # noqa: PTH100, PTH120
        del sys.path[0]
    before = list(sys.path)
    for folder in filter(None, options.python_path.split(":")):
        site.addsitedir(folder)
    sys.path[:] = [path for path in sys.path if path not in before] + before
    if options.home:
        os.chdir(options.home)
        sys.path.insert(0, options.home)
    if options.umask:
        os.umask(int(options.umask, 8))
    if options.title:
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="utf-8") as comm:
            comm.write(options.title[:15])
    if "LC_ALL" in os.environ:
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, "")
    sys.argv = ["mod_wsgi"]


def receive_listener() -> socket.socket:
    """The socket on standard input, which programs started from here must not inherit."""
    listener = socket.socket(fileno=os.dup(0))
    listener.setblocking(False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # printed text belongs in the error log
    return listener


def main(arguments: list[str]) -> None:
    """Run."""
    options = parse_arguments(arguments)
    waiting = os.environ.pop(CONNECTION, "")
    connection = socket.socket(fileno=int(waiting)) if waiting else None
    if connection is not None:
        connection.set_inheritable(False)
    runner = Runner(receive_listener(), Script(options.script, options.callable), options)
    signal.signal(signal.SIGTERM, runner.stop)
    signal.signal(signal.SIGINT, runner.stop)
    prepare(options)
    sys.stdout = sys.stderr = runner.errors
    runner.run(connection)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SHUTDOWN_TIMEOUT)  # for an application's exit handlers, and its threads


if __name__ == "__main__":
    main(sys.argv[1:])
