"""What is known by name: modules that are provided, Apache's other names, the nearest name to a typo."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable

from ownhost.config.directive import REGISTRY, Answer
from ownhost.config.known_names import MODULE_DIRECTIVES, MODULE_IDENTIFIERS

# Modules that have no obeyed directive of their own, or that go without saying. `provide` adds to them.
_provided = {"core", "http_core", "mod_so", "mod_unixd", "mod_version", "mod_macro", "prefork", "mpm_itk"}

# Where <IfModule>'s names are not the usual mod_NAME.c and NAME_module.
_NAMES = {
    "core": ("core.c", "core_module"),
    "http_core": ("http_core.c", "http_module"),
    "prefork": ("prefork.c", "mpm_prefork_module"),
    "mpm_itk": ("mpm_itk.c", "mpm_itk_module", "itk.c"),
}

_CONDITIONAL: dict[str, Callable[[], Iterable[str]]] = {}  # modules that are there where a program is installed


def provide(*modules: str) -> None:
    """Make <IfModule> answer yes for modules that declare no directive: "mod_authz_host"."""
    _provided.update(modules)


def provide_where(module: str, names: Callable[[], Iterable[str]]) -> None:
    """Make <IfModule> answer yes to what `names` gives, asked each time, whatever directives the module has."""
    _CONDITIONAL[module] = names


def provided() -> frozenset[str]:
    """Every name that <IfModule> answers yes to: of modules with a directive that is obeyed, and `provide`'s."""
    conditional = (names() for names in _CONDITIONAL.values())
    return _provided_names(len(REGISTRY), len(_provided)).union(*conditional)


@functools.lru_cache(maxsize=1)
def _provided_names(_declared: int, _added: int) -> frozenset[str]:
    """Found again only once the registries, which only grow, have grown."""
    obeyed = {declared.module for declared in REGISTRY.values() if declared.answer is Answer.OBEYED}
    return frozenset(name for module in (_provided | obeyed) - _CONDITIONAL.keys() for name in module_names(module))


def module_names(module: str) -> tuple[str, ...]:
    """The names of a module in <IfModule>: its source file and its identifier."""
    usual = (f"{module}.c", f"{module.removeprefix('mod_')}_module")
    return _NAMES.get(module, usual)


IDENTIFIERS = frozenset(f"{name}_module" for name in MODULE_IDENTIFIERS.split())  # what LoadModule may name

UNSUPPORTED = {
    name.lower(): (name, module) for module, names in MODULE_DIRECTIVES.items() for name in names.split()
}  # lower-case name to name and module; those that are declared count as such first


def directive_problem(name: str, *, section: bool) -> str:
    """What to say about a directive or section that no declaration answers to."""
    shown = f"<{name}>" if section else name
    declared = REGISTRY.get(name.lower())
    if declared is not None and declared.section != section:
        if declared.section:
            return f"{name} is a section: expected <{declared.name} ...> and </{declared.name}>"
        return f"{shown} is no section: expected {declared.name} {declared.syntax}".rstrip()
    if name.lower() in UNSUPPORTED:
        proper, module = UNSUPPORTED[name.lower()]
        return f"{f'<{proper}>' if section else proper} ({module}) is known but not supported yet"
    names = {declared.name for declared in REGISTRY.values()} | {proper for proper, _ in UNSUPPORTED.values()}
    return f"unknown {'section' if section else 'directive'} {shown}{suggestion(name, names)}"


def suggestion(name: str, names: Iterable[str]) -> str:
    """The nearest of the known names, as the end of a sentence; "" if none is near."""
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower()[:100], by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""
