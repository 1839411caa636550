"""The modules of Apache 2.4 and around it, and which of them Ownhost replaces: data for <IfModule> and LoadModule.

A module is written as the part before "_module" in a LoadModule line. Its file is mod_NAME.c,
except for `FILES`.
"""

from __future__ import annotations

# Modules whose directives Ownhost obeys, or whose purpose it serves if they have none.
_DONE = """
    access_compat actions alias allowmethods asgi asis auth_basic authn_core authn_file authz_core authz_groupfile
    authz_host authz_owner authz_user autoindex brotli cgi cgid core deflate dir env expires fcgid filter headers
    http http2 log_config logio macro mime mpm_itk mpm_prefork negotiation proxy proxy_fcgi proxy_http proxy_scgi
    proxy_uwsgi proxy_wstunnel remoteip reqtimeout rewrite setenvif so socache_shmcb speling ssl suexec systemd
    unixd userdir version vhost_alias watchdog wsgi xsendfile
"""
DONE = frozenset(_DONE.split())

# The same, but only if they are loaded: without LoadModule lines, mpm_itk says who owns a virtual
# host.
DONE_IF_LOADED = frozenset({"ruid2"})

# Modules that count if their program is installed: `loading.done_where`.
DONE_WHERE_INSTALLED = frozenset({"php", "php5", "php7", "php8"})

# Known modules that Ownhost does not have: <IfModule> sections for them are skipped.
_NOT_DONE = """
    apparmor apreq2 auth_cas auth_digest auth_form auth_gssapi auth_kerb auth_mellon
    auth_mysql auth_openidc auth_plain auth_pubtkt auth_tkt authn_anon authn_dbd authn_dbm
    authn_sasl authn_socache authn_yubikey authnz_external authnz_fcgi authnz_ldap authnz_pam authz_dbd authz_dbm
    authz_svn authz_unixgroup bucketeer buffer bw bwlimited
    cache cache_disk cache_socache case_filter case_filter_in cband cern_meta charset_lite cloudflare data dav
    dav_fs dav_lock dav_svn dbd dialup dnssd dosevasive dumpio echo encoding evasive evasive20
    ext_filter fastcgi file_cache geoip geoip2 gnutls heartbeat heartmonitor hostinglimits ident
    imagemap include info intercept_form_submit jk journald lbmethod_bybusyness lbmethod_byrequests
    lbmethod_bytraffic lbmethod_heartbeat ldap limitipconn log_debug log_forensic log_sql lookup_identity lsapi lua
    maxminddb md mime_magic mime_xattr mono mpm_event mpm_peruser mpm_worker musicindex nss pagespeed
    passenger perl privileges proxy_ajp proxy_balancer proxy_connect proxy_express proxy_fdpass proxy_ftp
    proxy_hcheck proxy_html proxy_http2 python qos ratelimit reflector removeip request rivet rpaf
    security2 sed session session_cookie session_crypto session_dbd shib slotmem_plain slotmem_shm socache_dbm
    socache_dc socache_memcache socache_redis ssl_ct status substitute suphp svn tls unique_id
    upload_progress usertrack uwsgi vhost_dbd vhost_ldap xforward xml2enc
"""
NOT_DONE = frozenset(_NOT_DONE.split())

KNOWN = DONE | DONE_IF_LOADED | DONE_WHERE_INSTALLED | NOT_DONE

# Modules that need no LoadModule line: those that Debian builds in (`apache2 -l`), and Ownhost
# itself.
BUILT_IN = frozenset({"asgi", "core", "http", "log_config", "logio", "mpm_itk", "so", "unixd", "version", "watchdog"})

MPMS = frozenset({"mpm_event", "mpm_peruser", "mpm_worker"})  # if one of them is loaded, prefork is not

# Modules whose file name in <IfModule> is not mod_NAME.c; some have had several.
FILES = {
    "core": ("core.c",),
    "http": ("http_core.c",),
    "ldap": ("util_ldap.c",),
    "mpm_event": ("event.c",),
    "mpm_itk": ("mpm_itk.c", "itk.c"),
    "mpm_peruser": ("peruser.c",),
    "mpm_prefork": ("prefork.c",),
    "mpm_worker": ("worker.c",),
}

# Modules with the same directives, of which one is loaded. The first one declares them.
KIN = (("cgi", "cgid"), ("php", "php5", "php7", "php8"))

# The names of modules in the declarations of directives, if they are not mod_NAME.
DECLARED = {
    "event": "mpm_event",
    "http_core": "http",
    "mpm_common": "core",
    "ownhost": "core",
    "prefork": "mpm_prefork",
}
