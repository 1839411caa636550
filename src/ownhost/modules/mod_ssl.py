"""mod_ssl: encrypted connections, and what requests over them may do.

A worker does the handshake (processes.worker.handshake), with the keys of its own virtual hosts
only. A virtual host with SSLEngine answers only over TLS, and one without it never does. So
responses that depend on nothing more are remembered.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from ownhost.config.model import VirtualHost
from ownhost.http.certificates import CertificateError, one_line, read
from ownhost.http.message import HTTPError, Response
from ownhost.http.tls import TLSFacts, cipher_names
from ownhost.http.wire import to_bytes
from ownhost.modules.ssl import proxy_directives
from ownhost.modules.ssl.directives import SSL_CIPHERS, SSL_ENGINE, SSL_VERIFY_CLIENT, SSL_VERIFY_DEPTH
from ownhost.modules.ssl.requests import SSL_REQUIRE, SSL_REQUIRE_SSL, SSL_USER_NAME
from ownhost.request import expressions, ssl_variables
from ownhost.request.module import IsException, Module, register
from ownhost.request.request import Level, Request
from ownhost.request.ssl_variables import LEGACY, SSL_OPTIONS

__all__ = ["SSL_ENGINE", "SSL_VERIFY_CLIENT", "proxy_directives"]

PASSWORD = "password"  # noqa: S105 - what FakeBasicAuth has every certificate say


def uses(server: VirtualHost) -> bool:
    """Whether a virtual host has anything that the hooks here obey."""
    return server.settings[SSL_ENGINE] or server.says(SSL_REQUIRE_SSL, SSL_REQUIRE, SSL_VERIFY_CLIENT, SSL_OPTIONS)


def exceptions(server: VirtualHost) -> IsException:
    """Requests that arrive in another way than all others of the virtual host."""
    engine = server.settings[SSL_ENGINE]
    return lambda request: request.endpoints.secure != engine


# Which clients are let in


def access(request: Request) -> Response | None:
    """SSLRequireSSL, SSLVerifyClient and SSLRequire. As in Apache, the last two do not apply to clients without TLS."""
    settings, endpoints = request.settings, request.endpoints
    if settings[SSL_REQUIRE_SSL]:
        request.pure = False
        if not endpoints.secure:
            raise _refused(request, "SSL connection required")
    _check_certificate(request)
    _check_cipher(request)
    for requirement in settings[SSL_REQUIRE]:
        request.pure = False
        if endpoints.secure and not expressions.holds(requirement, request):
            request.log(Level.INFO, "ssl", f"AH02228: Failed expression: {requirement.text}")
            raise _refused(request, "SSL requirement expression not fulfilled")
    return None


def _check_certificate(request: Request) -> None:
    """A section may require a certificate. An unreadable one does not count: its content could matter."""
    tls = request.endpoints.tls
    required = request.settings[SSL_VERIFY_CLIENT] == "require"
    if required:
        request.pure = False
    if tls is None:
        if required and request.endpoints.secure:
            raise _refused(request, "nothing is known about the client's certificate")
        return
    if required and not tls.certificate:
        raise _refused(request, "client certificate missing")
    if tls.certificate:
        request.pure = False
        if request.settings[SSL_VERIFY_CLIENT] != "none" and _is_too_deep(request, tls.depth):
            raise _refused(request, "Certificate Chain too long (SSLVerifyDepth)")
        try:
            read(tls.certificate)
        except CertificateError as error:
            raise _refused(request, str(error)) from None


def _is_too_deep(request: Request, depth: int) -> bool:
    """Whether more certificates are above a client's than allowed, unless the handshake has checked exactly that."""
    most = request.settings[SSL_VERIFY_DEPTH]
    return depth > most or (depth < 0 and most < request.site.settings[SSL_VERIFY_DEPTH])


def _check_cipher(request: Request) -> None:
    """A section may want other ciphers than the server. It cannot do so for TLS 1.3, as in Apache."""
    ciphers, endpoints = request.settings[SSL_CIPHERS], request.endpoints
    if ciphers is request.site.settings[SSL_CIPHERS]:
        return
    request.pure = False
    tls = endpoints.tls
    if not endpoints.secure or (tls is not None and tls.protocol == "TLSv1.3"):
        return
    if tls is None or tls.cipher not in cipher_names(ciphers.older):
        raise _refused(request, "the connection's cipher is not one of SSLCipherSuite's, and nothing is renegotiated")


def _refused(request: Request, reason: str) -> HTTPError:
    return HTTPError(403, f"AH02229: access to {request.filename} failed, reason: {reason}", module="ssl")


# FakeBasicAuth


def prepare(request: Request) -> None:
    """Turn a client's certificate into a user name and a password. Raises HTTPError for invented ones."""
    if request.is_subrequest or "FakeBasicAuth" not in request.settings[SSL_OPTIONS]:
        return
    request.pure = False
    own = _credentials(request.endpoints.tls)
    given = request.head.values.get("authorization", "")
    if given and given != own and _is_made_up(given):
        raise _refused(request, "the name of a certificate was sent as a user name")
    if own and request.user is None:
        # Requests share heads that were read: a changed head is a new one.
        fields = [field for field in request.head.fields if field[0].lower() != "authorization"]
        values = {**request.head.values, "authorization": own}
        request.head = replace(request.head, fields=[*fields, ("Authorization", own)], values=values)


def _credentials(tls: TLSFacts | None) -> str:
    """The field's value for a client's certificate; "" for a client without one."""
    certificate = ssl_variables.client(tls) if tls is not None else None
    if certificate is None:
        return ""
    return "Basic " + base64.b64encode(to_bytes(f"{one_line(certificate.subject)}:{PASSWORD}")).decode()


def _is_made_up(value: str) -> bool:
    """Whether a client has itself sent what only a certificate may say, or what programs may take for that."""
    scheme, *rest = value.split(None, 1)
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = base64.b64decode("".join(rest).rstrip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):
        return True  # each program has its own way to read that
    return user.startswith(b"/") and password == PASSWORD.encode()


# What programs are told


def fixup(request: Request) -> Response | None:
    """HTTPS and SSL_TLS_SNI always; more by SSLOptions; the user's name by SSLUserName."""
    settings, tls = request.settings, request.endpoints.tls
    if request.endpoints.secure != request.site.settings[SSL_ENGINE]:
        request.pure = False
    if not request.endpoints.secure:
        return None
    request.env["HTTPS"] = "on"
    if tls is None:
        return None
    if tls.server_name:
        request.env["SSL_TLS_SNI"] = tls.server_name
    options = settings[SSL_OPTIONS]
    if "StdEnvVars" in options:
        request.pure = False
        request.env.update(ssl_variables.standard(tls, legacy=LEGACY in options))
    if "ExportCertData" in options:
        request.pure = False
        request.env.update(ssl_variables.exported(tls))
    if settings[SSL_USER_NAME]:
        _name_user(request, settings[SSL_USER_NAME])
    return None


def _name_user(request: Request, variable: str) -> None:
    """SSLUserName: REMOTE_USER is the value of a variable, through the client's certificate."""
    name = ssl_variables.lookup(request, variable)
    if name:
        request.user, request.auth_type = name, "ClientCert"
    else:
        request.log(Level.WARN, "ssl", f"AH02227: Failed to set r->user to '{variable}'")


register(
    Module(
        name="mod_ssl",
        identifier="ssl_module",
        order=40,
        uses=uses,
        exceptions=exceptions,
        prepare=prepare,
        access=access,
        fixup=fixup,
    )
)
