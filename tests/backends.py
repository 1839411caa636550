"""HTTP servers behind the one under test: in this process, on loopback, with what they were asked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
BIG = 24 << 20  # bytes of /big


class Backend(ThreadingHTTPServer):
    """A server, what it was asked, and how many connections it took. It listens on a path if one is given.

    With a context it speaks TLS.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 50

    def __init__(self, path: str = "", context: ssl.SSLContext | None = None) -> None:
        self.path = path
        self.context = context
        if context is not None:
            context.sni_callback = _note_name  # type: ignore[assignment]
        if path:
            self.address_family = socket.AF_UNIX
        super().__init__(path or ("127.0.0.1", 0), _Handler)  # type: ignore[arg-type]
        self.port = 0 if path else int(self.server_address[1])
        self.asked: list[_Handler] = []
        self.connections = 0
        self.release = threading.Event()  # /wait answers then
        self.finished = threading.Event()  # /big was written to its end

    def server_bind(self) -> None:
        """Bind, without asking for the name of an address that may be a path."""
        socketserver.TCPServer.server_bind(self)

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Shake hands first, where it speaks TLS."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(20)
        with self.context.wrap_socket(request, server_side=True) as encrypted:
            encrypted.settimeout(None)
            super().finish_request(encrypted, client_address)
            with contextlib.suppress(OSError):
                encrypted.unwrap()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave."""


def _note_name(connection: ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
    connection.asked_name = name or ""  # type: ignore[attr-defined]


class _Handler(BaseHTTPRequestHandler):
    """What is answered depends on the last part of the path; the usual answer says what was asked."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Backend/1", ""
    server: Backend

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def answer(self) -> None:
        self.body = self._body()
        self.server.asked.append(self)
        name = self.path.partition("?")[0].rpartition("/")[2]
        getattr(self, f"on_{name}", self.on_others)()

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - the class has it so

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def say(self, status: int, body: bytes = b"", **fields: str) -> None:
        """A response with a length."""
        self.send_response(status)
        for field, value in fields.items():
            self.send_header(field.replace("_", "-"), value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def on_others(self) -> None:
        lines = [f"{self.command} {self.path}"]
        lines += sorted(f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in _UNSAID)
        text = "\n".join((*lines, "", self.body.decode("latin-1"))).replace(
            str(self.server.port or "no port"), "BACKEND"
        )
        self.say(200, text.encode("latin-1"), Content_Type="text/plain")

    def on_tls(self) -> None:
        """What the client showed in its handshake: the name that it asked for, its certificate's subject."""
        assert isinstance(self.connection, ssl.SSLSocket)
        subject = (self.connection.getpeercert() or {}).get("subject", ())
        names = [str(pair[1]) for part in subject for pair in part]
        lines = [getattr(self.connection, "asked_name", ""), *names, self.connection.version() or ""]
        self.say(200, "\n".join(lines).encode(), Content_Type="text/plain")

    def on_redirect(self) -> None:
        scheme, host = ("https", "localhost") if self.server.context else ("http", "127.0.0.1")
        self.say(302, Location=f"{scheme}://{host}:{self.server.port}/to?a=b")

    def on_cookie(self) -> None:
        self.say(200, b"c", Set_Cookie="a=b; Path=/inner; Domain=inner.test", Content_Type="text/plain")

    def on_204(self) -> None:
        self.say(204, X_Here="1")

    def on_304(self) -> None:
        self.say(304, ETag='"1"')

    def on_404(self) -> None:
        self.say(404, b"the backend's own\n", Content_Type="text/plain")

    def on_500(self) -> None:
        self.say(500, b"the backend's own\n", Content_Type="text/plain")

    def on_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"4\r\nsome\r\n5\r\n more\r\n0\r\n\r\n")

    def on_unframed(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
        self.close_connection = True

    def on_interim(self) -> None:
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.say(200, b"final", Content_Type="text/plain")

    def on_interims(self) -> None:
        """Interim responses, of the statuses that the query lists, and the final one, all at once."""
        for number, status in enumerate(self._query().split(","), 1):
            fields = f"X-Number: {number}\r\nLink: </a>; rel=preload\r\nX-Hop: 1\r\nConnection: X-Hop\r\n"
            self.wfile.write(f"HTTP/1.1 {status} Soon\r\n{fields}\r\n".encode())
        self.on_whole()

    def on_heavy(self) -> None:
        """As much as fits before the answer."""
        self.wfile.write((b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"a" * 60_000 + b">\r\n\r\n") * 9)
        self.say(200, b"last")

    def on_hints(self) -> None:
        """Interim responses, and nothing else."""
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2)
        self.close_connection = True

    def on_switched(self) -> None:
        """Another protocol, whatever was asked: the query's."""
        self.wfile.write(f"HTTP/1.1 101 So\r\nUpgrade: {self._query()}\r\nConnection: Upgrade\r\n\r\nx".encode())
        self.close_connection = True

    def on_whole(self) -> None:
        """As many bytes as the query says, in one write with their head and the fields that it says besides."""
        size, _, fields = self._query().partition("&")
        content = b"0123456789" * ((int(size) if size.isdecimal() else 100) // 10)
        lines = ["Content-Type: text/plain", f"Content-Length: {len(content)}", *fields.split("&")]
        head = "\r\n".join(("HTTP/1.1 200 OK", *filter(None, lines), "", "")).replace("%20", " ").replace("%22", '"')
        self.wfile.write(head.encode() + content)

    def on_field(self) -> None:
        """A field whose value has the bytes in it that the query says."""
        value = b"a" + unquote_to_bytes(self._query()) + b"b"
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Here: " + value + b"\r\nContent-Length: 2\r\n\r\nok")

    def on_line(self) -> None:
        """A line in the head as the query says."""
        line = unquote_to_bytes(self._query())
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok")

    def _query(self) -> str:
        return self.path.partition("?")[2]

    def on_echo(self) -> None:
        self.say(200, self.body, Content_Type="application/octet-stream")

    def on_stale(self) -> None:
        """Answer as though the connection stayed open, and close it."""
        self.say(200, b"stale")
        self.close_connection = True

    def on_garbage(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.close_connection = True

    def on_nothing(self) -> None:
        self.close_connection = True

    def on_half(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf")
        self.close_connection = True

    def on_wait(self) -> None:
        self.server.release.wait(20)
        self.say(200, b"at last")

    def on_big(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(BIG))
        self.end_headers()
        for _ in range(BIG >> 16):
            self.wfile.write(bytes(1 << 16))
        self.server.finished.set()

    def on_websocket(self) -> None:
        """Accept, and give back the bytes that come, in capitals (RFC 6455, 4.2.2)."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        while data := self.connection.recv(65_536):
            self.connection.sendall(data.upper())
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


_UNSAID = ("connection", "user-agent", "accept-encoding")  # differ, and don't matter


@contextmanager
def backend(path: str = "", context: ssl.SSLContext | None = None) -> Iterator[Backend]:
    """A server, on a path if one is given, over TLS with a context, while the block runs."""
    server = Backend(path, context)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answering(*answers: bytes, port: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that gives one answer per connection, whatever it is asked, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            for answer in answers:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    asked.append(sock.recv(65_536))
                    sock.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
