"""Case files: a configuration and requests, in the form that cases/README.md describes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in FOLDER.glob("*.conf"))
_DIFFERENCE = re.compile(r"# ours (?:(?P<name>[\w-]+)=)?(?P<value>.*?): \S")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


class CaseError(ValueError):
    """A case file is not in its form."""


@dataclass(frozen=True)
class Asked:
    """One request of a case."""

    data: bytes
    where: str  # file and line
    meant: dict[str, str]  # what is compared, to Ownhost's own value where a difference is meant

    @property
    def method(self) -> str:
        return self.data.split(b" ", 1)[0].decode()

    @property
    def title(self) -> str:
        """The request line and the fields that matter, to be shown."""
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return ", ".join(line for line in lines if line not in ("Host: site.test", "Connection: close"))


def configuration(name: str) -> str:
    """The configuration of a case."""
    return (FOLDER / f"{name}.conf").read_text()


def has_own_server(name: str) -> bool:
    """Whether a case says something of the server, and not only of a virtual host."""
    return "<VirtualHost" in configuration(name)


def access_file(name: str) -> str:
    """The AccessFileName of a case, so that no other case reads its .htaccess files."""
    return f".ht-{name}"


def htaccess(name: str) -> dict[str, str]:
    """The .htaccess files of a case: folders, below its tree, to what the file there says."""
    path = FOLDER / f"{name}.htaccess"
    if not path.exists():
        return {}
    before, *blocks = re.split(r"^== (.*)\n", path.read_text(), flags=re.MULTILINE)
    if before.strip() or not blocks:
        raise CaseError(f"{path.name}: expected '== FOLDER' before each file")
    return dict(zip(blocks[::2], blocks[1::2], strict=True))


def connections(name: str) -> list[list[Asked]]:
    """The requests of a case, those of one connection together."""
    return parse((FOLDER / f"{name}.txt").read_text(), f"{name}.txt")


def parse(text: str, file: str) -> list[list[Asked]]:
    """Blocks between empty lines are connections; lines with a lone + are between requests on one of them."""
    found: list[list[Asked]] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            block.append((number, line))
        elif any(not line.startswith("#") for _, line in block):
            found.append(_connection(block, file))
            block = []
        else:
            block = []
    return found


def _connection(block: list[tuple[int, str]], file: str) -> list[Asked]:
    requests: list[list[tuple[int, str]]] = [[]]
    for number, line in block:
        if line == "+":
            requests.append([])
        else:
            requests[-1].append((number, line))
    return [_request(lines, file, last=lines is requests[-1]) for lines in requests]


def _request(numbered: list[tuple[int, str]], file: str, *, last: bool) -> Asked:
    where = f"{file}:{next((number for number, line in numbered if not line.startswith('#')), 0)}"
    meant = {}
    for _, line in numbered:
        if line.startswith("# ours"):
            match = _DIFFERENCE.match(line)
            if not match:
                raise CaseError(
                    f"{where}: expected '# ours VALUE: reason' or '# ours NAME=VALUE: reason', not {line!r}"
                )
            meant[(match["name"] or "status").lower()] = match["value"]
    lines = [line for _, line in numbered if not line.startswith("#")]
    if not lines:
        raise CaseError(f"{file}:{numbered[0][0] if numbered else 0}: expected a request beside each +")
    body = "\n".join(line[1:].removeprefix(" ") for line in lines if line.startswith(">"))
    data = _head([line for line in lines if not line.startswith(">")], len(body.encode()), last) + body
    return Asked(_ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), data.encode()), where, meant)


def _head(lines: list[str], length: int, last: bool) -> str:
    """The head as it is sent. A line with a lone - in it means: these fields and no other."""
    first = lines[0] if " HTTP/" in lines[0] else f"{lines[0]} HTTP/1.1"
    fields = [line for line in lines[1:] if line != "-"]
    if "-" not in lines:
        given = {line.partition(":")[0].lower() for line in fields}
        if "host" not in given and first.endswith("1.1"):
            fields.insert(0, "Host: site.test")
        if length and not given & {"content-length", "transfer-encoding"}:
            fields.append(f"Content-Length: {length}")
        if "connection" not in given and last:
            fields.append("Connection: close")
    return "\r\n".join([first, *fields, "", ""])
