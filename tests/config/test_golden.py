"""Golden configurations: reading golden/NAME.conf must give golden/NAME.txt.

To add one, write the .conf, have its .txt written by `python tests/config/test_golden.py NAME`, and check that it
says what Apache would do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.directive import ConfigError, Settings, Source
from ownhost.config.model import Section, VirtualHost
from ownhost.config.reader import read

modules.load()

FOLDER = Path(__file__).with_name("golden")
FILES = sorted(FOLDER.glob("*.conf"))


def describe(file: Path) -> str:
    """What a configuration says, or what is wrong with it, as text; file names start at the golden folder."""
    try:
        config = read(
            str(file), defines=["ON_COMMAND_LINE"], environ={"PLANET": "earth"}, resolver=lambda _: ["192.0.2.1"]
        )
    except ConfigError as error:
        lines = [f"problem {problem}" for problem in error.problems]
    else:
        lines = [f"listen {listener.address} {listener.protocol}" for listener in config.listeners]
        lines += (line for server in config.servers for line in describe_server(server))
        lines += (f"note {note}" for note in config.notes)
    return "".join(f"{line}\n" for line in lines).replace(f"{FOLDER}/", "")


def describe_server(server: VirtualHost) -> Iterator[str]:
    yield f"server {server.id} at {' '.join(map(str, server.addresses)) or 'the rest'}"
    yield from describe_settings(server.settings, server.origins, "  ")
    for section in server.sections:
        yield from describe_section(section, "  ")


def describe_settings(settings: Settings, origins: dict[str, Source], indent: str) -> Iterator[str]:
    for name in settings.values:
        if name != "Listen":
            value = settings.values[name]
            shown = str(value) if name == "ServerName" else repr(value)
            yield f"{indent}{name} = {shown} ({origins[name]})"


def describe_section(section: Section, indent: str) -> Iterator[str]:
    regex = f" matching {section.regex.pattern}" if section.regex else ""
    yield f"{indent}<{section.kind} {section.pattern!r}>{regex}"
    yield from describe_settings(section.settings, section.origins, indent + "  ")
    for inner in section.sections:
        yield from describe_section(inner, indent + "  ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    assert describe(file) == file.with_suffix(".txt").read_text()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        (FOLDER / f"{name}.txt").write_text(describe(FOLDER / f"{name}.conf"))
