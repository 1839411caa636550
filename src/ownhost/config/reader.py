"""From configuration files to a checked `Config`: the two steps of `read`.

The first (`tree`) reads files, and obeys directives that control the reading. The second, here,
checks each remaining directive against its declaration and stores its setting. All problems are
collected, so that one run shows all. An error within a virtual host can be that virtual host's
`Fault`, and the rest of the configuration is valid.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ownhost.config import addresses, known, sections
from ownhost.config.addresses import LISTENERS, Resolver
from ownhost.config.arguments import either
from ownhost.config.directive import (
    REGISTRY,
    Answer,
    ArgumentError,
    Block,
    Call,
    ConfigError,
    Directive,
    Problem,
    Settings,
    Source,
    Where,
    places,
)
from ownhost.config.lexer import next_word, quote, words
from ownhost.config.methods import EVERY, Methods
from ownhost.config.model import (
    Config,
    Fault,
    ListenAddress,
    Listener,
    Section,
    SectionKind,
    Surroundings,
    VirtualHost,
)
from ownhost.config.nodes import Node
from ownhost.config.overrides import reads_htaccess
from ownhost.config.server_name import SERVER_NAME
from ownhost.config.tree import TreeReader, read_tree


def read(
    file: str,
    *,
    server_root: str | None = None,
    defines: Iterable[str] = (),
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    resolver: Resolver = addresses.resolve,
    strict: bool = True,
    passes_over: bool = False,
) -> Config:
    """Read a configuration: Apache's -f, -d, -D, -C and -c.

    `server_root` None is the folder of `file`, until ServerRoot sets another. `environ` None is the
    process's own. Raises `ConfigError` with all problems, in order; OSError if `file` itself cannot
    be read. Unless `strict`, an error within a virtual host is only its `fault`, if there is no
    other error. `passes_over`: an included file that this process may not read gives only a note.
    """
    file = str(Path.cwd() / file)
    root = str(Path.cwd() / server_root) if server_root else str(Path(file).parent)
    environ = os.environ if environ is None else environ
    tree, nodes = read_tree(file, root, defines, environ, before, after, passes_over=passes_over)
    builder = Builder(tree, Source(file, 1), resolver, strict)
    return builder.build(nodes)


def surroundings_of(tree: TreeReader) -> Surroundings:
    """What .htaccess files find defined: nothing that a virtual host defines, as that is its owner's."""
    return Surroundings(
        tree.server_root,
        tree.modules.settled(),
        frozenset(name for name in tree.defines if name.lower() not in tree.inner),
        {name: value for name, value in tree.variables.items() if name not in tree.inner},
        {name: macro for name, macro in tree.macros.items() if f"macro {name}" not in tree.inner},
    )


@dataclass(slots=True)
class Scope:
    """The current scope: a server or a section, and its parts."""

    where: Where
    values: dict[str, object]
    origins: dict[str, Source]
    sections: list[Section]
    kind: SectionKind | None = None
    methods: Methods = EVERY
    subject: str = ""  # the argument of a section, for its directives


def _server_scope(server: VirtualHost, where: Where) -> Scope:
    return Scope(where, server.settings.values, server.origins, server.sections)


@dataclass(slots=True)
class _Damage:
    """The unreadable parts of a virtual host."""

    spoiled: set[str] = field(default_factory=set)  # settings
    unknown: bool = False

    def fault(self, problems: Iterable[Problem], *, placeless: bool) -> Fault:
        return Fault(tuple(problems), frozenset(self.spoiled), self.unknown, placeless)


