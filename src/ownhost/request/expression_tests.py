"""The tests of expressions (expr.html, "Unary operators", "Binary operators").

An entry's function makes the test from the functions for its words, once for each expression.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import stat
from collections.abc import Callable

from ownhost.config.expression_words import PATTERNS, TESTS, Test
from ownhost.config.globs import compile_glob
from ownhost.config.regex import Pattern
from ownhost.config.words import Word
from ownhost.http.message import HTTPError
from ownhost.http.wire import to_bytes, wire
from ownhost.request.expression_functions import Evaluation, look
from ownhost.request.redirects import subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

Says = Callable[[Evaluation], bool]
Gives = Callable[[Evaluation], str]

_FALSE = frozenset(("", "0", "off", "false", "no"))  # in any case

# Texts


def _is_something(gives: Gives) -> Says:
    return lambda context: gives(context) != ""


def _is_nothing(gives: Gives) -> Says:
    return lambda context: gives(context) == ""


def _is_true(gives: Gives) -> Says:
    return lambda context: gives(context).lower() not in _FALSE


def _matches(*, within_path: bool = False, any_case: bool = False) -> Callable[[Gives, Gives], Says]:
    """A pattern with wildcards."""

    def test(gives: Gives, pattern: Gives) -> Says:
        def says(context: Evaluation) -> bool:
            text, glob = gives(context), pattern(context)
            if any_case:
                glob, text = glob.lower(), text.lower()
            return _glob(glob, within_path).search(text) != ()

        return says

    return test


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str, within_path: bool) -> Pattern:
    return compile_glob(pattern, within_path=within_path)


def in_network(gives: Gives, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Says:
    """Whether an address is in a network; what is no address is not."""

    def says(context: Evaluation) -> bool:
        try:
            address = ipaddress.ip_address(gives(context))
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address) in network

    return says


# Files and URLs


def _file(holds: Callable[[os.stat_result], bool], *, follow: bool = True) -> Test:
    """What is at a file name, or where a link there leads."""

    def test(gives: Gives) -> Says:
        def says(context: Evaluation) -> bool:
            name = gives(context)
            look(context.request)
            try:
                return holds(os.stat(to_bytes(name), follow_symlinks=follow))
            except (OSError, ValueError):
                return False

        return says

    return Test(test, of_files=True)


def _reachable(is_reachable: Callable[[Request, str], bool]) -> Test:
    def test(gives: Gives) -> Says:
        return lambda context: is_reachable(context.request, gives(context))

    return Test(test, of_files=True)


def _url_is_reachable(request: Request, path: str) -> bool:
    """-U: whether a client may ask for a path of this server, by a subrequest. What is missing may be asked for."""
    look(request)
    whole = path if path.startswith("/") else f"{_folder(request.uri)}/{path}"
    uri, mark, query = whole.partition("?")
    return _look_up(request, uri, wire(query) if mark else None)[1] < 400


def _file_is_reachable(request: Request, name: str) -> bool:
    """-F: whether a file would be served, by a subrequest for it."""
    look(request)
    filename = name if name.startswith("/") else f"{_folder(request.filename)}/{name}"
    inner, status = _look_up(request, request.uri, None, filename)
    return status < 300 and inner is not None and inner.stat is not None


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _look_up(request: Request, uri: str, query: str | None, filename: str = "") -> tuple[Request | None, int]:
    """A subrequest as far as access control, and its status. Not from within a look at the very same path."""
    if request.is_subrequest and request.previous is not None and request.previous.uri == request.uri:
        return None, 500
    try:
        inner = subrequest(request, uri, query, filename)
        answer = advance(inner, Phase.ACCESS)
    except HTTPError as error:
        return None, error.status
    return inner, 200 if answer is None else answer.status


for _word in (
    Word("strmatch", "pattern", "Matches a pattern with * and ?.", Test(_matches())),
    Word(
        "strcmatch", "pattern", "Matches a pattern with * and ?. Case does not matter.", Test(_matches(any_case=True))
    ),
    Word("fnmatch", "pattern", "Matches a pattern whose * and ? match no slash.", Test(_matches(within_path=True))),
    Word(
        "ipmatch",
        "network",
        "Is an address in a network.",
        Test(in_network, of_network=True),
        differs="Host names are not looked up.",
    ),
):
    PATTERNS.add(_word)

for _word in (
    Word("n", "text", "The text is not empty.", Test(_is_something)),
    Word("z", "text", "The text is empty.", Test(_is_nothing)),
    Word("T", "text", "The text is none of these: empty, 0, off, false, no.", Test(_is_true)),
    Word("R", "network", "The client's address is in a network.", Test(in_network, of_network=True)),
    Word("d", "file", "There is a folder of that name.", _file(lambda found: stat.S_ISDIR(found.st_mode))),
    Word("e", "file", "There is anything of that name.", _file(lambda _: True)),
    Word("f", "file", "There is a regular file of that name.", _file(lambda found: stat.S_ISREG(found.st_mode))),
    Word(
        "s",
        "file",
        "There is a regular file of that name, and it is not empty.",
        _file(lambda found: stat.S_ISREG(found.st_mode) and found.st_size > 0),
    ),
    Word(
        "L",
        "file",
        "There is a symbolic link of that name.",
        _file(lambda found: stat.S_ISLNK(found.st_mode), follow=False),
        ("h",),
    ),
    Word(
        "x",
        "file",
        "There is something of that name that some user may execute.",
        _file(lambda found: bool(found.st_mode & 0o111), follow=False),
    ),
    Word("F", "file", "A subrequest says that the file would be served.", _reachable(_file_is_reachable)),
    Word(
        "U",
        "path",
        "A subrequest says that a client may see this path of the server.",
        _reachable(_url_is_reachable),
        ("A",),
    ),
):
    TESTS.add(_word)
