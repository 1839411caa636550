"""Which modules count as loaded: the answers of <IfModule>, and whose directives a configuration may use.

As in Apache, a module counts from its LoadModule line on, if Ownhost obeys its directives. In a
configuration without any such line, all modules count whose directives Ownhost obeys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ownhost.config import module_table as table

_WHERE_INSTALLED: dict[str, Callable[[str, bool], bool]] = {}
_KIN = {name: kin for kin in table.KIN for name in kin}
_BY_FILE = {file: name for name, files in table.FILES.items() for file in files}


def done_where(names: Iterable[str], is_there: Callable[[str, bool], bool]) -> None:
    """Register a function that says, each time, whether modules are available, given name and whether it is loaded."""
    _WHERE_INSTALLED.update(dict.fromkeys(names, is_there))


def module_of(word: str) -> str | None:
    """The module that a word of <IfModule> names: mod_x.c, x_module. None for an unknown one."""
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
    """The names of a module in <IfModule>: its files, and its identifier."""
    return (*table.FILES.get(name, (f"mod_{name}.c",)), f"{name}_module")


def home_of(declared: str) -> str:
    """The module of a directive, as the table calls it: "mod_dir" in a declaration is "dir"."""
    return table.DECLARED.get(declared, declared.removeprefix("mod_"))


class Modules:
    """The modules of one configuration while it is read."""

    def __init__(self, *, loads: bool = True) -> None:
        self.loads = loads  # whether there are LoadModule lines
        self.loaded: set[str] = set()
        self.missed = False  # whether a module was asked for that is not loaded
        self.installed: frozenset[str] | None = None  # of those that count if installed; None: ask each time

    def load(self, name: str) -> None:
        """Obey a LoadModule line."""
        self.loaded.add(name)

    def is_loaded(self, name: str) -> bool:
        """Whether a module may be used at all. Prefork needs no line until another MPM is loaded,
        as mpm-itk is built in.
        """
        if not self.loads or name in self.loaded or name in table.BUILT_IN:
            return True
        if name == "mpm_prefork" and not self.loaded & table.MPMS:
            return True
        self.missed = True
        return False

    def is_usable(self, name: str) -> bool:
        """Whether a module's directives may be used, because it, or another module with them, is loaded."""
        return any(map(self.is_loaded, _KIN.get(name, (name,))))

    def is_done(self, name: str) -> bool:
        """Whether Ownhost obeys a module's directives, once it is loaded."""
        if name in table.DONE_WHERE_INSTALLED:
            if self.installed is not None:
                return name in self.installed
            return name in _WHERE_INSTALLED and _WHERE_INSTALLED[name](name, self.loads)
        return name in table.DONE or (name in table.DONE_IF_LOADED and self.loads)

    def settled(self) -> Modules:
        """The same modules for a process that cannot see what is installed."""
        copy = Modules(loads=bool(self.loaded))  # without LoadModule lines all modules count
        copy.loaded = set(self.loaded)
        copy.installed = frozenset(filter(self.is_done, table.DONE_WHERE_INSTALLED))
        return copy

    def has(self, word: str) -> bool:
        """The answer of <IfModule>."""
        name = module_of(word)
        return name is not None and self.is_loaded(name) and self.is_done(name)

    def missing(self, word: str) -> str | None:
        """The module that a word names, if it would count once it, or a related one, were loaded; else None."""
        name = module_of(word)
        return name if name is not None and self.is_done(name) and not self.is_usable(name) else None
