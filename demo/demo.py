"""The demo: two owners' sites on this machine, each served as its owner. Run it with `sudo ./scripts/demo`."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sites
from ask import Answer, Client
from sites import ALICE, BOB, OWNERS, Owner

from ownhost.admin.table import print_table

START = 30.0  # seconds that the server may take until it listens
PROGRAM = "/whoami.cgi"
LOOK = 0.2  # seconds between looks whether the server is still there
STOP = 10.0  # seconds that it may take to end


def main() -> int:
    """Serve until Ctrl-C, or check and stop. The exit code."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if not _is_free(options.port):
        return _fail(f"port {options.port} is taken; choose another one with --port N.")
    with tempfile.TemporaryDirectory(prefix="ownhost-demo-", dir="/tmp") as folder:
        try:
            configuration = sites.make(Path(folder), options.port)
            with server(configuration) as process:
                if not _listens(process, options.port):
                    return _fail("the server did not start; its messages are above.")
                return check(options.port) if options.check else serve(process, options.port, configuration)
        except KeyboardInterrupt:
            print("\nStopped.")
    return 0


def serve(process: subprocess.Popen[bytes], port: int, configuration: Path) -> int:
    """Say what to open, and wait for the server's end."""
    print("\nOpen one of these, and see who serves it:\n")
    for owner in OWNERS:
        print(f"  http://{owner.host}:{port}/   (uid {owner.id})")
    print(f"\nThe configuration is {configuration}")
    print("Ctrl-C ends it.", flush=True)
    while process.poll() is None:  # a wait without a limit would miss a signal that comes just before it
        time.sleep(LOOK)
    return _fail("the server has ended; its messages are above.")


def check(port: int) -> int:
    """Ask both sites, print which uid answered what, and return 0 only if all is right."""
    rows = []
    for owner, neighbour in ((ALICE, BOB), (BOB, ALICE)):
        rows.append(_try(Client(port), owner, "/", 200))
        rows.append(_try(Client(port), owner, PROGRAM, 200))
        rows.append(_try(Client(port), owner, f"/{neighbour.name}s-secret.txt", 403))
    shared = Client(port)
    rows.append(_try(shared, ALICE, "/own.txt", 200, "kept open"))
    rows.append(_try_on_anothers(shared, BOB, "/own.txt"))
    rows.append(_try(shared, BOB, "/own.txt", 200, "a new one"))
    print_table(HEADERS, rows)
    if all(row[-1] == RIGHT for row in rows):
        print("All is right: each site was served as its owner.")
        return 0
    return _fail("not all is right: see the last column.")


HEADERS = ("HOST", "PATH", "CONNECTION", "UID OF THE PROCESS THAT ANSWERED", "STATUS", "RESULT")
RIGHT = "right"


def _try(client: Client, owner: Owner, path: str, expected: int, connection: str = "a new one") -> tuple[str, ...]:
    """Ask once; returns the result as a line of the table."""
    try:
        answer = client.ask(owner.host, path)
    except (OSError, http.client.HTTPException) as error:
        client.close()
        return owner.host, path, connection, "", "", f"no answer: {error}"
    finally:
        if connection == "a new one":
            client.close()
    uid = "unknown" if answer.uid is None else str(answer.uid)
    return owner.host, path, connection, uid, str(answer.status), _verdict(answer, owner, path, expected)


def _try_on_anothers(client: Client, owner: Owner, path: str) -> tuple[str, ...]:
    """Ask on a connection that another owner's process has: it ends without a response."""
    try:
        answer = client.ask(owner.host, path)
    except (OSError, http.client.HTTPException):
        client.close()
        return owner.host, path, "that one", "none: it ends", "", RIGHT
    return owner.host, path, "that one", str(answer.uid), str(answer.status), "expected no response"


def _verdict(answer: Answer, owner: Owner, path: str, expected: int) -> str:
    if answer.status != expected:
        return f"expected {expected}"
    if (answer.uid, answer.gid) != (owner.id, owner.id):
        return f"expected uid and gid {owner.id}"
    if path == PROGRAM and not _says(answer.body, owner):
        return f"the program says it is {answer.body!r}"
    return RIGHT


def _says(body: bytes, owner: Owner) -> bool:
    """Whether a site's program found that it runs as the owner, with only the owner's group."""
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return all(said.get(name) == str(owner.id) for name in ("uid", "gid", "groups"))


@contextlib.contextmanager
def server(configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, so that Ctrl-C reaches only the demo; it ends with the demo."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "ownhost", "run", "-f", configuration],
        process_group=0,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server listens; False if it ended instead, or takes too long."""
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", usage="sudo ./scripts/demo [--port N] [--check]")
    parser.add_argument("--port", type=_port, default=8080, metavar="N")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port: a number from 1 to 65535 was expected")
    return int(text)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _fail(sentence: str) -> int:
    print(f"demo: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
