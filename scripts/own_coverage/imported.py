"""A plugin of pytest's: the whole program is imported before any test, so what imports run counts for none."""

from __future__ import annotations

import importlib
import pkgutil

import ownhost

_PROGRAMS = ("ownhost.__main__", "ownhost.apps.runner.")  # importing one would run it


def pytest_configure() -> None:
    """Import every module."""
    for module in pkgutil.walk_packages(ownhost.__path__, "ownhost."):
        if not module.name.startswith(_PROGRAMS):
            importlib.import_module(module.name)
