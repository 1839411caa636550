"""From files to a tree of directives. After this step there are no includes, conditions, macros and variables."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from ownhost.config import conditions, known, macros, module_table
from ownhost.config.arguments import ignored
from ownhost.config.directive import (
    ANYWHERE,
    REGISTRY,
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    ArgumentError,
    Block,
    Directive,
    Notes,
    Override,
    Problem,
    Where,
    declare,
)
from ownhost.config.globs import expand_path, is_glob
from ownhost.config.lexer import Line, expand, logical_lines, next_word, words
from ownhost.config.loading import Modules
from ownhost.config.nodes import Here, Lines, Node

MAX_INCLUDE_DEPTH = 128
MAX_SECTION_DEPTH = 100
MAX_LINES = 5_000_000  # the limit for macros that use macros


@dataclass(slots=True)
class _Open:
    """An open section. A true condition has no node: its lines belong to the section around it."""

    name: str
    line: Line
    place: int
    children: list[Node]
    node: Node | None = None


class TreeReader:
    """Reads files. What they define is known in files that are read later."""

    def __init__(
        self,
        server_root: str,
        defines: Iterable[str],
        environ: Mapping[str, str],
        modules: Modules,
        *,
        passes_over: bool = False,
    ) -> None:
        self.server_root = server_root
        self.modules = modules
        self.defines = set(defines)
        self.variables: dict[str, str] = {}  # lower-case name to value
        self.environ = environ
        self.macros: dict[str, macros.Macro] = {}
        self.inner: set[str] = set()  # lower-case names of what is defined in virtual hosts
        self.most_lines = MAX_LINES
        self.most_inserted = inf  # characters that macros may still insert
        self.problems: list[tuple[int, Problem, Node | None]] = []  # each with its <VirtualHost>
        self.host: Node | None = None  # the current <VirtualHost>
        self.notes = Notes()
        self.files: list[str] = []
        self.place = 0
        self.passes_over = passes_over  # files that this process may not read

    # Files

    def read_file(self, path: str, parent: Lines | None = None) -> list[Node]:
        """The tree of a file. Raises OSError."""
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
        self.files.append(path)
        return self.read_lines(logical_lines(text, path), parent)

    def read_lines(self, lines: Iterable[Line], parent: Lines | None = None) -> list[Node]:
        """The tree of some lines, in which every section must be closed that is opened."""
        stream = Lines(lines, parent, self.host)
        top: list[Node] = []
        stack: list[_Open] = []
        for line in stream:
            self.place += 1
            if self.place > self.most_lines:
                raise self.fatal(line, f"more than {self.most_lines} lines; do macros use each other?")
            if "\0" in line.text:
                self.problem(line, "expected text, found a NUL byte")
                continue
            text = self.expanded(line)
            name, raw = next_word(text)
            siblings = stack[-1].children if stack else top
            if name.startswith("</"):
                self.close(name, line, stack)
            elif name.startswith("<"):
                self.open(name, raw, line, stack, siblings, stream)
            else:
                self.directive(name, raw, line, siblings, stream)
        for opened in stack:
            self.not_closed(opened, stream)
        return top

    def expanded(self, line: Line) -> str:
        text, missing = expand(line.text, self.value_of)
        for name in missing:
            if ":" not in name:  # ${map:key} is RewriteMap's
                self.notes.add(line.source, f"${{{name}}} is not defined and stays as written{line.used}")
        return text

    def value_of(self, name: str) -> str | None:
        value = self.variables.get(name.lower())
        return self.environ.get(name) if value is None else value

    # Problems

    def problem(self, line: Line, message: str, place: int | None = None) -> None:
        place = self.place if place is None else place
        self.problems.append((place, Problem(line.source, message + line.used), self.host))

    def fatal(self, line: Line, message: str) -> ReadingStopped:
        self.host = None
        self.problem(line, message)
        return ReadingStopped(message)

    def not_closed(self, opened: _Open, stream: Lines) -> None:
        """Handle an open section at the end of a file. It is an error of the whole configuration:
        the section may have swallowed anything.
        """
        self.host = stream.host
        wanted = f"expected </{opened.name}> before the end of {opened.line.source.file}"
        self.problem(opened.line, f"<{opened.name}> is not closed: {wanted}", opened.place)

    # Sections

    def open(self, word: str, rest: str, line: Line, stack: list[_Open], siblings: list[Node], stream: Lines) -> None:
        name = word[1:].removesuffix(">")
        raw, bracket, after = rest.rpartition(">") if not word.endswith(">") else ("", ">", rest)
        node = Node(name, (raw if bracket else rest).strip(), line.source, self.place, line.used, [])
        key = name.lower()
        block = REGISTRY[key].block if key in REGISTRY else None
        if block is Block.VIRTUAL_HOST and self.host is None:
            self.host = node  # from here on, errors are its own
        if not name:
            self.problem(line, "expected a section's name directly after <")
        elif not bracket:
            self.problem(line, f"<{name} is not ended: expected > at the end of the line")
            raw = rest
        elif after:
            self.notes.add(line.source, f"{after!r} after > is ignored{line.used}")
        if len(stack) >= MAX_SECTION_DEPTH:
            raise self.fatal(line, f"sections nested deeper than {MAX_SECTION_DEPTH} levels")
        opened = _Open(name, line, self.place, siblings)
        if block in (Block.MACRO, Block.CONDITION) and not self.permits(REGISTRY[key], line):
            self.skip(opened, stream)
        elif block is Block.MACRO:
            self.define_macro(raw, opened, stream)
        elif block is not Block.CONDITION:
            assert node.children is not None
            opened.node, opened.children = node, node.children
            if name:
                siblings.append(node)
            stack.append(opened)
        elif self.holds(key, raw, opened):
            stack.append(opened)
        else:
            self.skip(opened, stream)

    def close(self, word: str, line: Line, stack: list[_Open]) -> None:
        name = word[2:].removesuffix(">")
        if not word.endswith(">"):
            self.problem(line, f"</{name} is not ended: expected </{name}>")
        if not any(opened.name.lower() == name.lower() for opened in stack):
            where = f"expected </{stack[-1].name}>, for line {stack[-1].line.source.line}" if stack else ""
            self.problem(line, f"</{name}> closes nothing: {where or f'there is no open <{name}>'}")
            return
        while (opened := stack.pop()).name.lower() != name.lower():
            self.ended(opened)
            self.not_closed_before(opened, line, name)
        self.ended(opened)

    def ended(self, opened: _Open) -> None:
        """End a section. If it is a virtual host, later errors are not its own."""
        if opened.node is self.host:
            self.host = None

    def not_closed_before(self, opened: _Open, line: Line, name: str) -> None:
        message = f"expected </{opened.name}>, for line {opened.line.source.line}, not </{name}>"
        self.problem(line, message)

    def holds(self, key: str, raw: str, opened: _Open) -> bool:
        try:
            verdict = conditions.decide(key, raw, self)
            if key == "ifmodule" and not verdict:
                self.note_missing(conditions.question(raw).name, opened)
        except ArgumentError as error:
            self.problem(opened.line, f"<{opened.name}>: {error}")
            return False
        except OSError as error:
            self.unseen(opened.line, f"<{opened.name}>", error)
            return False
        return verdict

    def note_missing(self, word: str, opened: _Open) -> None:
        """Note that a block is skipped although Ownhost could obey it."""
        module = self.modules.missing(word)
        if module is not None:
            message = f"<{opened.name} {word}> is skipped: no LoadModule line before it loads {module}_module"
            self.notes.add(opened.line.source, f"{message} (on Debian, a2enmod {module} does){opened.line.used}")

    def skip(self, opened: _Open, stream: Lines) -> None:
        """Skip the content of a section. It must only be well nested."""
        nested: list[str] = []
        for line in stream:
            self.place += 1
            word, _ = next_word(line.text)
            if word.startswith("</"):
                name = word[2:].removesuffix(">")
                inner = nested[-1] if nested else opened.name
                if name.lower() != inner.lower():
                    self.problem(line, f"expected </{inner}>, not </{name}>")
                elif not nested:
                    return
                del nested[-1:]
            elif word.startswith("<"):
                nested.append(word[1:].removesuffix(">"))
        self.not_closed(opened, stream)

    # Macros

    def define_macro(self, raw: str, opened: _Open, stream: Lines) -> None:
        lines = self.macro_lines(opened, stream)
        try:
            macro = macros.define(raw, lines, opened.line.source)
        except ArgumentError as error:
            self.problem(opened.line, f"<Macro>: {error}", opened.place)
            return
        if macro.name in self.macros:
            self.notes.add(macro.source, f"macro {macro.name} replaces that of {self.macros[macro.name].source}")
        self.note_inner(f"macro {macro.name}")
        self.macros[macro.name] = macro

    def macro_lines(self, opened: _Open, stream: Lines) -> list[Line]:
        """The lines up to </Macro>. Sections in a macro need not be closed there; macros in it must be."""
        passed: list[Line] = []
        depth = 0
        for line in stream:
            self.place += 1
            word = next_word(line.text)[0].lower()
            if word == "</macro>":
                if depth == 0:
                    return passed
                depth -= 1
            depth += word in ("<macro", "<macro>")
            passed.append(line)
        self.not_closed(opened, stream)
        return passed

    def use(self, raw: str, here: Here) -> None:
        name, *arguments = words(raw) or ("",)
        macro = self.macros.get(name.lower())
        if macro is None:
            raise ArgumentError(f"there is no macro {name!r}{known.suggestion(name, self.macros)}")
        if here.stream.uses(macro.name):
            raise ArgumentError(f"macro {macro.name} uses itself")
        lines = macro.used(arguments, here.line)
        self.most_inserted -= macro.length(arguments)
        if self.most_inserted < 0:
            raise ArgumentError("macros insert too much text")
        here.stream.insert(macro.name, lines)

    def undef_macro(self, raw: str, _here: Here) -> None:
        name = one(raw)
        if self.macros.pop(name.lower(), None) is None:
            raise ArgumentError(f"there is no macro {name!r}{known.suggestion(name, self.macros)}")

    # Directives that are obeyed while reading

    def directive(self, name: str, raw: str, line: Line, siblings: list[Node], stream: Lines) -> None:
        declared = REGISTRY.get(name.lower())
        try:
            if declared is not None and declared.steers is not None:
                if self.permits(declared, line):
                    declared.steers(self, raw, Here(line, siblings, stream))
            else:
                siblings.append(Node(name, raw, line.source, self.place, line.used))
        except ArgumentError as error:
            self.problem(line, f"{name}: {error}")
        except OSError as error:
            self.unseen(line, name, error)

    def permits(self, _declared: Directive, _line: Line) -> bool:
        """Whether what is obeyed while reading may stand here. It may anywhere but in .htaccess files."""
        return True

    def unseen(self, line: Line, name: str, error: OSError) -> None:
        message = f"{name}: cannot look at {error.filename}: {error.strerror}"
        if self.passes_over and isinstance(error, PermissionError):
            self.notes.add(line.source, f"{message}; this was not checked{line.used}")
        else:
            self.problem(line, message)

    def define(self, raw: str, _here: Here) -> None:
        arguments = words(raw)
        if not 1 <= len(arguments) <= 2 or not arguments[0]:
            raise ArgumentError(f"expected a name and perhaps a value, got {len(arguments) or 'none'}")
        if ":" in arguments[0]:
            raise ArgumentError(f"expected a name without ':', not {arguments[0]!r}")
        self.note_inner(arguments[0])
        self.defines.add(arguments[0])
        if len(arguments) == 2 and arguments[1]:
            self.variables[arguments[0].lower()] = arguments[1]

    def note_inner(self, name: str) -> None:
        """Note whether a name is defined in a virtual host: then it is nobody else's."""
        if self.host is None:
            self.inner.discard(name.lower())
        else:
            self.inner.add(name.lower())

    def undefine(self, raw: str, _here: Here) -> None:
        name = one(raw)
        if ":" in name:
            raise ArgumentError(f"expected a name without ':', not {name!r}")
        self.defines.discard(name)
        self.variables.pop(name.lower(), None)

    def set_server_root(self, raw: str, _here: Here) -> None:
        path = one(raw)
        if path.startswith("/"):
            self.server_root = posixpath.normpath(path)
            if Path(path).is_dir():
                return
        raise ArgumentError(f"expected the absolute name of a folder that exists, not {path!r}")

    def load_module(self, raw: str, here: Here) -> None:
        arguments = words(raw)
        if len(arguments) != 2:
            raise ArgumentError(f"expected a module and a file, got {len(arguments) or 'no'} arguments")
        module = arguments[0].removesuffix("_module")
        if module not in module_table.KNOWN or module == arguments[0]:
            names = [f"{name}_module" for name in module_table.KNOWN]
            raise ArgumentError(f"unknown module {arguments[0]}{known.suggestion(arguments[0], names)}")
        self.modules.load(module)
        if not self.modules.is_done(module):
            message = f"{arguments[0]} is not available here: <IfModule> is false for it{here.line.used}"
            self.notes.add(here.line.source, message)

    # Include

    def include_optional(self, raw: str, here: Here) -> None:
        self.include(raw, here, optional=True)

    def include(self, raw: str, here: Here, *, optional: bool = False) -> None:
        pattern = posixpath.join(self.server_root, one(raw))
        if here.stream.depth >= MAX_INCLUDE_DEPTH:
            raise ArgumentError(f"files include each other more than {MAX_INCLUDE_DEPTH} deep")
        try:
            paths = list(expand_path(pattern))
        except (OSError, ValueError) as error:
            self.unreadable(pattern, error, here.line)
            return
        if not paths and is_glob(pattern) and not optional:
            raise ArgumentError(f"no file matches {pattern}; expected one, or IncludeOptional")
        for path in paths:
            try:
                here.siblings.extend(self.read_file(path, here.stream))
            except OSError as error:
                if not (optional and isinstance(error, FileNotFoundError)):
                    self.unreadable(path, error, here.line)

    def unreadable(self, path: str, error: OSError | ValueError, line: Line) -> None:
        message = f"cannot read {path}: {_why(error)}"
        if not (self.passes_over and isinstance(error, PermissionError)):
            raise ArgumentError(message)
        self.notes.add(line.source, f"{message}; its content was not checked{line.used}")


