"""Where each directive may stand, and what AllowOverride must say: as `apache2 -L` gives them, every module loaded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ownhost import modules
from ownhost.config.directive import ANYWHERE, REGISTRY, SECTIONS, SERVER_ONLY, SERVERS, Directive, Override, Where

pytestmark = pytest.mark.slow

modules.load()

APACHE = Path("/usr/sbin/apache2")
LIBRARIES = Path("/usr/lib/apache2/modules")
ALTERNATIVES = ("mpm_prefork", "mpm_event")  # each needs a list of its own
FIRST = ("mpm", "slotmem_shm", "session", "dav", "proxy", "cache", "ldap", "dbd", "http2")  # what others build upon

INSIDE = "only inside <Directory>, <Files>, <Location>, or <If>"
OUTSIDE = "only outside <Directory>, <Files>, <Location>, or <If>"
PLACES = {"anywhere": SECTIONS, INSIDE: Where.DIRECTORY, OUTSIDE: SERVERS}

# Directives that stand elsewhere here, and why.
DIFFERENT = {
    "MaxClientsVHost": "mpm-itk refuses it outside of a virtual host when it reads it",
    "RewriteBase": "Apache refuses it outside of a folder when it reads it",
    "ServerAlias": "Apache refuses it outside of a virtual host when it reads it",
    "SSLCACertificateFile": "authorities of a folder's own would take a second handshake",
    "SSLCACertificatePath": "authorities of a folder's own would take a second handshake",
    "SSLLog": "gone since Apache 2.0, and an error here",
    "SSLLogLevel": "gone since Apache 2.0, and an error here",
}
# Modules with directives that this Apache has not: Ownhost's own, and what Debian packages apart, or not at all.
OTHER_IDENTITY = {"mod_asgi", "mod_fcgid", "mod_ruid2", "mod_wsgi", "mod_xsendfile", "ownhost"}
# Directives of Apache that Debian's is built without.
NOT_BUILT = {"EnableExceptionHook"}


class Place(NamedTuple):
    """What Apache says of a directive."""

    where: Where
    override: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Place]]:
    """What Apache says of each of its directives and sections, by name in lower case."""
    if not APACHE.exists():
        pytest.skip("asks Apache")
    found: dict[str, set[Place]] = {}
    for mpm in ALTERNATIVES:
        folder = tmp_path_factory.mktemp(mpm)
        for name, place in listed(folder, mpm):
            found.setdefault(name.lower(), set()).add(place)
    return found


def listed(folder: Path, mpm: str) -> list[tuple[str, Place]]:
    """The answer of `apache2 -L` with all modules that go with an MPM."""
    threads = mpm == "mpm_event"
    names = [path.stem.removeprefix("mod_") for path in LIBRARIES.glob("mod_*.so")]
    left_out = ("wsgi", "fcgid", "xsendfile", "cgi" if threads else "cgid")
    names = [name for name in names if not name.startswith("mpm_") and name not in left_out]
    names.sort(key=lambda name: (name not in FIRST, name))
    loads = [f"LoadModule {name}_module {LIBRARIES}/mod_{name}.so" for name in (mpm, *names)]
    if not threads:
        loads.append(f"LoadModule mpm_itk_module {LIBRARIES}/mpm_itk.so")
        loads.append(f"LoadModule php_module {LIBRARIES}/libphp8.2.so")
    path = folder / "apache.conf"
    path.write_text("\n".join((*loads, "ServerName x", "Listen 127.0.0.1:81", f"ErrorLog {folder}/log\n")))
    done = subprocess.run([APACHE, "-L", "-f", path], capture_output=True, text=True, check=False)
    blocks = re.findall(r"^<?(\S+) \(\S+\)\n(.*?)(?=^\S+ \(\w+\.c\)$|\Z)", done.stdout, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 500, done.stderr
    return [(name, place_of(text)) for name, text in blocks]


def place_of(text: str) -> Place:
    allowed = re.search(
        r"Allowed in \*\.conf (.*?)(?: \[no per-dir config\])?( and in \.htaccess)?$", text, re.MULTILINE
    )
    assert allowed, text
    where = PLACES[allowed[1]] | (Where.HTACCESS if allowed[2] else Where(0))
    override = re.search(r"when AllowOverride (?:(isn't None)|includes (.*))", text)
    return Place(where, "None" if override is None else "All" if override[1] else override[2])


def agrees(directive: Directive, place: Place) -> bool:
    """Whether a declaration says what Apache says. It lists neither <Proxy>, nor that one is for the whole server."""
    where = SERVERS if directive.where == SERVER_ONLY else directive.where & ~Where.PROXY
    return where == place.where and str(directive.override) == place.override


def test_each_directive_stands_where_apache_lets_it(places: dict[str, set[Place]]) -> None:
    others = {
        f"{one.name}: {one.where!s}, {one.override}, not {places[key]}"
        for key, one in REGISTRY.items()
        if one.name not in DIFFERENT and key in places and not any(agrees(one, place) for place in places[key])
    }
    assert not others


def test_what_is_said_to_differ_does(places: dict[str, set[Place]]) -> None:
    assert not [
        name for name in DIFFERENT if any(agrees(REGISTRY[name.lower()], place) for place in places[name.lower()])
    ]


def test_what_apache_has_not_is_somebody_elses(places: dict[str, set[Place]]) -> None:
    strange = {one.name for key, one in REGISTRY.items() if key not in places and one.module not in OTHER_IDENTITY}
    assert strange == NOT_BUILT


def test_what_may_stand_in_htaccess_names_a_class_and_nothing_else_does() -> None:
    for one in REGISTRY.values():
        assert bool(one.override) == (Where.HTACCESS in one.where), one.name
    assert str(Override.AUTH_CONFIG | Override.LIMIT) == "AuthConfig or Limit"
    assert REGISTRY["ifmodule"].where == ANYWHERE
