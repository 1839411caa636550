"""mod_ssl: encrypted connections, and what requests over them may do.

The handshake is a worker's (processes.handshake), with its own virtual hosts' keys and no other.
"""

from __future__ import annotations

from ownhost.modules.ssl.directives import SSL_ENGINE, SSL_VERIFY_CLIENT
from ownhost.request.module import Module, register

__all__ = ["SSL_ENGINE", "SSL_VERIFY_CLIENT"]

register(Module(name="mod_ssl", identifier="ssl_module"))
