"""A virtual host of a test's configuration, asked without any process or socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ownhost import modules
from ownhost.config.model import VirtualHost
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Response
from ownhost.request.request import Endpoints, Level, Request
from ownhost.request.routing import routing_view
from ownhost.request.serve import respond
from ownhost.request.site import Site

modules.load()

OLD = 1_600_000_000  # when files were changed last
NOW = 1_700_000_000.0
FILES = {
    "index.html": "root index\n",
    "a.txt": "a\n",
    "b.html": "b\n",
    "d/index.html": "d index\n",
    "d/x.txt": "d x\n",
    "e/second.html": "e second\n",
}


@dataclass
class Served:
    """A site, the requests that it was asked and what it logged."""

    root: Path
    server: VirtualHost
    site: Site
    request: Request | None = None  # the last one
    log: list[str] = field(default_factory=list)

    def make(
        self, path: str, *fields: str, method: str = "GET", version: str = "1.1", site: Site | None = None
    ) -> Request:
        """A request that nothing was asked of yet."""
        text = "\r\n".join((f"{method} {path} HTTP/{version}", "Host: site.test", *fields, "", ""))
        head = parse_head(text.encode(), head_limits(self.server.settings))

        def take(level: Level, module: str, message: str) -> None:
            self.log.append(message)

        endpoints = Endpoints("192.0.2.7", 4000, "192.0.2.1", 80)
        return Request(head, endpoints, site or self.site, NOW, take)

    def ask(self, path: str, *fields: str, method: str = "GET", version: str = "1.1") -> Response:
        """The response to a request."""
        self.request = self.make(path, *fields, method=method, version=version)
        return respond(self.request)

    def gate(self) -> Site:
        """The site as a gate has it: told what routing needs, and no file to be seen."""
        return Site(routing_view(self.server), lambda _: True, lambda _: None, sees_files=False)


def serve(folder: Path, text: str) -> Served:
    """A site of this configuration, which is put into a <VirtualHost>; @ROOT@ in it is DocumentRoot."""
    root = folder / "root"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    text = text.replace("@ROOT@", str(root))
    (folder / "site.conf").write_text(
        "Listen 127.0.0.1:80\nServerName main.test\nAddType text/plain .txt\nAddType text/html .html\n"
        f"<VirtualHost *:80>\nServerName site.test\nDocumentRoot {root}\n{text}\n</VirtualHost>\n"
    )
    server = read(str(folder / "site.conf"), environ={}).virtual_hosts[0]
    return Served(root, server, Site(server, lambda _: True, lambda _: None))


def values(response: Response, name: str) -> list[str]:
    """All values of a response's field, in order."""
    return [value for field, value in response.headers if field.lower() == name.lower()]