@dataclass(slots=True)
class Builder:
    """Makes a `Config` of a tree."""

    tree: TreeReader
    source: Source
    resolver: Resolver
    strict: bool
    main: VirtualHost = field(init=False)
    virtual_hosts: list[VirtualHost] = field(default_factory=list)
    without_effect: list[Problem] = field(default_factory=list)
    listen_places: dict[Source, int] = field(default_factory=dict)
    damage: _Damage = field(default_factory=_Damage)  # for the virtual host that is being built
    options: frozenset[str] | None = None  # words that Options may have; None for all

    def build(self, nodes: list[Node]) -> Config:
        loaded = self.tree.modules.loaded
        self.main = VirtualHost(0, self.source, loaded=frozenset(loaded) if loaded else None)
        self.walk(nodes, _server_scope(self.main, Where.SERVER))
        listeners = self.listeners()
        if any(self.strict or host is None for _, _, host in self.tree.problems):
            found = sorted(self.tree.problems, key=lambda found: found[0])
            raise ConfigError([problem for _, problem, _ in found], self.tree.notes.lines)
        self.place_the_placeless()
        servers = [_inherited(self.main, server) for server in self.virtual_hosts]
        surroundings = surroundings_of(self.tree)
        for server in (self.main, *servers):
            server.surroundings = surroundings if reads_htaccess(server) else None
        return Config(
            self.tree.server_root,
            self.main,
            servers,
            listeners,
            self.tree.notes.lines,
            self.without_effect,
            self.tree.files,
        )

    def walk(self, nodes: list[Node], scope: Scope) -> None:
        for node in nodes:
            try:
                self.apply(node, scope)
            except ArgumentError as error:
                self.argument_problem(node, error)

    def argument_problem(self, node: Node, error: ArgumentError) -> None:
        message = f"{_written(node)}: {error}"
        if self.tree.passes_over and _is_forbidden(error):
            self.tree.notes.add(node.source, f"{message}; this was not checked{node.used}")
        else:
            self.problem(node, message)

    def problem(self, node: Node, message: str) -> None:
        self.tree.problems.append((node.place, Problem(node.source, message + node.used), self.tree.host))

    def apply(self, node: Node, scope: Scope) -> None:
        """Obey one directive or section. Raises `ArgumentError`."""
        directive = self.directive(node)
        if directive is None or not self.permits(node, directive, scope):
            return
        match directive.block:
            case Block.VIRTUAL_HOST:
                self.virtual_host(node, directive, scope)
            case Block.REQUESTS:
                self.section(node, directive, scope)
            case Block.METHODS:
                self.limit(node, directive, scope)
            case _:
                self.say(node, directive, scope)

    def directive(self, node: Node) -> Directive | None:
        """The declaration of a directive or section; None, and a problem, if there is none."""
        directive = REGISTRY.get(node.name.lower())
        if directive is None or directive.section != (node.children is not None):
            self.problem(node, known.directive_problem(node.name, section=node.children is not None))
            self.damage.unknown |= directive is None and node.name.lower() not in known.UNSUPPORTED
        elif directive.answer is Answer.UNSUPPORTED:
            self.problem(
                node,
                f"{directive.name} ({directive.module}) is known but not supported. {directive.note}".rstrip(),
            )
        else:
            return directive
        return None

    def permits(self, _node: Node, _directive: Directive, _scope: Scope) -> bool:
        """Whether a directive or section counts here. If not, this has said so. Only .htaccess files forbid any."""
        return True

    def say(self, node: Node, directive: Directive, scope: Scope) -> None:
        """Store a directive's setting."""
        try:
            value = self.value(node, directive, scope)
        except ArgumentError:
            self.spoil(node, directive, scope)
            raise
        if directive.setting is not None:
            name = directive.setting.name
            scope.values[name] = directive.fold(scope.values.get(name), value)
            scope.origins[name] = node.source
        if directive.setting is LISTENERS:
            self.listen_places[node.source] = node.place
        if directive.note:
            self.tree.notes.add(node.source, f"{directive.name}: {directive.note}")
        elif directive.answer is Answer.NO_EFFECT:
            message = f"{directive.name} is accepted without effect"
            self.without_effect.append(Problem(node.source, message))

    def spoil(self, node: Node, directive: Directive, scope: Scope) -> None:
        """Note that a virtual host's own line is unreadable, except for some part of it."""
        if scope.where is not Where.VIRTUAL_HOST or directive.setting is None:
            return
        name, readable = directive.setting.name, directive.setting.readable
        self.damage.spoiled.add(name)
        if readable is not None:
            scope.values[name] = readable(words(node.raw))
            scope.origins[name] = node.source

    def value(self, node: Node, directive: Directive, scope: Scope, outer: str = "") -> object:
        """The value of one use of a directive, or of a module's section.

        `outer` is the section of a module around it.
        """
        if not directive.where & scope.where:
            raise ArgumentError(_misplaced(directive, scope))
        call = Call(
            directive.name,
            words(node.raw),
            node.raw,
            node.source,
            scope.where,
            self.tree.server_root,
            frozenset(self.tree.defines),
            section=scope.subject,
            section_kind=scope.kind or "",
            methods=scope.methods,
            outer=outer,
            inside=None if node.children is None else self.inside(node.children, directive, scope),
            options=self.options,
        )
        try:
            value = directive.parse(call)
        except ArgumentError as error:
            raise ArgumentError(f"{error}; syntax: {_syntax(directive)}") from None
        except OSError as error:
            raise ArgumentError(f"cannot look at {error.filename}: {error.strerror}") from None
        for remark in call.notes:
            self.tree.notes.add(node.source, remark)
        return value

    def inside(self, nodes: list[Node], outer: Directive, scope: Scope) -> object:
        """The combined value of directives and sections in a module's section: they have its setting."""
        said: object = None
        for node in nodes:
            try:
                directive = self.directive(node)
                if directive is None or not self.permits(node, directive, scope):
                    continue
                if directive.setting is not outer.setting:
                    raise ArgumentError(f"cannot stand in <{outer.name}>")
                said = directive.fold(said, self.value(node, directive, scope, outer.name))
            except ArgumentError as error:
                self.argument_problem(node, error)
        return said

    def section(self, node: Node, directive: Directive, scope: Scope) -> None:
        kind = SectionKind(directive.name)
        children = node.children or []
        if directive.rest:
            node, children = _with_rest(node, children, directive.rest)
        section = Section(kind, node.raw, node.source)  # so that what it holds is checked even if it is wrong itself
        try:
            sections.check_place(kind, scope.kind)
            sections.check_follows(kind, scope.sections)
            section = sections.make(kind, node.raw, node.source)
        finally:
            scope.sections.append(section)
            inner = Scope(
                scope.where if scope.where is Where.HTACCESS else directive.opens,
                section.settings.values,
                section.origins,
                section.sections,
                section.kind,
                scope.methods,
                sections.subject(section),
            )
            self.walk(children, inner)

    def limit(self, node: Node, directive: Directive, scope: Scope) -> None:
        """<Limit>: its content belongs to the section around it; access rules note the methods."""
        kind = SectionKind(directive.name)
        inner = replace(scope, kind=kind)
        try:
            sections.check_place(kind, scope.kind)
            inner.methods = sections.limited(kind, node.raw, scope.methods)
        finally:
            self.walk(node.children or [], inner)

    def virtual_host(self, node: Node, directive: Directive, scope: Scope) -> None:
        server = VirtualHost(len(self.virtual_hosts) + 1, node.source)
        outside, self.tree.host = self.tree.host, node
        self.damage = _Damage(unknown=any(host is node for _, _, host in self.tree.problems))
        self.walk(node.children or [], _server_scope(server, directive.opens))
        if not directive.where & scope.where:
            self.tree.host = None  # it is unknown where one ends and the other begins
            self.problem(node, f"{_written(node)}: {_misplaced(directive, scope)}")
        places = self.places(node, server)
        problems = [(place, problem) for place, problem, host in self.tree.problems if host is node]
        if problems:
            in_order = (problem for _, problem in sorted(problems, key=lambda found: found[0]))
            server.fault = self.damage.fault(in_order, placeless=not places)
        self.virtual_hosts.append(server)
        self.tree.host = outside

    def places(self, node: Node, server: VirtualHost) -> int:
        """Note the addresses of a virtual host. Returns how many of the arguments are valid ones."""
        arguments = words(node.raw)
        if not arguments:
            self.argument_problem(node, ArgumentError("expected an address, got none"))
        found: list[tuple[ListenAddress, str]] = []
        wrong = 0
        for argument in arguments:
            try:
                found += self.addresses(node, argument)
            except ArgumentError as error:
                wrong += 1
                self.argument_problem(node, error)
        server.addresses = tuple(address for address, _ in found)
        server.hosts = tuple(host for _, host in found)
        return len(arguments) - wrong

    def place_the_placeless(self) -> None:
        """Give each virtual host with an unreadable address the addresses of all others, and its own readable ones."""
        places = [address for server in self.virtual_hosts for address in server.addresses]
        everywhere = tuple(dict.fromkeys((*places, ListenAddress("", 0))))
        for server in self.virtual_hosts:
            if server.fault is not None and server.fault.placeless:
                server.addresses = everywhere

    def addresses(self, node: Node, argument: str) -> list[tuple[ListenAddress, str]]:
        """The addresses of an argument of a virtual host's section, each with its host as written."""
        name = Settings(self.main.settings.values)[SERVER_NAME]
        try:
            found = addresses.virtual_addresses(argument, name.port, self.resolver)
        except OSError as error:
            message = f"{_written(node)}: {argument} has no address ({error.strerror}) and is ignored"
            self.tree.notes.add(node.source, message)
            return []
        host = argument if argument == "*" else addresses.split_address(argument)[0]
        return [(address, host.lower()) for address in found]

    def listeners(self) -> list[Listener]:
        """The addresses to listen at, with host names resolved."""
        listeners = self.main.settings[LISTENERS]
        found, wrong = addresses.resolve_listeners(listeners, self.resolver)
        for listener, message in wrong:
            place = self.listen_places[listener.source]
            self.tree.problems.append((place, Problem(listener.source, message), None))
        return found


