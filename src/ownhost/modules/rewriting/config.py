"""The settings of mod_rewrite in one scope, and how scopes are merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Flag, auto

from ownhost.config.arguments import known_word, words
from ownhost.config.directive import ArgumentError, Call, Setting, Where
from ownhost.config.words import Word, Words
from ownhost.modules.rewriting.conditions import RuleCondition, parse_rule_condition
from ownhost.modules.rewriting.maps import Map, parse_map
from ownhost.modules.rewriting.rules import Rule, parse_rule


class Option(Flag):
    """The options of RewriteOptions."""

    INHERIT = auto()
    INHERIT_BEFORE = auto()
    INHERIT_DOWN = auto()
    INHERIT_DOWN_BEFORE = auto()
    IGNORE_INHERIT = auto()
    ALLOW_NO_SLASH = auto()
    ALLOW_ANY_URI = auto()  # every URI here is a path: there is nothing to allow
    MERGE_BASE = auto()
    IGNORE_CONTEXT_INFO = auto()
    LEGACY_PREFIX_DOC_ROOT = auto()
    LONG_URL_OPTIMIZATION = auto()  # saves Apache memory; nothing here


OPTIONS: Words[Option] = Words(
    "Options of RewriteOptions",
    "option",
    Word("Inherit", "", "Applies the outer scope's rules after those here.", Option.INHERIT),
    Word("InheritBefore", "", "Applies the outer scope's rules before those here.", Option.INHERIT_BEFORE),
    Word("InheritDown", "", "All inner scopes inherit.", Option.INHERIT_DOWN),
    Word("InheritDownBefore", "", "All inner scopes inherit, before their own rules.", Option.INHERIT_DOWN_BEFORE),
    Word("IgnoreInherit", "", "Ignores an outer scope's InheritDown and InheritDownBefore.", Option.IGNORE_INHERIT),
    Word("AllowNoSlash", "", "Applies a folder's rules to its own path without a slash, too.", Option.ALLOW_NO_SLASH),
    Word(
        "AllowAnyURI",
        "",
        "Applies a server's rules to targets that are not paths.",
        Option.ALLOW_ANY_URI,
        differs="Does nothing: every target is a path here.",
    ),
    Word("MergeBase", "", "Takes RewriteBase from the outer scope.", Option.MERGE_BASE),
    Word("IgnoreContextInfo", "", "Does not look for the path of a file by its Alias.", Option.IGNORE_CONTEXT_INFO),
    Word(
        "LegacyPrefixDocRoot",
        "",
        "Allows a URL of this host to lead to a file name outside of DocumentRoot.",
        Option.LEGACY_PREFIX_DOC_ROOT,
    ),
    Word(
        "LongURLOptimization",
        "",
        "Saves Apache memory.",
        Option.LONG_URL_OPTIMIZATION,
        differs="Does nothing.",
    ),
    any_case=True,
)


@dataclass(frozen=True, slots=True)
class RewriteConfig:
    """The settings of one scope, or of several after merging.

    `directory` is None for a server; else it is the prefix that is stripped off a file name before
    rules see it: a folder with "/" at its end, or the argument of the section.
    """

    engine: bool | None = None
    options: Option | None = None
    rules: tuple[Rule, ...] = ()
    conditions: tuple[RuleCondition, ...] = ()  # conditions that wait for their rule
    maps: Mapping[str, Map] = field(default_factory=dict)
    base: str | None = None
    directory: str | None = None
    silent: bool = False  # a virtual host without own settings: the rules of servers are not for it

    def has(self, option: Option) -> bool:
        """Whether an option is on."""
        return self.options is not None and bool(self.options & option)


def fold(before: RewriteConfig | None, said: RewriteConfig) -> RewriteConfig:
    """A scope with one more directive. A rule takes the conditions before it."""
    if before is None:
        before = RewriteConfig(directory=said.directory)
    options = before.options
    if said.options is not None:
        options = said.options if options is None else options | said.options
    return replace(
        before,
        engine=before.engine if said.engine is None else said.engine,
        options=options,
        rules=before.rules + tuple(replace(rule, conditions=before.conditions) for rule in said.rules),
        conditions=() if said.rules else before.conditions + said.conditions,
        maps={**before.maps, **said.maps},
        base=before.base if said.base is None else said.base,
    )


def merge(outer: RewriteConfig, inner: RewriteConfig) -> RewriteConfig:
    """The settings of a virtual host or section, if the scope around it has some, too.

    Engine and options are inherited; rules, maps and base only if options say so. A section never
    has the rules of a server.
    """
    options = outer.options if inner.options is None else inner.options
    rules, maps = _inherited(outer, replace(inner, options=options))
    base = inner.base
    if base is None and options is not None and options & Option.MERGE_BASE:
        base = outer.base
    return RewriteConfig(
        engine=outer.engine if inner.engine is None else inner.engine,
        options=options,
        rules=rules,
        maps=maps,
        base=base,
        directory=inner.directory,
    )


def _inherited(outer: RewriteConfig, inner: RewriteConfig) -> tuple[tuple[Rule, ...], Mapping[str, Map]]:
    """The rules and maps of an inner scope, with the outer one's if they are inherited."""
    outer_rules = outer.rules if (outer.directory is None) == (inner.directory is None) else ()
    wanted = not inner.has(Option.IGNORE_INHERIT)
    if inner.has(Option.INHERIT) or (wanted and outer.has(Option.INHERIT_DOWN)):
        return inner.rules + outer_rules, {**outer.maps, **inner.maps}
    if inner.has(Option.INHERIT_BEFORE) or (wanted and outer.has(Option.INHERIT_DOWN_BEFORE)):
        return outer_rules + inner.rules, {**inner.maps, **outer.maps}
    return inner.rules, inner.maps


def inherited(outer: RewriteConfig) -> RewriteConfig:
    """The part of a server's settings that applies to a virtual host without own settings."""
    return replace(outer, rules=(), silent=True)


REWRITE: Setting[RewriteConfig] = Setting("Rewrite", RewriteConfig(), merge, inherited)


# What directives say


def _scope(call: Call) -> RewriteConfig:
    if call.where & (Where.SERVER | Where.VIRTUAL_HOST):
        return RewriteConfig()
    return RewriteConfig(directory=call.section if call.section.endswith("/") else f"{call.section}/")


def parse_engine(call: Call) -> RewriteConfig:
    """On or Off."""
    (word,) = words(1, 1)(call)
    if word.lower() not in ("on", "off"):
        raise ArgumentError(f"expected On or Off, not {word!r}")
    return replace(_scope(call), engine=word.lower() == "on")


def parse_options(call: Call) -> RewriteConfig:
    """Names of options."""
    found = Option(0)
    for word in words(1)(call):
        if word.lower().startswith("maxredirects="):
            call.notes.append(f"{word} has no effect since Apache 2.1")
            continue
        found |= known_word(OPTIONS, word).means
    return replace(_scope(call), options=found)


def parse_base(call: Call) -> RewriteConfig:
    """The path by which a folder is reached."""
    (word,) = words(1, 1)(call)
    if not word.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {word!r}")
    return replace(_scope(call), base=word)


def parse_rules(call: Call) -> RewriteConfig:
    """One more rule."""
    return replace(_scope(call), rules=(parse_rule(call),))


def parse_maps(call: Call) -> RewriteConfig:
    """One more map."""
    one = parse_map(call)
    return RewriteConfig(maps={one.name: one})


def parse_conditions(call: Call) -> RewriteConfig:
    """One more condition for the next rule."""
    return replace(_scope(call), conditions=(parse_rule_condition(call),))
