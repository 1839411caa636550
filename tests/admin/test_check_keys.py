"""Keys and certificates that do not fit: what `ownhost check` says, and what the server does with the rest."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from certificates import NOW, Authority, key_pem, new_key
from encrypted import Sites
from harness import ALICE, BOB, World
from installing import install
from waiting import eventually

# What is tried (the lines of a virtual host, after SSLEngine on), which of them is to blame, and what is said of it.
# C and K are SSLCertificateFile and SSLCertificateKeyFile.
CASES: dict[str, tuple[str, int, str]] = {
    "missing certificate": ("C none.crt", 0, "@DIR@/none.crt cannot be read: No such"),
    "missing key": ("C good.crt\nK none.key", 1, "none.key cannot be read: No such file"),
    "no certificate at all": ("SSLProtocol all", -1, "there is no SSLCertificateFile"),
    "no key in the certificate's file": ("C good.crt", 0, "it has no certificate, or no key"),
    "no certificate in it": ("C good.key\nK good.key", 0, "it has no certificate"),
    "not PEM": ("C binary\nK good.key", 0, "binary"),
    "a key too many": (
        "C good.crt\nK good.key\nK other.key",
        2,
        "other.key has no SSLCertificateFile",
    ),
    "mismatch": ("C good.crt\nK other.key", 0, "the key does not belong to the certificate"),
    "mismatch of kinds": ("C good.crt\nK rsa.key", 0, "the key does not belong to the certificate"),
    "expired": ("C old.crt\nK old.key", 0, "old.crt expired on "),
    "not yet valid": ("C new.crt\nK new.key", 0, "new.crt is not valid before "),
    "encrypted": ("C good.crt\nK locked.key", 0, "the key has a passphrase"),
    "a folder": ("C folder\nK good.key", 0, "folder cannot be read: Is a directory"),
    "a device": ("C good.crt\nK /dev/zero", 1, "it is not a regular file"),
    "a pipe": ("C good.crt\nK pipe", 1, "it is not a regular file"),
    "an owner's link": ("C good.crt\nK linked.key", 1, "symbolic link of another user"),
    "behind an owner's link": ("C good.crt\nK linked/good.key", 1, "symbolic link of another user"),
    "no such cipher": ("@GOOD@\nSSLCipherSuite NO-SUCH", 2, "OpenSSL knows no cipher in 'NO-SUCH"),
    "no such suite": ("@GOOD@\nSSLCipherSuite TLSv1.3 NO-SUCH", 2, "OpenSSL knows no TLS 1.3 cipher suites 'NO-SUCH'"),
    "no such command": ("@GOOD@\nSSLOpenSSLConfCmd NoSuch x", 2, "OpenSSL has no command 'NoSuch'"),
    "no such group": ("@GOOD@\nSSLOpenSSLConfCmd Groups no-such", 2, "command Groups does not take 'no-such'"),
    "no authorities": ("@GOOD@\nSSLVerifyClient require", 2, "no SSLCACertificateFile says who may issue them"),
    "no authority in it": ("@GOOD@\nSSLVerifyClient require\nSSLCACertificateFile binary", 3, "cannot be used"),
    "no such folder": ("@GOOD@\nSSLVerifyClient require\nSSLCACertificatePath none", 3, "none cannot be read"),
}  # fmt: skip


@pytest.fixture
def keys(sites: Sites) -> Path:
    """Files that fit, and files that don't, in a world that others may enter."""
    folder, authority = sites.world.folder, Authority()
    authority.issue("tried.test").files(folder, "good")
    authority.issue("old.test", since=NOW - timedelta(60), until=NOW - timedelta(1)).files(folder, "old")
    authority.issue("new.test", since=NOW + timedelta(2)).files(folder, "new")
    (folder / "other.key").write_text(key_pem(new_key()))
    (folder / "rsa.key").write_text(key_pem(new_key("rsa")))
    (folder / "locked.key").write_text(key_pem(new_key(), b"secret"))
    (folder / "binary").write_bytes(os.urandom(1000))
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name, target in (("linked.key", folder / "good.key"), ("linked", folder)):
        (folder / name).symlink_to(target)
        os.lchown(folder / name, ALICE, ALICE)
    return folder


def configuration(folder: Path, tried: str) -> str:
    """The lines to try, in a virtual host of their own."""
    good = f"SSLCertificateFile {folder}/good.crt\nSSLCertificateKeyFile {folder}/good.key"
    tried = re.sub("^C ", "SSLCertificateFile ", tried.replace("@GOOD@", good), flags=re.MULTILINE)
    tried = re.sub("^K ", "SSLCertificateKeyFile ", tried, flags=re.MULTILINE)
    return f"<VirtualHost 127.0.0.1:@PORT@>\nServerName tried.test\nSSLEngine on\n{tried}\n</VirtualHost>\n"


def check(
    config: Path, *arguments: str, uid: int = 0, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "ownhost", "check", "-f", str(config), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=uid, group=uid, extra_groups=[], cwd="/"
    )


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_said_with_file_and_line_and_the_others_are_served(
    world: World, sites: Sites, keys: Path, case: str
) -> None:
    tried, blamed, says = CASES[case]
    says = says.replace("@DIR@", str(keys))
    server = world.server(configuration(keys, tried) + sites.virtual_host("bob", BOB), start=False)
    lines = server.config.read_text().splitlines()
    place = lines.index("SSLEngine on") + 2 + blamed
    done = check(server.config)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{server.config}:{place}: "), done.stdout
    assert says in done.stdout
    assert "(virtual host tried.test)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    answer = json.loads(check(server.config, "--json").stdout)
    (problem,) = answer["problems"]
    assert (answer["ok"], problem["line"], says in problem["message"]) == (False, place, True)

    server.start()
    eventually(lambda: f"{server.config}:{place}: " in server.log())
    assert says in server.log()
    assert sites.get(server, "bob.test").content == b"bob\n"
    with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"), server.connect() as sock:
        sites.careless().wrap_socket(sock, server_hostname="tried.test")
    eventually(lambda: "there is no TLS for tried.test" in server.log())


def test_what_fits(world: World, sites: Sites, keys: Path) -> None:
    server = world.server(configuration(keys, "@GOOD@"), start=False)
    done = check(server.config)
    assert (done.returncode, done.stdout) == (0, "Syntax OK\n")


def test_roots_own_links_are_followed(world: World, sites: Sites, keys: Path) -> None:
    """As certbot makes them."""
    (keys / "live.key").symlink_to("good.key")
    server = world.server(configuration(keys, "C good.crt\nK live.key"), start=False)
    assert check(server.config).stdout == "Syntax OK\n"


def test_who_may_not_read_keys_is_told_so(world: World, sites: Sites, keys: Path) -> None:
    server = world.server(configuration(keys, "@GOOD@"), start=False)
    server.config.chmod(0o644)
    python = install(world.folder / "installed")  # the checkout may be in a home that Bob cannot enter
    done = check(server.config, uid=BOB, python=python)
    assert (done.returncode, done.stdout) == (0, "Syntax OK\n"), done.stderr
    assert "good.key cannot be read: Permission denied" in done.stderr
    answer = json.loads(check(server.config, "--json", uid=BOB, python=python).stdout)
    assert answer["ok"] is True
    assert [note for note in answer["notes"] if "good.key" in note["message"]]
