"""The demo's sites: folders that only their owners may enter, and the configuration that serves them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

PAGES = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Owner:
    """Someone whose site is served. The uid and gid need no account."""

    name: str
    id: int
    colour: str
    light: str

    @property
    def host(self) -> str:
        """The site's name. Browsers and most resolvers know *.localhost as this machine."""
        return f"{self.name}.localhost"


ALICE = Owner("alice", 50001, "#0f766e", "#ccfbf1")
BOB = Owner("bob", 50002, "#9a3412", "#ffedd5")
OWNERS = (ALICE, BOB)

CONFIGURATION = Template(
    """\
# The demo's configuration: Apache's directives, and mpm-itk's AssignUserID.
ServerRoot "$root"
Listen 127.0.0.1:$port
ServerName localhost
PidFile "$root/ownhost.pid"
User www-data
Group www-data
ErrorLog "$root/logs/error.log"
LogFormat "%v %h \\"%r\\" %>s %O" demo
DirectoryIndex index.html
TypesConfig "$root/mime.types"

<Directory "/">
    AllowOverride None
    Require all denied
</Directory>

# Symbolic links are followed wherever they lead: the kernel keeps owners apart.
<Directory "$root/sites">
    Options FollowSymLinks ExecCGI
    AddHandler cgi-script .cgi
    Require all granted
</Directory>
"""
)

VIRTUAL_HOST = Template(
    """
<VirtualHost 127.0.0.1:$port>
    ServerName $host
    AssignUserID "#$id" "#$id"
    DocumentRoot "$root/sites/$name/htdocs"
    CustomLog "$root/logs/$name.log" demo
    ErrorDocument 403 /refused.html
    ErrorDocument 404 /missing.html
</VirtualHost>
"""
)

MIME_TYPES = "text/html html\ntext/css css\ntext/plain txt\ntext/javascript js\nimage/svg+xml svg\n"


def make(root: Path, port: int) -> Path:
    """Make both sites and their configuration below `root`, an empty folder. The configuration file's name."""
    root.chmod(0o755)  # the folder of the sites is open, the sites are not
    (root / "logs").mkdir(mode=0o755)
    (root / "sites").mkdir(mode=0o755)
    (root / "mime.types").write_text(MIME_TYPES)
    for owner, neighbour in ((ALICE, BOB), (BOB, ALICE)):
        _make_site(root / "sites", owner, neighbour, port)
    text = CONFIGURATION.substitute(root=root, port=port)
    for owner in OWNERS:
        text += VIRTUAL_HOST.substitute(root=root, port=port, name=owner.name, host=owner.host, id=owner.id)
    file = root / "ownhost.conf"
    file.write_text(text)
    return file


def _make_site(sites: Path, owner: Owner, neighbour: Owner, port: int) -> None:
    home = sites / owner.name
    pages = home / "htdocs"
    pages.mkdir(parents=True)
    words = {
        **_words("owner", owner, sites),
        **_words("neighbour", neighbour, sites),
        "port": str(port),
    }
    for page in PAGES.iterdir():
        (pages / page.name).write_text(Template(page.read_text()).substitute(words))
    (pages / "own.txt").write_text(f"This is {owner.name}'s own file. Uid {owner.id} may read it, and did.\n")
    (pages / "secret.txt").write_text(f"{owner.name}'s secret. If another site shows this, Ownhost is broken.\n")
    (pages / f"{neighbour.name}s-secret.txt").symlink_to(sites / neighbour.name / "htdocs" / "secret.txt")
    (pages / f"{neighbour.name}s-folder").symlink_to(sites / neighbour.name / "htdocs")
    _give(home, owner.id)


def _words(role: str, owner: Owner, sites: Path) -> dict[str, str]:
    return {
        role: owner.name,
        f"{role}_title": owner.name.capitalize(),
        f"{role}_id": str(owner.id),
        f"{role}_host": owner.host,
        f"{role}_colour": owner.colour,
        f"{role}_light": owner.light,
        f"{role}_folder": str(sites / owner.name),
    }


def _give(tree: Path, uid: int) -> None:
    """Make a tree its owner's alone: folders 0700, files 0600, programs 0700."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() or path.suffix == ".cgi" else 0o600)
