"""Debian's own configuration of Apache, as the package installs it and a2enmod changes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ALICE, Server, World, free_port
from waiting import eventually

DEBIANS = Path(__file__).parents[1] / "config" / "debian" / "apache2"
PHP = Path("/etc/apache2/mods-available")
LOADED = (  # what is enabled at first; with mpm_prefork, as mod_php and mpm_itk want it
    "access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir env "
    "filter mime mpm_prefork negotiation reqtimeout setenvif status"
)
SCRIPT = "<?php echo 'I am ', posix_getuid();"
CGI = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nran\\n'\n"


class Tree:
    """A copy of /etc/apache2, a port to listen on, and a home with a public_html."""

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.folder = world.folder / "apache2"
        self.port = free_port()
        shutil.copytree(DEBIANS, self.folder)
        for kind in ("mods", "conf", "sites"):
            (self.folder / f"{kind}-enabled").mkdir()
        for name in LOADED.split():
            self.enable(name)
        for name in ("serve-cgi-bin", "security"):
            (self.folder / "conf-enabled" / f"{name}.conf").symlink_to(f"../conf-available/{name}.conf")
        ports = self.folder / "ports.conf"
        ports.write_text(ports.read_text().replace("Listen 80\n", f"Listen 127.0.0.1:{self.port}\n"))
        (self.folder / "sites-enabled" / "alice.conf").write_text(
            f"<VirtualHost *:{self.port}>\nServerName alice.test\nDocumentRoot {home}/public_html\n"
            f'AssignUserID "#{ALICE}" "#{ALICE}"\n<Directory {home}/public_html>\nRequire all granted\n</Directory>\n'
            "</VirtualHost>\n"
        )

    def enable(self, name: str, library: str = "") -> None:
        """Do what a2enmod does."""
        enabled = self.folder / "mods-enabled"
        library = library or f"mod_{name}.so"
        (enabled / f"{name}.load").write_text(f"LoadModule {name}_module /usr/lib/apache2/modules/{library}\n")
        if (self.folder / "mods-available" / f"{name}.conf").exists():
            (enabled / f"{name}.conf").symlink_to(f"../mods-available/{name}.conf")

    def enable_php(self) -> None:
        for name in ("php8.2.load", "php8.2.conf"):
            (self.folder / "mods-enabled" / name).symlink_to(PHP / name)

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> Server:
        """The server, with the variables of Debian's envvars."""
        for name, value in {
            "APACHE_RUN_USER": "www-data",
            "APACHE_RUN_GROUP": "www-data",
            "APACHE_RUN_DIR": str(self.world.folder),
            "APACHE_PID_FILE": f"{self.world.folder}/pid",
            "APACHE_LOG_DIR": str(self.world.folder),
        }.items():
            monkeypatch.setenv(name, value)
        server = Server(self.world.folder, self.port, self.folder / "apache2.conf")
        self.world.servers.append(server)
        return server

    def said(self, command: str) -> str:
        """What `ownhost check` or another command says; there must be no errors."""
        words = [sys.executable, "-m", "ownhost", command, "-f", str(self.folder / "apache2.conf")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder in /home, as Debian's php8.2.conf has rules for /home/*/public_html."""
    folder = Path(tempfile.mkdtemp(prefix="ownhost-test-", dir="/home"))
    try:
        public = folder / "public_html"
        public.mkdir()
        for name, content in {"i.php": SCRIPT, "x.phps": SCRIPT, "x.html": "page\n", ".htaccess": "secret\n"}.items():
            (public / name).write_text(content)
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def tree(world: World, home: Path) -> Tree:
    return Tree(world, home)


def test_php_in_a_home_is_run_and_never_sent(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.enable_php()
    tree.enable("mpm_itk", "mpm_itk.so")
    server = tree.serve(monkeypatch).start()
    script = server.get("alice.test", "/i.php")
    assert (script.status, script.content) == (200, f"I am {ALICE}".encode())
    assert server.get("alice.test", "/x.html").status == 200
    for path in ("/x.phps", "/.htaccess"):
        assert server.get("alice.test", path).status == 403
    assert server.get("alice.test", "/server-status").status == 500  # it is nobody's file


def test_with_mod_userdir_php_in_a_home_is_off_and_never_sent(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.enable_php()
    tree.enable("userdir")
    server = tree.serve(monkeypatch).start()
    script = server.get("alice.test", "/i.php")
    assert script.status == 403
    assert b"<?php" not in script.content
    eventually(lambda: "PHP's engine is off here" in server.log())


def test_without_mod_php_its_files_are_no_scripts(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.folder / "conf-enabled" / "php.conf").write_text("AddHandler application/x-httpd-php .php\n")
    server = tree.serve(monkeypatch).start()
    script = server.get("alice.test", "/i.php")
    assert script.status == 500
    assert b"<?php" not in script.content


def test_what_is_not_enabled_is_not_done(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tree.serve(monkeypatch)
    said = tree.said("check")
    for file, module in (
        ("ports.conf:7", "ssl"),
        ("conf-enabled/serve-cgi-bin.conf:2", "cgi"),
        ("conf-enabled/serve-cgi-bin.conf:6", "cgid"),
    ):
        assert [line for line in said.splitlines() if file in line and f"loads {module}_module" in line], said
    assert ":443" not in tree.said("vhosts")
    server.start()
    assert server.get("alice.test", "/cgi-bin/anything").status == 404
    assert server.log().count("/usr/lib/cgi-bin") == 0


def test_what_is_enabled_is(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tree.world.folder / "cgi-bin"
    programs.mkdir()
    (programs / "run").write_text(CGI)
    (programs / "run").chmod(0o755)
    programs.chmod(0o755)
    conf = tree.folder / "conf-available" / "serve-cgi-bin.conf"
    conf.write_text(conf.read_text().replace("/usr/lib/cgi-bin", str(programs)))
    tree.enable("cgi")
    server = tree.serve(monkeypatch)
    assert "serve-cgi-bin.conf" not in tree.said("check")
    response = server.start().get("alice.test", "/cgi-bin/run")
    assert (response.status, response.content) == (200, b"ran\n")
