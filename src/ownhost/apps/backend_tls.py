"""TLS to servers behind this one: the contexts of connections, from mod_ssl's SSLProxy... directives.

Keys and authorities come from `Site.opened`: it may be that only root can read them.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from ownhost.http.message import HTTPError
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls_client import ClientCredentials, make_client_context
from ownhost.modules.mod_proxy import PROXY_PRESERVE_HOST
from ownhost.modules.proxying.backend import ENCRYPTED, Backend
from ownhost.modules.ssl.proxy_directives import ENGINE, ProxyTLS, proxy_tls
from ownhost.request.given_files import GivenFiles
from ownhost.request.request import Request

_contexts: dict[tuple[int, ProxyTLS], ssl.SSLContext] = {}  # by server id


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a connection is encrypted, and what the other side must prove."""

    tls: ProxyTLS
    server: int  # the id of the virtual host whose keys are used
    name: str  # that is sent as SNI


def wanted(request: Request, backend: Backend) -> Wanted | None:
    """The TLS settings of a request's connection to a backend; None if it is not encrypted. Raises HTTPError 500."""
    if backend.scheme not in ENCRYPTED:
        return None
    settings = request.settings
    if not settings[ENGINE]:
        why = f"failed to enable ssl support for {backend.authority}: SSLProxyEngine is off"
        raise HTTPError(500, f"{backend.scheme}: {why}", module="proxy")
    name = request.head.host if settings[PROXY_PRESERVE_HOST] else ""
    return Wanted(proxy_tls(settings), request.virtual_host.id, (name or backend.host).strip("[]"))


def context_of(request: Request, want: Wanted) -> ssl.SSLContext:
    """The context of connections, made once. Raises HTTPError 500."""
    key = (want.server, want.tls)
    if key not in _contexts:
        try:
            _contexts[key] = make_client_context(want.tls.policy, read_credentials(want.tls, request.site.opened))
        except OSError as error:
            how = "cannot be read" if error.filename in request.site.opened.given else "was not given to this process"
            why = f"{error.filename} {how}: {error.strerror}"
            raise HTTPError(500, f"TLS to other servers is not possible: {why}", module="ssl") from None
        except OpenSSLError as error:
            about = f"{error.about}: " if error.about else ""
            raise HTTPError(500, f"TLS to other servers is not possible: {about}{error}", module="ssl") from None
    return _contexts[key]


def read_credentials(tls: ProxyTLS, files: GivenFiles) -> ClientCredentials:
    """The content of the files that settings name. Raises OSError."""
    named = (tls.authorities, tls.certificates, tls.chain)
    return ClientCredentials(*(b"\n".join(files.read(name) for name in names) for names in named))
