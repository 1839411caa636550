"""What the documents show, done: configurations check out, commands run, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from docs.machine import Machine
from harness import World
from ownhost.admin.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *sorted(ROOT.glob("docs/*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def configurations() -> list[str]:
    return [block for page in PAGES for block in blocks(page, "apache")]


def commands() -> list[list[str]]:
    pages = [page for page in PAGES if page.name != "first-site.md"]  # test_first_site.py does all of that one
    lines = [line for page in pages for block in blocks(page, "sh") for line in block.splitlines()]
    words = [shlex.split(line.removeprefix("sudo "), comments=True) for line in lines]
    return [line for line in words if line[:1] == ["ownhost"]]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with all that an example names, in a folder that every owner may pass through."""
    with tempfile.TemporaryDirectory(prefix="ownhost-example-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Machine(Path(folder))


@pytest.mark.parametrize("text", configurations())
def test_configurations_check_out(text: str, machine: Machine) -> None:
    with machine.running("check", "-f", str(machine.prepare(text))) as process:
        out, messages = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "Syntax OK\n"), out + messages


@pytest.mark.parametrize("text", configurations())
def test_configurations_start(text: str, machine: Machine) -> None:
    """As they stand, with ports, users and groups. A server that is stopped ends as it should."""
    with machine.running("run", "-f", str(machine.prepare(text))) as process:
        assert process.stderr is not None
        said = _said_at_start(process.stderr)
        assert "listening on " in said, said
        process.terminate()
        rest = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said + rest


def _said_at_start(messages: IO[str]) -> str:
    """What a server says until it listens, or ends."""
    said = ""
    for line in messages:
        said += line
        if "listening on " in line:
            break
    return said


@pytest.mark.parametrize("command", [line for line in commands() if line[1] != "run"], ids=" ".join)
def test_commands_run(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.conf").write_text(configurations()[0])
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_the_configuration_of_the_readme_is_served(world: World) -> None:
    """As written, but for ports, paths and owners, who have no accounts here."""
    for name, uid in (("alice", 50001), ("bob", 50002)):
        world.site(name, uid)
    text = configurations()[0]
    for old, new in (
        ("Listen 80", "Listen 127.0.0.1:@PORT@"),
        ("www-data", '"#50080"'),
        ("*:80", "*:@PORT@"),
        ("/home/alice/public_html", f"{world.folder}/alice"),
        ("/home/bob/public_html", f"{world.folder}/bob"),
        ("AssignUserID alice alice", 'AssignUserID "#50001" "#50001"'),
        ("AssignUserID bob bob", 'AssignUserID "#50002" "#50002"'),
    ):
        assert old in text
        text = text.replace(old, new)
    server = world.server(text, preamble=False)
    for name in ("alice", "bob"):
        assert server.get(f"{name}.example").content == f"{name}\n".encode()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    package = ROOT / "src" / "ownhost"
    folders = (ROOT, package, package / "processes", *(package / "processes").iterdir())
    for name in re.findall(r"`([a-z_/]+\.py)`", page.read_text()):
        assert any((folder / name).exists() for folder in folders), name
    for name in re.findall(r"`\.?/?((?:scripts|tests|docs)/[a-z_/.]*[a-z])`", page.read_text()):
        assert (ROOT / name).exists(), name