def _with_rest(node: Node, children: list[Node], name: str) -> tuple[Node, list[Node]]:
    """A section with only one argument: a directive of that name inside has the rest."""
    first, rest = next_word(node.raw)
    if not rest or first == "~":
        return node, children
    said = replace(node, name=name, raw=rest, children=None)
    return replace(node, raw=quote(first)), [said, *children]


def _is_forbidden(error: BaseException | None) -> bool:
    """Whether the cause of an error is a file that this process may not look at."""
    return error is not None and (isinstance(error, PermissionError) or _is_forbidden(error.__context__))


def _inherited(main: VirtualHost, server: VirtualHost) -> VirtualHost:
    """A virtual host merged with the main server's settings."""
    return VirtualHost(
        server.id,
        server.source,
        server.addresses,
        main.settings.inherited(server.settings),
        {**main.origins, **server.origins},
        [*main.sections, *server.sections],
        server.hosts,
        main.loaded,
        server.fault,
    )


def _misplaced(directive: Directive, scope: Scope) -> str:
    """The message for a directive in a wrong place."""
    here = f"<{scope.kind}>" if scope.kind else places(scope.where)[0]
    return f"cannot stand in {here}; expected in {either(places(directive.where))}"


def _written(node: Node) -> str:
    return node.name if node.children is None else f"<{node.name}>"


def _syntax(directive: Directive) -> str:
    written = f"{directive.name} {directive.syntax}".rstrip()
    return f"<{written}>" if directive.section else written