class ReadingStopped(Exception):
    """Reading cannot go on. The reader's problems say why."""


def read_tree(
    file: str,
    server_root: str,
    defines: Iterable[str],
    environ: Mapping[str, str],
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    *,
    passes_over: bool = False,
) -> tuple[TreeReader, list[Node]]:
    """The tree of a file, with lines before and after it; no nodes if reading stopped. Raises OSError.

    If modules are missing although nothing loads any, all is read again, with every module.
    """
    defines = tuple(defines)
    tree = TreeReader(server_root, defines, environ, Modules(), passes_over=passes_over)
    nodes = _read(tree, file, before, after)
    if tree.modules.missed and not tree.modules.loaded:
        tree = TreeReader(server_root, defines, environ, Modules(loads=False), passes_over=passes_over)
        nodes = _read(tree, file, before, after)
    return tree, nodes


def _read(tree: TreeReader, file: str, before: Sequence[str], after: Sequence[str]) -> list[Node]:
    try:
        nodes = tree.read_lines(logical_lines("\n".join(before), "-C"))
        nodes += tree.read_file(file)
        nodes += tree.read_lines(logical_lines("\n".join(after), "-c"))
    except ReadingStopped:
        return []
    return nodes


def one(raw: str) -> str:
    """The one word of a line."""
    arguments = words(raw)
    if len(arguments) != 1 or not arguments[0]:
        raise ArgumentError(f"expected one argument, got {len(arguments) or 'none'}")
    return arguments[0]


