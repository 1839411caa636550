"""The notes of `ownhost check`: what is likely not meant so, at its line, with what to do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from certificates import NOW, Authority
from harness import World
from ownhost.admin.cli import main

HEAD = "Listen 127.0.0.1:80\nServerName main.test\nUser www-data\nGroup www-data\nDocumentRoot {0}\n"


def notes(folder: Path, text: str) -> list[str]:
    """Each note, with its line."""
    file = folder / "site.conf"
    file.write_text(HEAD.format(folder) + text.replace("@DIR@", str(folder)))
    result = CliRunner().invoke(main, ["check", "-f", str(file), "--json"])
    answer = json.loads(result.stdout)
    assert answer["ok"], answer
    shown = CliRunner().invoke(main, ["check", "-f", str(file)])
    assert len(shown.stderr.splitlines()) == len(answer["notes"])
    assert all(line.startswith(f"{file}:") for line in shown.stderr.splitlines())
    return [
        f"{note['line'] - HEAD.count(chr(10))}: {note['message']}" + (f" +{note['more']}" if note["more"] else "")
        for note in answer["notes"]
    ]


def host(name: str, more: str = "", address: str = "*:80") -> str:
    said = f"ServerName {name}\n" if name else ""
    return f"<VirtualHost {address}>\n{said}DocumentRoot @DIR@\n{more}</VirtualHost>\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # DocumentRoot
        ("DocumentRoot @DIR@/none", ["1: DocumentRoot @DIR@/none does not exist: make it"]),
        ("DocumentRoot @DIR@/sitee", ["1: DocumentRoot @DIR@/sitee does not exist (did you mean @DIR@/site?): make"]),
        ("DocumentRoot @DIR@/file", ["1: DocumentRoot @DIR@/file is not a folder: name the folder"]),
        ("DocumentRoot @DIR@/file/x", ["1: DocumentRoot @DIR@/file/x does not exist: make it"]),
        ("DocumentRoot @DIR@/none\nVirtualDocumentRoot @DIR@/%0", []),
        ("<VirtualHost *:80>\nServerName a.test\n</VirtualHost>", []),
        # Virtual hosts of one name
        (host("a.test") + host("b.test"), []),
        (host("a.test") + host("a.test"), ["5: this virtual host gets no requests: @FILE@:6 goes by a.test, too"]),
        (host("a.test") + host("A.test"), ["5: this virtual host gets no requests: @FILE@:6 goes by a.test, too"]),
        (host("a.test") + host("a.test", address="127.0.0.1:80"), []),
        (
            host("a.test", address="*:80 *:81") + host("a.test", address="*:81") + "Listen 81\n",
            ["5: this virtual host gets no requests"],
        ),
        (host("a.test") + host("a.test", "ServerAlias b.test\n"), ["5: requests for a.test go to @FILE@:6, which"]),
        (host("a.test", "ServerAlias *.x.test\n") + host("b.x.test"), ["6: this virtual host gets no requests"]),
        (host("b.x.test") + host("a.test", "ServerAlias *.x.test\n"), []),
        (
            host("") + host(""),
            ["4: this virtual host, which has no ServerName, gets no requests: @FILE@:6 goes by main"],
        ),
        # Formats
        ("CustomLog log combind", ["1: there is no LogFormat combind: each line of this log is that word"]),
        ("LogFormat %h short\nCustomLog log shart", ["2: there is no LogFormat shart: each line of this log is that "]),
        ("LogFormat %h short\nCustomLog log short\nCustomLog log common\nCustomLog log %h", []),
        ("CustomLog log odd\n" + host("a.test") + host("b.test"), ["1: there is no LogFormat odd"]),
        # Sections that match nothing
        ("<Location admin>\n</Location>", ["1: <Location admin> matches nothing; write <Location /admin>"]),
        ("<Location /admin>\n</Location>\n<Location */x>\n</Location>", []),
        ("<Location http://x/>\n</Location>", []),
        ("<LocationMatch ^admin/>\n</LocationMatch>", ["1: <LocationMatch ^admin/> matches nothing; write "]),
        ("<LocationMatch admin>\n</LocationMatch>\n<LocationMatch ^/a>\n</LocationMatch>", []),
        ("<Directory @DIR@/sit>\n</Directory>", ["1: <Directory @DIR@/sit> is for a folder that does not exist (did "]),
        ("<Directory @DIR@/site>\n</Directory>\n<Directory /no/such>\n</Directory>", []),
        (
            "<Directory @DIR@>\nRewriteRule ^/x y\n</Directory>",
            ["2: RewriteRule ^/x matches nothing: in a <Directory>"],
        ),
        ("<Directory @DIR@>\nRewriteRule ^/?x y\nRewriteRule !^/x y\n</Directory>\nRewriteRule ^/x y", []),
        ("Alias /icons/ /usr/share/icons", ["1: /icons/x leads to /usr/share/iconsx: end both"]),
        ("Alias /icons /usr/share/icons/\nAlias /a/ /b/\nAlias / /c", []),
        # Without effect
        (
            "ProxyHTMLLinks a x\nProxyHTMLLinks b x\nMutex x\nProxyHTMLLinks c x",
            ["1: ProxyHTMLLinks is accepted without effect +2", "3: Mutex"],
        ),
        ("Options Indexes MultiViews", []),
        ("H2PushResource /a\nH2PushResource /b", ["1: H2PushResource: nothing is pushed to HTTP/2 clients"]),
    ],
)
def test_what_is_noted(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "file").write_text("x\n")
    found = notes(tmp_path, text)
    wanted = [one.replace("@DIR@", str(tmp_path)).replace("@FILE@", str(tmp_path / "site.conf")) for one in expected]
    assert len(found) == len(wanted), found
    for note, start in zip(found, wanted, strict=True):
        assert note.startswith(start) or note.replace(" +1", "").startswith(start)


@pytest.mark.parametrize(
    ("names", "days", "lifetime", "lines", "expected"),
    [
        (["a.test"], 60, 90, "", []),
        (["a.test"], 10, 90, "", ["expires in 9 days, on "]),
        (["a.test"], 3, 6, "", []),
        (["a.test"], 1.5, 6, "", ["expires in 1 day, on "]),
        (["a.test"], 0.5, 6, "", ["expires within a day, at "]),
        (["other.test"], 60, 90, "", ["the certificate is for other.test, and not for a.test: browsers"]),
        (["*.test"], 60, 90, "ServerAlias b.a.test c.test\n", ["is for *.test, and not for b.a.test: browsers"]),
        (["A.test", "*.a.test"], 60, 90, "ServerAlias *.a.test\n", []),
    ],
)
def test_certificates(
    tmp_path: Path, names: list[str], days: float, lifetime: float, lines: str, expected: list[str]
) -> None:
    until = NOW + timedelta(days=days)
    made = Authority().issue(*names, since=until - timedelta(days=lifetime), until=until)
    certificate, key = made.files(tmp_path, "tls")
    tls = f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\n{lines}"
    found = notes(tmp_path, host("a.test", tls))
    assert len(found) == len(expected), found
    for note, part in zip(found, expected, strict=True):
        assert part in note
        assert note.startswith("5: ")


def test_notes_are_said_at_the_start_too(world: World) -> None:
    site = world.virtual_host("alice", 50001)
    server = world.server(f"{site}<Location admin>\n</Location>\nAddIcon /x .x\nCustomLog @DIR@/log odd\n")
    log = server.log()
    assert "note: <Location admin> matches nothing; write <Location /admin>" in log
    assert "note: there is no LogFormat odd" in log
    assert "AddIcon" not in log, "what changes nothing for visitors is for who asks"
