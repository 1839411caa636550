"""The files that the cases are about, and how an answer shows who served it."""

from __future__ import annotations

import os
from pathlib import Path

from harness import ALICE, BOB, CAROL, World
from oracle import cases
from oracle.accounts import TEAM, USERS
from oracle.passwords import PASSWORDS

WWW_DATA = 33
OLD = 1_600_000_000  # when all files were changed last
UIDS = (WWW_DATA, ALICE, BOB, CAROL, *(user.uid for user in USERS))
GIDS = (0, *UIDS, TEAM[1])
FILES: dict[str, str | bytes] = {
    "index.html": "root index\n",
    "a.txt": "0123456789" * 20,
    "large.txt": "".join(f"{number} and {number * number}\n" for number in range(6_000)),
    "text.html": "<p>text</p>\n" * 30,
    "text.id.txt": "identity\n" * 30,
    "b.html": "<p>b</p>\n",
    "d/index.html": "d index\n",
    "d/second.html": "d second\n",
    "d/x.txt": "d x\n",
    "d/inner/x.txt": "inner x\n",
    "e/second.html": "e second\n",
    "e/x.TXT": "e x\n",
    "empty/.keep": "",
    "sp ace/a b.txt": "space\n",
    "über/ü.txt": "umlaut\n",
    "plus+and&.txt": "plus\n",
    "page.de.html": "deutsch\n",
    "archive.tar.gz": "not really gzip\n",
    "doc.html.en.gz": "not really gzip either\n",
    "noextension": "none\n",
    ".hidden.txt": "hidden\n",
    "many.dots.in.txt": "dots\n",
    "data.json": "{}\n",
    "errors/404.html": "our own 404\n",
    "errors/403.html": "our own 403\n",
    "private/x.txt": "private\n",
    "private/open/x.txt": "open\n",
    "fallback.html": "fallback\n",
    "zero": "",
    "asis/plain.asis": "Content-Type: text/plain\nX-Own: yes\n\nplain\n",
    "asis/status.asis": "Status: 410 Gone away\nContent-Type: text/plain\n\ngone\n",
    "asis/moved.asis": "Status: 301 Moved\nLocation: http://other.test/x\nContent-Type: text/plain\n\nmoved\n",
    "asis/local.asis": "Location: /d/x.txt?q\n\n",
    "asis/none.asis": "Status: 204 Nothing\nX-Own: yes\n\n",
    "asis/bad.asis": "Content-Type: text/plain\nthis is no field\n\nbody\n",
    "asis/dated.asis": "Content-Type: text/plain\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\n\ndated\n",
    "asis/length.asis": "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nlonger\n",
    "asis/typeless.asis": "X-Own: yes\n\nno type\n",
    "asis/nohead.asis": "no end",
    "negotiated/page.html.en": "english\n",
    "negotiated/page.html.de": "deutsch, and longer\n",
    "negotiated/page.html.fr.gz": "french, packed\n",
    "negotiated/doc.html": "<p>doc</p>\n",
    "negotiated/doc.txt": "doc\n",
    "negotiated/doc.json": "{}\n",
    "negotiated/enc.html": "plain and longer than that\n",
    "negotiated/enc.html.gz": "packed\n",
    "negotiated/set.html.utf8": "utf-8\n",
    "negotiated/set.html.latin": "latin\n",
    "negotiated/lang.html.en-gb": "british\n",
    "negotiated/lang.html.pt-br": "brazilian\n",
    "negotiated/lang.html": "none\n",
    "negotiated/one.html": "one\n",
    "negotiated/unknown.foo": "unknown\n",
    "negotiated/part.foo.html": "part\n",
    "negotiated/closed.html": "closed\n",
    "negotiated/closed.txt": "open\n",
    "negotiated/folder.html/x.txt": "x\n",
    "negotiated/map.var": "# variants\nURI: page.html.en\nContent-Type: text/html; qs=0.5\nContent-Language: en\n\n"
    "URI: doc.txt\nContent-Type: text/plain; charset=utf-8; qs=0.8\nDescription: the (real)\n text\n",
    "negotiated/body.var": "Content-Type: text/html\nContent-Language: en\nBody:--end--\n<p>en</p>\n--end--\n\n"
    "Content-Type: text/plain; charset=utf-8\nContent-Language: de\nBody:--end--\ndeutsch\n--end--\n",
    "negotiated/cross.var": "URI: ../d/x.txt\nContent-Type: text/plain\n\nURI: one.html?q\nContent-Type: text/html\n",
    "negotiated/again.var": "URI: map.var\nContent-Type: text/plain\n",
    "negotiated/bad.var": "URI: one.html\nno colon\n",
    "negotiated/inner.var": "URI: one.html\nContent-Type: text/html\n\nURI: doc.txt\nContent-Type: text/plain\n",
    "map.txt": "# comment x\none eins\n indented y\nnovalue\nnovalue \ntwo\tzwei # rest\none again\n"
    "three drei vier\nsame only|only\na-file /a.txt\n",
}

