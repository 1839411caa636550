"""From the text of a .htaccess file to a section for its folder: the configuration's own reader, with fewer rights.

AllowOverride and AllowOverrideList say what may stand in it. A file has all its text at once and
is an owner's, so its lines, its sections' depth and what macros insert are bounded.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from ownhost.config import addresses, known
from ownhost.config.directive import REGISTRY, ArgumentError, Directive, Problem, Source, Where
from ownhost.config.lexer import Line, logical_lines
from ownhost.config.loading import home_of
from ownhost.config.methods import KNOWN
from ownhost.config.model import Section, SectionKind, Surroundings
from ownhost.config.nodes import Node
from ownhost.config.overrides import Allowed
from ownhost.config.reader import Builder, Scope
from ownhost.config.tree import ReadingStopped, TreeReader

MAX_BYTES = 1_048_576
MAX_LINES = 50_000  # with those that macros insert
MAX_INSERTED = 4_194_304  # characters that macros insert
MAX_PROBLEMS = 10  # then reading stops
MAX_REMARKS = 100
MAX_SECONDS = 3.0  # of this thread's time

_NO_ENVIRONMENT: Mapping[str, str] = {}  # the server's is none of an owner's business


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file: its section, or its problems, in order; and remarks on what was passed over."""

    section: Section | None
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()


def read(
    text: str,
    path: str,
    folder: str,
    allowed: Allowed,
    surroundings: Surroundings,
    clock: Callable[[], float] = time.thread_time,
) -> Reading:
    """Read a file: `text` is its content, `folder` ends with "/". `clock` gives seconds."""
    if len(text) > MAX_BYTES:
        return Reading(None, (Problem(Source(path, 1), f"expected at most {MAX_BYTES} bytes"),))
    remarks: list[Problem] = []
    tree = _Tree(allowed, surroundings, remarks)
    builder = _Builder(
        tree,
        Source(path, 1),
        addresses.resolve,
        True,
        options=allowed.options,
        allowed=allowed,
        remarks=remarks,
        clock=clock,
        end=clock() + MAX_SECONDS,
    )
    section = Section(SectionKind.HTACCESS, folder, builder.source)
    scope = Scope(
        Where.HTACCESS,
        section.settings.values,
        section.origins,
        section.sections,
        SectionKind.HTACCESS,
        subject=folder,
    )
    with contextlib.suppress(ReadingStopped):
        builder.walk(tree.read_lines(logical_lines(text, path)), scope)
    problems = tuple(problem for _, problem, _ in sorted(tree.problems, key=lambda found: found[0]))
    return Reading(None if problems else section, problems, tuple(remarks[:MAX_REMARKS]))


class _Tree(TreeReader):
    """Reads the lines of a file. It may not include others, or define anything for them."""

    def __init__(self, allowed: Allowed, surroundings: Surroundings, remarks: list[Problem]) -> None:
        super().__init__(
            surroundings.server_root, surroundings.defines, _NO_ENVIRONMENT, surroundings.modules.settled()
        )
        self.variables = dict(surroundings.variables)
        self.macros = dict(surroundings.macros)
        self.allowed = allowed
        self.remarks = remarks
        self.most_lines = MAX_LINES
        self.most_inserted = MAX_INSERTED

    def problem(self, line: Line, message: str, place: int | None = None) -> None:
        """Note a problem. Raises ReadingStopped after many: each costs time, and one is enough to refuse the file."""
        super().problem(line, message, place)
        if len(self.problems) >= MAX_PROBLEMS:
            raise ReadingStopped(message)

    def permits(self, declared: Directive, line: Line) -> bool:
        """Whether it may stand here at all."""
        if self.allowed.permits(declared):
            return True
        name = f"<{declared.name}" if declared.section else declared.name
        if self.allowed.passes_forbidden:
            self.remarks.append(Problem(line.source, forbidden(name)))
        else:
            self.problem(line, f"{name} not allowed here")
        return False


@dataclass(slots=True)
class _Builder(Builder):
    """Makes the section of a file."""

    allowed: Allowed = field(default_factory=Allowed)
    remarks: list[Problem] = field(default_factory=list)
    clock: Callable[[], float] = time.thread_time
    end: float = inf

    def problem(self, node: Node, message: str) -> None:
        """Note a problem. Raises ReadingStopped after many."""
        Builder.problem(self, node, message)
        if len(self.tree.problems) >= MAX_PROBLEMS:
            raise ReadingStopped(message)

    def directive(self, node: Node) -> Directive | None:
        """The declaration of a directive. What nobody knows may be passed over; what is known here never is."""
        if self.allowed.passes_unknown and _is_unknown(node, self.tree):
            name = f"<{node.name}" if node.children is not None else node.name
            why = "perhaps misspelled or defined by a module not included in the server configuration"
            self.remarks.append(Problem(node.source, f"AH02296: Unknown directive {name} {why}"))
            return None
        return Builder.directive(self, node)

    def permits(self, node: Node, directive: Directive, scope: Scope) -> bool:
        """Whether it may stand here, and at this place. Raises ReadingStopped when the time is over."""
        if self.clock() > self.end:
            self.problem(node, f"it took more than {MAX_SECONDS:g} seconds to read the lines before this one")
            raise ReadingStopped
        if self.allowed.permits(directive):
            return True
        name = f"<{directive.name}" if directive.section else directive.name
        if self.allowed.passes_forbidden:
            self.remarks.append(Problem(node.source, forbidden(name)))
        else:
            here = "here" if scope.kind is SectionKind.HTACCESS else f"in <{scope.kind}> context"
            self.problem(node, f"{name} not allowed {here}")
        return False

    def limit(self, node: Node, directive: Directive, scope: Scope) -> None:
        """<Limit>, for methods that the server knows: a file cannot add any, as in Apache."""
        for word in node.raw.split():
            if word not in KNOWN:
                raise ArgumentError(f"Could not register method '{word}' for <{directive.name} from .htaccess")
        Builder.limit(self, node, directive, scope)


def forbidden(name: str) -> str:
    """The message for what is passed over because it is not allowed, in Apache's words."""
    return f"AH02295: {name} in .htaccess forbidden by AllowOverride"


def _is_unknown(node: Node, tree: TreeReader) -> bool:
    """Whether no module that could be loaded has such a directive. One that is only missing here could protect."""
    name = node.name.lower()
    if name in REGISTRY:
        return False
    if name not in known.UNSUPPORTED:
        return True
    return tree.modules.loads and not tree.modules.is_usable(home_of(known.UNSUPPORTED[name][1]))
