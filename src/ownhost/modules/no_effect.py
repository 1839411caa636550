"""Directives of modules that are not provided, which may stand in a configuration and do nothing.

Nothing that protects anything is in this table: leaving out what it says must be safe.
"""

from __future__ import annotations

from ownhost.config.arguments import ignored
from ownhost.config.directive import SECTIONS, SERVERS, Answer, Directive, Where, declare

_TABLE: tuple[tuple[str, str, Where, str], ...] = (
    ("CacheDirLength", "mod_cache_disk", SERVERS, "How long the names of the disk cache's folders are."),
    ("CacheDirLevels", "mod_cache_disk", SERVERS, "How deep the disk cache's folders are nested."),
    ("CacheRoot", "mod_cache_disk", SERVERS, "Where the disk cache is."),
    ("ScriptSock", "mod_cgid", SERVERS, "Where the CGI daemon listens. Programs are started without one."),
    ("DAVLockDB", "mod_dav_fs", SERVERS, "Where WebDAV's locks are kept."),
    ("MIMEMagicFile", "mod_mime_magic", SERVERS, "The table that guesses types from contents."),
    ("ProxyStatus", "mod_proxy", SERVERS, "Whether the status page shows proxied servers."),
    ("ProxyFtpDirCharset", "mod_proxy_ftp", SECTIONS, "The character set of FTP listings."),
    ("ProxyHTMLLinks", "mod_proxy_html", SECTIONS, "Which attributes of HTML hold links."),
    ("ProxyHTMLEvents", "mod_proxy_html", SECTIONS, "Which attributes of HTML hold scripts."),
    ("SSLRandomSeed", "mod_ssl", SERVERS, "Where randomness comes from. The kernel's is always used."),
    ("SSLPassPhraseDialog", "mod_ssl", SERVERS, "Who is asked for the passphrase of a key."),
    ("ExtendedStatus", "mod_status", SERVERS, "Whether the status page shows each request."),
)

for _name, _module, _where, _text in _TABLE:
    declare(Directive(_name, _module, "value...", _where, _text, ignored(), answer=Answer.NO_EFFECT))