# A folder to be listed: names that need escapes, sizes around units, versions, and files to show above and below.
LISTED: dict[str, str] = {
    "a.txt": "a\n",
    "B.html": "<html><head><TITLE>\nTitle of &quot;B&quot;\nin two lines</TITLE></head></html>\n",
    "c&d <e>.txt": "c\n",
    "quo\"te's.txt": "quotes\n",
    "ü.txt": "umlaut\n",
    "bad\udcff.txt": "undecodable\n",
    "per%25 semi;q?h#.txt": "reserved\n",
    "col:on.txt": "colon\n",
    "archive.tar.gz": "archive\n",
    "page.html.gz": "page\n",
    "data.json": "{}\n",
    "file-1.txt": "1\n",
    "file-2.txt": "2\n",
    "file-010.txt": "010\n",
    "file-10.txt": "10\n",
    "File-3.txt": "3\n",
    ".hidden.txt": "hidden\n",
    "backup~": "backup\n",
    "README": "read me\n",
    "a long name that does not fit into its column.txt": "long\n",
    "size-972": "x" * 972,
    "size-973": "x" * 973,
    "size-1536": "x" * 1536,
    "size-10188": "x" * 10_188,
    "size-10240": "x" * 10_240,
    "secret.txt": "secret\n",
    "top.html": "<p>top</p>\n",
    "end.html": "<p>end</p>\n",
    "top.txt": "top <of> & all\n",
    "sub/x.txt": "x\n",
    "Sub2/index.html": "index\n",
    "sub-10/x.txt": "x\n",
    "closed/x.txt": "x\n",
}
CHANGED = {"a.txt": 300, "B.html": 200, "sub": 100, "file-1.txt": 86_400 * 40}  # seconds after OLD

# A CGI program that says what it is told, but for what is each server's or connection's own.
# All at once, with its length: else that depends on when it comes.
TELLS = """#!/bin/sh
told=$(/usr/bin/env | /usr/bin/sort | /bin/grep -Ev '^(PATH|REMOTE_PORT|SERVER_SOFTWARE)='; echo "$# words: $*")
printf 'Content-Type: text/plain\\nContent-Length: %s\\n\\n%s' "${#told}" "$told"
"""
# One whose content has the type that its query says.
OF_TYPE = """#!/bin/sh
printf 'Content-Type: %s\\nContent-Length: 1\\n\\nx' "$QUERY_STRING"
"""
# One that says what it is asked to: the query's parts are the lines of its head, with a plus for a space.
SAYS = """#!/bin/bash
lines=${QUERY_STRING//+/ } lines=${lines//&/$'\\n'}
printf 'Content-Type: text/plain\\nContent-Length: 5\\n%b\\n\\nbody\\n' "${lines//%/\\x}"
"""
SHARED = {  # what everybody can read
    "shared/index.html": "shared index\n",
    "shared/x.txt": "shared x\n",
    "shared/data.json": "{}\n",
    "shared/inner/index.html": "shared inner index\n",
    "shared/inner/x.txt": "shared inner x\n",
    "shared/inner/deep/x.txt": "shared deep x\n",
}


