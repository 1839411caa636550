"""A FastCGI server that answers with what it was told (FastCGI Specification 1.0)."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import unquote_plus

PARAMS, STDIN, STDOUT, END = 4, 5, 6, 3
SHOWN = ("SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "REQUEST_URI", "QUERY_STRING", "HTTP_MAX_FORWARDS")


class _Handler(socketserver.StreamRequestHandler):
    server: FastCGIServer

    def handle(self) -> None:
        told = b""
        while True:
            kind, content = _record(self.rfile)  # type: ignore[arg-type]
            if kind == PARAMS:
                told += content
            elif kind == STDIN and not content:
                break
        variables = dict(_pairs(told))
        text = self.asked_for(variables) if "/says/" in variables["REQUEST_URI"] else self.told(variables)
        for kind, content in ((STDOUT, text.encode("latin-1")), (STDOUT, b""), (END, bytes(8))):
            self.wfile.write(struct.pack(">BBHHBB", 1, kind, 1, len(content), 0, 0) + content)

    def told(self, variables: dict[str, str]) -> str:
        """What it was told."""
        port = str(self.server.server_address[1])
        lines = [f"{name}={value}" for name, value in sorted(variables.items()) if _is_shown(name)]
        return "Content-Type: text/plain\r\n\r\n" + "\n".join(lines).replace(port, "BACKEND")

    def asked_for(self, variables: dict[str, str]) -> str:
        """A head with the query's parts as lines, plus for space."""
        lines = [unquote_plus(line) for line in variables["QUERY_STRING"].split("&")]
        return "\r\n".join(["Content-Type: text/plain", "Content-Length: 5", *lines, "", "body\n"])


def _is_shown(name: str) -> bool:
    return name in SHOWN or name.startswith("X_")


def _record(file: BinaryIO) -> tuple[int, bytes]:
    _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", file.read(8))
    content = file.read(length)
    file.read(padding)
    return kind, content


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    place = 0

    def length() -> int:
        nonlocal place
        size = 4 if data[place] & 0x80 else 1
        place += size
        return int.from_bytes(data[place - size : place], "big") & 0x7FFFFFFF

    while place < len(data):
        name, value = length(), length()
        yield data[place : place + name].decode("latin-1"), data[place + name : place + name + value].decode("latin-1")
        place += name + value


class FastCGIServer(socketserver.ThreadingTCPServer):
    """On loopback, at a port of its own."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


@contextmanager
def fastcgi_server() -> Iterator[int]:
    """The port of a server, while the block runs."""
    with FastCGIServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
