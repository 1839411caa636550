"""How a request for another server is told from one for a file."""

from __future__ import annotations

PROXIED = "proxy:"  # in front of a URL that stands for a file name, or a handler: another server is to answer
PROXY_HANDLER = "proxy-server"