def _why(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _steers(
    name: str,
    syntax: str,
    where: Where,
    text: str,
    steers: Callable[..., None],
    *,
    module: str = "core",
    override: Override = Override.NONE,
) -> None:
    declare(Directive(name, module, syntax, where, text, ignored(), steers=steers, override=override))


_steers("Define", "name [value]", SECTIONS, "Defines a name, and the value of ${name}.", TreeReader.define)
_steers("UnDefine", "name", SECTIONS, "Undoes a Define.", TreeReader.undefine)
_steers("ServerRoot", "folder", SERVERS, "The folder at which relative file names start.", TreeReader.set_server_root)
_steers(
    "Include",
    "file|folder|pattern",
    SECTIONS,
    "Includes files: one, all in a folder, or all that match. It is an error if none matches.",
    TreeReader.include,
)
_steers(
    "IncludeOptional",
    "file|folder|pattern",
    SECTIONS,
    "Includes files, like Include. It is no error if none matches.",
    TreeReader.include_optional,
)
_steers(
    "LoadModule",
    "module file",
    SERVER_ONLY,
    "Makes a module count as loaded. If there is any such line, <IfModule> is true only for loaded modules.",
    TreeReader.load_module,
    module="mod_so",
)
_steers(
    "Use",
    "name [argument]...",
    ANYWHERE,
    "Inserts the lines of a macro.",
    TreeReader.use,
    module="mod_macro",
    override=Override.ALL,
)
_steers(
    "UndefMacro",
    "name",
    ANYWHERE,
    "Undefines a macro.",
    TreeReader.undef_macro,
    module="mod_macro",
    override=Override.ALL,
)
