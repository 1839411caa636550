"""Where a worker writes."""

from __future__ import annotations

import os
from pathlib import Path

from ownhost.processes.worker.written import folder_of


def test_the_folder_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "file").write_text("")
    assert folder_of(f"{tmp_path}/logs/script.log") == f"{tmp_path}/logs"
    assert folder_of(f"{tmp_path}/later/deeper/script.log") == str(tmp_path), "it may be made later"
    assert folder_of(f"{tmp_path}/file/script.log") == str(tmp_path)


def test_nobody_writes_to_all_there_is() -> None:
    assert folder_of("/script.log") == ""
    assert folder_of(f"/no-such-folder-{os.getpid()}/script.log") == ""
