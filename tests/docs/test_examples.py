"""What the documents show, done: configurations check out, commands run, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from certificates import Authority
from harness import World
from ownhost.admin.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def configurations() -> list[str]:
    return [block for page in PAGES for block in blocks(page, "apache")]


def commands() -> list[list[str]]:
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index("ownhost") :] for line in words if "ownhost" in line]


def with_keys(text: str, folder: Path) -> str:
    """A configuration whose certificates, keys and authorities are there: all that is said of them is checked."""
    authority = Authority()
    made = authority.issue("any.example")
    contents = {
        "Certificate": made.chain + made.secret,
        "CACertificate": authority.pem,
        "CARevocation": authority.revoke(),
    }
    for kind, content in contents.items():
        (folder / f"{kind}.pem").write_text(content)
    return re.sub(
        r"^( *SSL(?:Proxy)?(?:Machine)?(Certificate|CACertificate|CARevocation)\w*File) .*",
        lambda found: f"{found[1]} {folder}/{found[2]}.pem",
        text,
        flags=re.MULTILINE,
    )


@pytest.mark.parametrize("text", configurations())
def test_configurations_check_out(text: str, tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text(with_keys(text, tmp_path) if "SSL" in text else text)
    result = CliRunner().invoke(main, ["check", "-f", str(path)])
    assert (result.exit_code, result.stdout) == (0, "Syntax OK\n"), (result.output, result.exception)


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
        assert server.get(f"{name}.example").content == f"{name}\n".encode()  # type: ignore[attr-defined]


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
