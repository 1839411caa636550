"""The names of mod_ssl's variables: SSL_PROTOCOL, SSL_CLIENT_S_DN_CN_1... Pure.

Source: the table "Environment Variables" of mod_ssl's page in Apache's manual.
"""

from __future__ import annotations

import re

PLAIN = frozenset(
    """
    SSL_PROTOCOL SSL_SESSION_ID SSL_SESSION_RESUMED SSL_SECURE_RENEG SSL_COMPRESS_METHOD SSL_TLS_SNI
    SSL_CIPHER SSL_CIPHER_EXPORT SSL_CIPHER_USEKEYSIZE SSL_CIPHER_ALGKEYSIZE
    SSL_VERSION_INTERFACE SSL_VERSION_LIBRARY SSL_VERSION_LIBRARY_INTERFACE
    SSL_CLIENT_VERIFY SSL_SRP_USER SSL_SRP_USERINFO
    """.split()  # noqa: SIM905 - a table
)
OF_CERTIFICATE = (
    *("M_VERSION", "M_SERIAL", "V_START", "V_END", "V_REMAIN", "A_SIG", "A_KEY", "S_DN", "I_DN", "CERT"),
    "CERT_RFC4523_CEA",
)
# Case distinguishes attributes of names: S_DN_S is a surname.
_NAME = re.compile(
    rf"(SSL_(?:CLIENT|SERVER)_(?:{'|'.join(OF_CERTIFICATE)}|CERT_CHAIN_[0-9]{{1,4}})"
    r"|SSL_(?:CLIENT|SERVER)_[SI]_DN_(?-i:(?:C|ST|SP|L|O|OU|CN|T|I|G|S|D|UID|Email|SerialNumber)(?:_[0-9]{1,4})?(?:_RAW)?)"
    r"|SSL_(?:CLIENT|SERVER)_SAN_(?:Email|DNS|OTHER_msUPN|OTHER_dnsSRV)_[0-9]{1,4})",
    re.IGNORECASE,
)


def is_variable(name: str) -> bool:
    """Whether mod_ssl has a variable of this name."""
    return name.upper() in PLAIN or _NAME.fullmatch(name) is not None


def canonical(name: str) -> str:
    """A name as the manual writes it: in capitals, except attributes of names."""
    head, mark, component = name.partition("_DN_")
    return head.upper() + mark + component
