"""Requests below the process layer: a configuration, a request, what becomes of it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path

from ownhost import modules
from ownhost.config.model import VirtualHost
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Response
from ownhost.http.tls import TLSFacts
from ownhost.request import serve
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.site import Site

NOW = 1_700_000_000.0
FILES = ("index.html", "a.txt", "b.html", "d/index.html", "d/x.txt", "e/second.html")  # each holds its name


@dataclass
class Asked:
    """A request that was answered, and what was logged of it."""

    request: Request
    response: Response
    log: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def body(self) -> bytes:
        """What was answered, where it is no file and no stream."""
        assert isinstance(self.response.body, bytes)
        return self.response.body


def make_server(folder: Path, text: str) -> VirtualHost:
    """The virtual host site.test; @ROOT@ is its folder, `folder/root`."""
    modules.load()
    path = folder / "site.conf"
    path.write_text(
        "Listen 127.0.0.1:80\nServerName main.test\nUser www-data\nGroup www-data\n<VirtualHost *:80>\n"
        f"ServerName site.test\nDocumentRoot @ROOT@\n{text}\n</VirtualHost>\n".replace("@ROOT@", f"{folder}/root")
    )
    return read(str(path)).virtual_hosts[0]


def make_site(folder: Path, text: str) -> Site:
    """The same, ready to serve; whoever asks is who is meant. What workers know has gone through a pickle."""
    server = pickle.loads(pickle.dumps(make_server(folder, text)))
    return Site(server, lambda _: True, lambda _: None)


def make_request(
    site: Site,
    line: str,
    *fields: str,
    client: str = "127.0.0.1",
    local: str = "127.0.0.1",
    tls: TLSFacts | None = None,
) -> Asked:
    """A request as it came in: `line` is a method and a target, and a version other than HTTP/1.1."""
    host = [] if any(text.lower().startswith("host:") for text in fields) else ["Host: site.test"]
    first = line if " HTTP/" in line else f"{line} HTTP/1.1"
    text = "\r\n".join((first, *host, *fields, "", ""))
    log: list[str] = []

    def take(level: Level, module: str, message: str) -> None:
        log.append(f"{module}:{level.name.lower()} {message}")

    head = parse_head(text.encode(), head_limits(site.settings))
    endpoints = Endpoints(client, 4000, local, 80, secure=tls is not None, known=tls)
    return Asked(Request(head, endpoints, site, NOW, take), Response(0), log)


def ask(
    site: Site,
    line: str,
    *fields: str,
    client: str = "127.0.0.1",
    local: str = "127.0.0.1",
    tls: TLSFacts | None = None,
) -> Asked:
    """The answer to a request."""
    asked = make_request(site, line, *fields, client=client, local=local, tls=tls)
    asked.response = serve.respond(asked.request)
    return asked


class Served:
    """A site with `FILES` in its folder, and the last request that it was asked."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.text = f"AddType text/plain .txt\nAddType text/html .html\n{text}"
        for name in FILES:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name}\n")
        self.site = make_site(folder, self.text)
        self.last: Asked | None = None

    def ask(self, target: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> Response:
        """The answer to a request."""
        self.last = ask(self.site, f"{method} {target} {version}", *fields)
        return self.last.response

    @property
    def request(self) -> Request:
        """The last request."""
        assert self.last is not None
        return self.last.request


def values(response: Response, name: str) -> list[str]:
    """All values of a response's field, in order."""
    return [value for field, value in response.headers if field.lower() == name.lower()]
