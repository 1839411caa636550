"""How many processes an owner may have, and what they start with: Ownhost's own directives."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import ALICE, PYTHON, World
from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.reader import read
from ownhost.modules.core_programs import NO_LIMIT
from ownhost.modules.owners import MAX_OWNER_PROCESSES, MAX_WORKERS, UMASK, processes_of

modules.load()


def config(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    file = tmp_path / "site.conf"
    file.write_text(f"Listen 127.0.0.1:8099\n{text}")
    return read(str(file))


@pytest.mark.parametrize(
    ("lines", "soft", "hard"),
    [
        ("", 1_024, 1_024),
        ("MaxOwnerProcesses 100\n", 100, 100),
        ("MaxOwnerProcesses max\n", NO_LIMIT, NO_LIMIT),
        ("RLimitNPROC 50 60\n", 1_024, 1_024),
        ("RLimitNPROC 4000\n", 1_024, 4_000),
        ("RLimitNPROC 10 max\n", 1_024, NO_LIMIT),
        ("<Directory /srv/a>\n<Files x>\nRLimitNPROC 10 5000\n</Files>\n</Directory>\n", 1_024, 5_000),
    ],
)
def test_a_program_may_be_given_more_than_its_owner_has_by_default(
    tmp_path: Path, lines: str, soft: int, hard: int
) -> None:
    found = config(tmp_path, lines)
    assert processes_of(found.main.settings[MAX_OWNER_PROCESSES], [found.main]) == (soft, hard)


def test_what_the_directives_take(tmp_path: Path) -> None:
    found = config(tmp_path, "MaxWorkers 30\nUmask 007\n").main.settings
    assert (found[MAX_WORKERS], found[UMASK]) == (30, 0o007)
    for line in ("MaxWorkers 0", "Umask 8", "Umask 7777", "MaxOwnerProcesses 2", "MaxOwnerProcesses many"):
        with pytest.raises(ConfigError):
            config(tmp_path, f"{line}\n")


def test_umask_counts_for_owners_programs_and_limits_for_one_of_them(world: World) -> None:
    script = f"#!{PYTHON}\nimport os, resource\nprint('Content-Type: text/plain\\n')\n"
    script += "print(oct(os.umask(0)), resource.getrlimit(resource.RLIMIT_NPROC))\n"
    files: dict[str, str | bytes] = {"index.html": "alice\n", "a.cgi": script, "more/a.cgi": script}
    extra = (
        "AddHandler cgi-script .cgi\n<Location />\nOptions +ExecCGI\n</Location>\n"
        "<Location /more/>\nRLimitNPROC 900 2000\n</Location>\n"
    )
    server = world.server("Umask 0027\nMaxOwnerProcesses 500\n" + world.virtual_host("alice", ALICE, extra, files))
    assert server.get("alice.test", "/a.cgi").content == b"0o27 (500, 2000)\n"
    assert server.get("alice.test", "/more/a.cgi").content == b"0o27 (900, 2000)\n"
