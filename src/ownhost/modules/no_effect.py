"""Directives of modules that do not exist here. A configuration may contain them, and they do nothing.

No directive that protects anything is in this table: it must be safe to ignore it.
"""

from __future__ import annotations

from ownhost.config.arguments import ignored
from ownhost.config.directive import (
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    Answer,
    Directive,
    Where,
    declare,
)

_TABLE: tuple[tuple[str, str, Where, str], ...] = (
    ("CacheDirLength", "mod_cache_disk", SERVERS, "How long the names of the disk cache's folders are."),
    ("CacheDirLevels", "mod_cache_disk", SERVERS, "How deep the disk cache's folders are nested."),
    ("CacheRoot", "mod_cache_disk", SERVERS, "Where the disk cache is."),
    ("ScriptSock", "mod_cgid", SERVERS, "Where the CGI daemon listens. Ownhost starts programs without one."),
    ("DAVLockDB", "mod_dav_fs", SERVERS, "Where WebDAV's locks are kept."),
    ("MIMEMagicFile", "mod_mime_magic", SERVERS, "The table that guesses types from contents."),
    ("ProxyStatus", "mod_proxy", SERVERS, "Whether the status page shows proxied servers."),
    ("ProxyFtpDirCharset", "mod_proxy_ftp", SECTIONS, "The character set of FTP listings."),
    ("ProxyHTMLLinks", "mod_proxy_html", SECTIONS, "Which attributes of HTML hold links."),
    ("ProxyHTMLEvents", "mod_proxy_html", SECTIONS, "Which attributes of HTML hold scripts."),
    ("SSLRandomSeed", "mod_ssl", SERVER_ONLY, "The source of random numbers. The kernel's is always used."),
    ("SSLPassPhraseDialog", "mod_ssl", SERVER_ONLY, "How the passphrase of a key is asked for."),
    ("ExtendedStatus", "mod_status", SERVER_ONLY, "Whether the status page shows each request."),
)


for _name, _module, _where, _text in _TABLE:
    declare(Directive(_name, _module, "value...", _where, _text, ignored(), answer=Answer.NO_EFFECT))
