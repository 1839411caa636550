"""Which modules are there: what <IfModule> answers, and whose directives are at home in a configuration.

As in Apache, a module is there from its LoadModule line on, if what its directives do is done here. A configuration
without any such line has all modules that are done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ownhost.config import module_table as table

_WHERE_INSTALLED: dict[str, Callable[[str, bool], bool]] = {}
_KIN = {name: kin for kin in table.KIN for name in kin}
_BY_FILE = {file: name for name, files in table.FILES.items() for file in files}


def done_where(names: Iterable[str], is_there: Callable[[str, bool], bool]) -> None:
    """Have somebody else say, each time, whether modules are there: given the name, and whether it is loaded."""
    _WHERE_INSTALLED.update(dict.fromkeys(names, is_there))


def module_of(word: str) -> str | None:
    """The module that a word of <IfModule> names: mod_x.c, x_module. None for one that nobody knows."""
    if word.endswith("_module"):
        name = word.removesuffix("_module")
    elif word in _BY_FILE:
        name = _BY_FILE[word]
    elif word.startswith("mod_") and word.endswith(".c"):
        name = word[4:-2]
        if name in table.FILES:
            return None
    else:
        return None
    return name if name in table.KNOWN else None


def words_of(name: str) -> tuple[str, ...]:
    """What <IfModule> may call a module: its files, and its identifier."""
    return (*table.FILES.get(name, (f"mod_{name}.c",)), f"{name}_module")


def home_of(declared: str) -> str:
    """The module of a directive, as the table calls it: "mod_dir" in a declaration is "dir"."""
    return table.DECLARED.get(declared, declared.removeprefix("mod_"))


class Modules:
    """The modules of one configuration while it is read."""

    def __init__(self, *, loads: bool = True) -> None:
        self.loads = loads  # whether LoadModule lines say what is there
        self.loaded: set[str] = set()
        self.missed = False  # whether any was asked for that is not loaded

    def load(self, name: str) -> None:
        """Obey a LoadModule line."""
        self.loaded.add(name)

    def is_loaded(self, name: str) -> bool:
        """Whether a module may be used at all. Prefork needs no line, as mpm-itk is built in, until another MPM is."""
        if not self.loads or name in self.loaded or name in table.BUILT_IN:
            return True
        if name == "mpm_prefork" and not self.loaded & table.MPMS:
            return True
        self.missed = True
        return False

    def is_usable(self, name: str) -> bool:
        """Whether a module's directives may be used, because it, or another that has them, is loaded."""
        return any(map(self.is_loaded, _KIN.get(name, (name,))))

    def is_done(self, name: str) -> bool:
        """Whether what a module does is done here, once it is loaded."""
        if name in table.DONE_WHERE_INSTALLED:
            return name in _WHERE_INSTALLED and _WHERE_INSTALLED[name](name, self.loads)
        return name in table.DONE or (name in table.DONE_IF_LOADED and self.loads)

    def has(self, word: str) -> bool:
        """What <IfModule> answers."""
        name = module_of(word)
        return name is not None and self.is_loaded(name) and self.is_done(name)

    def missing(self, word: str) -> str | None:
        """The module that a word names, where it would be there if it, or one of its kin, were loaded; else None."""
        name = module_of(word)
        return name if name is not None and self.is_done(name) and not self.is_usable(name) else None
