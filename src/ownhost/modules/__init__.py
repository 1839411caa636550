"""One file per Apache module, under Apache's name: its directives and what they do."""

from __future__ import annotations

import functools
import importlib
import pkgutil

# The layers whose files declare directives or handlers. Later ones (processes, admin) declare none.
LAYERS = ("config", "identity", "http", "request", "modules", "apps")


@functools.cache
def load() -> None:
    """Import every file of these layers, so that every directive and every module is declared. Once is enough.

    The grammar of expressions is not imported: it declares nothing, and processes that serve do not
    need it.
    """
    for layer in LAYERS:
        package = importlib.import_module(f"ownhost.{layer}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name != "ownhost.config.expression_grammar":
                importlib.import_module(module.name)
