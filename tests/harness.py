"""The real server, started as root on loopback for a test, and what tests look at from outside: sockets and /proc."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from waiting import eventually

PYTHON = str(Path(sys.executable).resolve())  # one that owners may run, wherever the checkout is
ALICE, BOB, CAROL = 50001, 50002, 50003
_GIVEN: set[int] = set()  # ports: a server may not have begun to listen yet
_RANDOM = random.SystemRandom()  # not seeded by what hypothesis does
WWW = 50080  # User and Group of servers under test: no account, no rights
GATE, LOGGER = 65530, 65531  # whom gates and loggers run as where there are no accounts for them


def free_port() -> int:
    """A TCP port of loopback that nothing listens on, and that nobody here was given before.

    Other processes run tests, too. So it is below those that the kernel gives to clients, and chosen at random.
    """
    while True:
        port = _RANDOM.randrange(10_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


def steal(pid: int, descriptor: int) -> int:
    """A copy of another process's descriptor (root may). Raises OSError, as where that has closed it."""
    pidfd = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy = libc.syscall(438, pidfd, descriptor, 0)  # pidfd_getfd
        if copy < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(copy)
    finally:
        os.close(pidfd)


@dataclass
class Process:
    """A process of a server, as /proc shows it."""

    pid: int

    @property
    def title(self) -> str:
        """What ps(1) shows; "" for a process that is gone."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        return ""

    @property
    def role(self) -> str:
        match = re.match(r"ownhost: (\w+)", self.title)
        return match[1] if match else ""

    @property
    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    @property
    def uid(self) -> int:
        """Whose it is; -1 for a process that is gone."""
        with contextlib.suppress(OSError):
            return int(self.status["Uid"].split()[0])
        return -1

    @property
    def alive(self) -> bool:
        with contextlib.suppress(OSError):
            return not self.status["State"].startswith(("Z", "X"))
        return False

    def descriptors(self) -> dict[int, str]:
        """Open descriptors and what they are; one that is gone has none."""
        folder = Path(f"/proc/{self.pid}/fd")
        result = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in folder.iterdir():
                with contextlib.suppress(OSError):
                    result[int(entry.name)] = str(entry.readlink())
        return result

    def memory(self) -> Iterator[bytes]:
        """All readable memory, region by region (as root); one that is gone has none."""
        gone = contextlib.suppress(ProcessLookupError, FileNotFoundError)
        with gone, open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
                span, mode = line.split()[:2]
                if "r" not in mode or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                    continue
                start, end = (int(part, 16) for part in span.split("-"))
                with contextlib.suppress(OSError, ValueError):
                    memory.seek(start)
                    yield memory.read(end - start)

    def holds(self, secret: bytes) -> bool:
        """Whether the bytes stand anywhere in its memory."""
        return any(secret in region for region in self.memory())


class Answer(http.client.HTTPResponse):
    """A response whose body is in `content`, once it is read whole."""

    content: bytes

    def whole(self) -> Answer:
        """Read the body."""
        self.content = self.read()
        return self


class Client(http.client.HTTPConnection):
    """A connection whose responses are Answers."""

    response_class = Answer

    def getresponse(self) -> Answer:
        response = super().getresponse()
        assert isinstance(response, Answer)
        return response


def answer(sock: socket.socket, method: str = "GET") -> Answer:
    """The next answer on a connection: what follows it stays unread only where nothing does."""
    response = Answer(sock, method=method)
    response.begin()
    return response.whole()


@contextlib.contextmanager
def standing(processes: list[Process]) -> Iterator[None]:
    """Processes that are stopped meanwhile."""
    assert processes
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            if process.alive:
                os.kill(process.pid, signal.SIGCONT)


@dataclass
class Server:
    """An `ownhost run` of a test's configuration."""

    folder: Path
    port: int
    config: Path
    process: subprocess.Popen[bytes] | None = None
    arguments: list[str] = field(default_factory=list)
    said_before: int = 0  # characters on standard error that an earlier server left

    def start(self, wait: bool = True, python: str = sys.executable) -> Server:
        command = [python, "-m", "ownhost", "run", "-f", str(self.config), *self.arguments]
        with open(self.folder / "stderr", "ab") as stderr:
            self.said_before = stderr.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        if wait:
            eventually(self._listening, 60, "the server did not start")
        return self

    def _listening(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended: {self.stderr}"
        return "listening on" in self.stderr

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()[self.said_before :]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self, name: str = "error.log") -> str:
        return (self.folder / name).read_text()

    def processes(self, role: str = "") -> list[Process]:
        """The server's processes, supervisor first; only those of a role, if one is named."""
        found = [Process(pid) for pid in _descendants(self.pid)]
        return [process for process in found if not role or process.role == role]

    def worker(self, uid: int) -> Process:
        """The worker of an identity; there must be one."""
        return next(process for process in self.processes("worker") if process.alive and process.uid == uid)

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def client(self, timeout: float = 10.0) -> Client:
        return Client("127.0.0.1", self.port, timeout=timeout)

    def get(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """One request on a connection of its own. The body is in `.content`."""
        client = self.client()
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            client.request(method, path, headers={"Host": host, "Connection": "close", **fields})
            return client.getresponse().whole()
        finally:
            client.close()

    def raw(self, data: bytes, timeout: float = 10.0) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            chunks = []
            with contextlib.suppress(ConnectionResetError):
                while chunk := sock.recv(65536):
                    chunks.append(chunk)
            return b"".join(chunks)

    def stop(self) -> int:
        """TERM, and the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


class World:
    """A folder with owners' trees, and the servers that a test starts over it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ownhost-test-"))
        self.folder.chmod(0o711)
        self.servers: list[Server] = []

    def site(self, name: str, uid: int, files: Mapping[str, str | bytes] | None = None, mode: int = 0o700) -> Path:
        """An owner's tree, readable by nobody else. `files` maps names to contents; scripts (#!) may be run."""
        root = self.folder / name
        root.mkdir(exist_ok=True)
        scripts = set()
        for relative, content in (files or {"index.html": f"{name}\n"}).items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
            if data.startswith(b"#!"):
                scripts.add(path)
        for path in [root, *root.rglob("*")]:
            os.chown(path, uid, uid, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(mode if path.is_dir() or path in scripts else mode & 0o666)
        return root

    def server(
        self, body: str, *, preamble: bool = True, start: bool = True, arguments: list[str] | None = None
    ) -> Server:
        """A server of this configuration; `@PORT@` and `@DIR@` in it are replaced."""
        port = free_port()
        head = (
            f'ServerRoot "@DIR@"\nListen 127.0.0.1:@PORT@\nServerName server.test\nUser "#{WWW}"\nGroup "#{WWW}"\n'
            "ErrorLog @DIR@/error.log\nLogLevel info\nDefaultRuntimeDir @DIR@/run\n"
        )
        text = (head if preamble else "") + body
        config = self.folder / f"ownhost-{port}.conf"
        config.write_text(text.replace("@PORT@", str(port)).replace("@DIR@", str(self.folder)))
        server = Server(self.folder, port, config, arguments=arguments or [])
        self.servers.append(server)
        return server.start() if start else server

    def virtual_host(self, name: str, uid: int, extra: str = "", files: Mapping[str, str | bytes] | None = None) -> str:
        """An owner's tree and the <VirtualHost> for it, as NAME.test."""
        root = self.site(name, uid, files)
        return (
            f"<VirtualHost 127.0.0.1:@PORT@>\nServerName {name}.test\nDocumentRoot {root}\n"
            f'AssignUserID "#{uid}" "#{uid}"\n<Directory {root}>\nRequire all granted\nOptions FollowSymLinks\n'
            f"</Directory>\n{extra}</VirtualHost>\n"
        )

    def close(self) -> None:
        for server in self.servers:
            if server.process is not None:
                server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