def make_tree(world: World) -> None:
    """All folders of the cases: `site` is alice's, `probe` shows who looks, `homes` and `mass` are many users'."""
    _make_site(world)
    _make_htaccess(world.folder / "site")
    _make_probe(world.folder / "probe")
    _make_homes(world.folder)
    for name, content in PASSWORDS.items():
        _owned(world.folder / "passwords" / name, content, ALICE)
    (world.folder / "mime.types").write_text("text/html html htm\ntext/plain txt\napplication/json json\n")
    for path in world.folder.rglob("*"):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    for name, later in CHANGED.items():
        os.utime(world.folder / "site" / "listed" / name, (OLD + later, OLD + later))


def _make_site(world: World) -> None:
    root = world.site("site", ALICE, FILES | {f"listed/{name}": content for name, content in LISTED.items()})
    (root / "link.txt").symlink_to(root / "a.txt")
    (root / "linked").symlink_to(root / "d")
    (root / "foreign.txt").symlink_to(root / "a.txt")
    os.lchown(root / "link.txt", ALICE, ALICE)
    os.lchown(root / "linked", ALICE, ALICE)
    os.lchown(root / "foreign.txt", BOB, BOB)
    _owned(root / "bob" / "x.txt", "bob's\n", BOB)
    for name, target in (("link.txt", "a.txt"), ("linked", "sub"), ("broken", "nowhere")):
        (root / "listed" / name).symlink_to(target)
        os.lchown(root / "listed" / name, ALICE, ALICE)
    for path, content in SHARED.items():
        _owned(root / path, content, ALICE, folder=0o755, file=0o644)
    _owned(root / "programs/env.cgi", TELLS, ALICE, file=0o700)
    _owned(root / "programs/as.cgi", OF_TYPE, ALICE, file=0o700)
    _owned(root / "programs/says.cgi", SAYS, ALICE, file=0o700)
    root.chmod(0o711)


def _make_htaccess(root: Path) -> None:
    """The .htaccess files of all cases, and the folders for them that are not there."""
    for name in cases.NAMES:
        for folder, text in cases.htaccess(name).items():
            path = root / folder / cases.access_file(name)
            for parent in [one for one in reversed(path.parents) if not one.exists()]:
                parent.mkdir()
                os.chown(parent, ALICE, ALICE)
                parent.chmod(0o755)
            path.write_text(text)
            os.chown(path, ALICE, ALICE)
            path.chmod(0o644)


def _make_probe(probe: Path) -> None:
    """A folder for each uid and gid, with a file that only who has that id can see."""
    probe.mkdir()
    for uid in UIDS:
        _owned(probe / str(uid) / "x", "", uid)
    for gid in GIDS:
        _owned(probe / f"g{gid}" / "x", "", 0)
        os.chown(probe / f"g{gid}", 0, gid)
        (probe / f"g{gid}").chmod(0o750)


def _make_homes(folder: Path) -> None:
    """Each user's home with public_html, and mass virtual hosting with a folder per host name."""
    for user in USERS:
        home = folder / "homes" / user.name
        _owned(home / "public_html" / "index.html", f"{user.name}'s page\n", user.uid)
        _owned(home / "public_html" / "x.txt", f"{user.name}'s x\n", user.uid)
        os.chown(home, user.uid, user.uid)
        home.chmod(0o700)
        _owned(folder / "mass" / f"{user.name}.test" / "index.html", f"{user.name}.test\n", user.uid)
        _owned(folder / "mass" / f"{user.name}.test" / "x.txt", f"{user.name}.test's x\n", user.uid)


def _owned(path: Path, content: str, uid: int, *, folder: int = 0o700, file: int = 0o600) -> None:
    """A file in a folder, both somebody's; unless other modes are given, only that owner can read and enter them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    for made, mode in ((path.parent, folder), (path, file)):
        os.chown(made, uid, uid)
        made.chmod(mode)


def probing(folder: Path) -> str:
    """The configuration by which each answer names, in X-Uid and X-Gid, the ids that it was made with."""
    lines = [f"Header always append X-Uid {uid} \"expr=-f '{folder}/probe/{uid}/x'\"" for uid in UIDS]
    lines += [f"Header always append X-Gid {gid} \"expr=-f '{folder}/probe/g{gid}/x'\"" for gid in GIDS]
    return "\n".join(lines)
