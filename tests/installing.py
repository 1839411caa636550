"""An installation of what is tested, wherever the checkout is: in a home with mode 0700, say."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path

from harness import PYTHON


def install(folder: Path, *options: str) -> str:
    """The Python of a virtual environment with what is tested, made if need be."""
    if not folder.exists():
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", *options, str(folder)], check=True)
        (packages,) = folder.glob("lib/python3*/site-packages")
        for name in (
            "ownhost",
            "click",
            "cryptography",
            "h11",
            "h2",
            "hpack",
            "httptools",
            "hyperframe",
            "markdown_it",
            "mdurl",
            "pygments",
            "rich",
            "setproctitle",
            "uvloop",
        ):
            shutil.copytree(Path(str(importlib.import_module(name).__file__)).parent, packages / name)
        for name in ("brotli", "_brotli", "_cffi_backend"):  # modules, not packages; the last one is cryptography's
            shutil.copy(str(importlib.import_module(name).__file__), packages)
    return str(folder / "bin" / "python")
