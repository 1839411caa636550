"""Names that are known but not declared: Apache's other directives; and the nearest name to a typo."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ownhost.config.directive import REGISTRY
from ownhost.config.known_names import MODULE_DIRECTIVES

UNSUPPORTED = {
    name.lower(): (name, module) for module, names in MODULE_DIRECTIVES.items() for name in names.split()
}  # lower-case name to name and module; declared ones are looked up first


def directive_problem(name: str, *, section: bool) -> str:
    """The message for a directive or section without a declaration."""
    shown = f"<{name}>" if section else name
    declared = REGISTRY.get(name.lower())
    if declared is not None and declared.section != section:
        if declared.section:
            return f"{name} is a section: expected <{declared.name} ...> and </{declared.name}>"
        return f"{shown} is not a section: expected {declared.name} {declared.syntax}".rstrip()
    if name.lower() in UNSUPPORTED:
        proper, module = UNSUPPORTED[name.lower()]
        return f"{f'<{proper}>' if section else proper} ({module}) is not supported yet"
    names = {declared.name for declared in REGISTRY.values()} | {proper for proper, _ in UNSUPPORTED.values()}
    return f"unknown {'section' if section else 'directive'} {shown}{suggestion(name, names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The nearest of the known names, in any case; "" if none is near."""
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else ""


def suggestion(name: str, names: Iterable[str]) -> str:
    """The nearest of the known names, as the end of a sentence; "" if none is near."""
    near = nearest(name, names)
    return f"; did you mean {near}?" if near else ""
