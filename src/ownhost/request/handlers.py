"""Names of handlers that Ownhost has not got, and whether a file may be sent in their stead.

Apache sends a file whose handler nobody has, and applications use that: they name one that there is not, so that
nothing in a folder is run. A name that is a program's elsewhere says something else: the file is its source, which is
for no client.
"""

from __future__ import annotations

import functools
import re

# What interprets, includes or computes: of other modules, of panels, and what people call theirs with Action.
_PROGRAMS = re.compile(
    r"""
      (?: application | text ) / x- .*          # application/x-httpd-php, text/x-server-parsed-html
    | x- (?: httpd | lsphp | php | mapp ) .*    # x-httpd-ea-php81, x-mapp-php5
    | .+ [-_] (?: script | program | cgi | fcgi | fpm | handler-php ) (?: [-_.\d].* )?   # perl-script, python-program
    | (?: php | hhvm | lsphp | lsapi | suphp | f?cgi | fcgid | fastcgi | [aw]sgi | perl | python | ruby | lua ) .*
    | modperl | mod_perl | mod_python | passenger | rack | rails | rivet .* | parser3 .*
    | server- .+ | type-map | imap-file | send-as-is | balancer-manager | ldap-status | md-status | heartbeat
    | proxy: .* | proxy-server | jakarta-servlet | isapi-handler | isapi-isa | dav .* | caucho .*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

# The same of media types, which stand for a handler where none is named. Most are just types.
_PROGRAM_TYPES = re.compile(
    r"(?:application|text)/x-(?:httpd-(?:.*(?:php|cgi|lsphp).*)|lsphp.*|lsapi.*|server-parsed-html3?)", re.IGNORECASE
)


@functools.lru_cache(maxsize=256)
def is_program(name: str) -> bool:
    """Whether a handler's name is a program's, so that a file is not sent where there is no such handler."""
    return _PROGRAMS.fullmatch(name) is not None


@functools.lru_cache(maxsize=256)
def is_program_type(media_type: str) -> bool:
    """The same of the media type of a file without a handler."""
    return _PROGRAM_TYPES.fullmatch(media_type) is not None
