"""An administrator's machine, as documents take it for granted: accounts, folders, keys, a network of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apart import apart
from certificates import Authority

ACCOUNTS = {"alice": 1001, "bob": 1002, "carol": 1003}  # beside Debian's
FOLDERS = ("/home/", "/srv/", "/var/log/ownhost/", "/etc/ownhost/")  # below these all is there that is named
# What is mounted and set up is gone with the last process in it.
_ENTER = """
ip link set lo up
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
shift
exec "$@"
"""


class Machine:
    """Below `folder` is what would be below /. A text that names what is there names it there then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("passwd", "group"):
            lines = Path("/etc", name).read_text().splitlines()
            known = [line for line in lines if line.split(":")[0] not in ACCOUNTS]
            more = [_account(name, user, number) for user, number in ACCOUNTS.items()]
            (folder / name).write_text("\n".join((*known, *more)) + "\n")

    def prepare(self, text: str) -> Path:
        """Make all that a configuration names, and write it down. The file's name."""
        path = self.folder / "site.conf"
        path.write_text(self._with_folders(self._with_keys(text)))
        return path

    def _with_folders(self, text: str) -> str:
        """Whatever stands below one of the folders is a folder; what is written to has one around it."""
        for name in set(re.findall(rf"(?:{'|'.join(FOLDERS)})[^\s\"'>:%]*", text)):
            path = Path(f"{self.folder}{name}")
            (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
        return re.sub(rf"({'|'.join(FOLDERS)})", rf"{self.folder}\1", text)

    def _with_keys(self, text: str) -> str:
        """Certificates, keys and authorities are there: all that is said of them is checked."""
        if not re.search(r"^ *SSL\w+File ", text, re.MULTILINE):
            return text
        authority = Authority()
        made = authority.issue("any.example")
        contents = {
            "Certificate": made.chain + made.secret,
            "ProxyMachineCertificate": made.chain + made.secret,
            "CACertificate": authority.pem,
            "ProxyCACertificate": authority.pem,
            "CARevocation": authority.revoke(),
        }
        for kind, content in contents.items():
            (self.folder / f"{kind}.pem").write_text(content)
        return re.sub(
            rf"^( *SSL({'|'.join(contents)})\w*File) .*",
            lambda found: f"{found[1]} {self.folder}/{found[2]}.pem",
            text,
            flags=re.MULTILINE,
        )

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """An `ownhost` command on this machine, with its output and messages; ended at the end."""
        enter = (*apart("--net"), "sh", "-ec", _ENTER, "sh", str(self.folder))
        arguments = (*enter, sys.executable, "-m", "ownhost", *command)
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _account(file: str, name: str, number: int) -> str:
    if file == "group":
        return f"{name}:x:{number}:"
    return f"{name}:x:{number}:{number}::/home/{name}:/usr/sbin/nologin"
