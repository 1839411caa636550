"""RewriteRule as data, parsed and checked when the configuration is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ownhost.config.arguments import known_word
from ownhost.config.directive import Call, Source
from ownhost.config.regex import Pattern
from ownhost.modules.rewriting.arguments import split_flags, split_line
from ownhost.modules.rewriting.conditions import RuleCondition
from ownhost.modules.rewriting.flags import FLAGS, MAX_ROUNDS, NO_FLAGS, Escapes, RuleFlag, Said
from ownhost.modules.rewriting.template import Template, parse
from ownhost.modules.rewriting.urls import first_component, is_in_root


@dataclass(frozen=True, slots=True)
class Rule:
    """A RewriteRule with its conditions."""

    pattern: str  # as written, without "!"
    regex: Pattern
    negated: bool
    substitution: Template | None  # None for "-"
    written: str  # the substitution as written
    flags: RuleFlag = NO_FLAGS
    chained: bool = False  # the flag CHAIN, which is checked for every rule that does not apply
    conditions: tuple[RuleCondition, ...] = ()
    status: int = 302  # of a redirect, or of the answer with `answers`
    answers: bool = False  # [F], [G], and [R] with a status that is not a redirect
    escapes: Escapes | None = None
    env: tuple[Template, ...] = ()
    cookies: tuple[Template, ...] = ()
    content_type: Template | None = None
    handler: Template | None = None
    skip: int = 0
    rounds: int = MAX_ROUNDS
    in_root: bool | None = None  # whether the root directory has its first component; None if that is not literal
    source: Source | None = field(default=None, compare=False)

    def __contains__(self, flag: RuleFlag) -> bool:
        return bool(self.flags & flag)

    def templates(self) -> Iterator[Template]:
        """All templates of the rule and its conditions."""
        yield from (condition.test_string for condition in self.conditions)
        yield from self.env
        yield from self.cookies
        yield from (one for one in (self.substitution, self.content_type, self.handler) if one is not None)


def parse_rule(call: Call) -> Rule:
    """Parse RewriteRule. Raises ArgumentError."""
    pattern, substitution, flags = split_line(call.raw, "a pattern", "a substitution")
    said = Said()
    for name, value in split_flags(flags):
        known_word(FLAGS, name).means(said, value)
    negated = pattern.startswith("!")
    pattern = pattern[negated:]
    template = parse(substitution)
    return Rule(
        pattern=pattern,
        regex=Pattern(pattern, RuleFlag.NO_CASE in said.flags, call.source),
        negated=negated,
        substitution=None if substitution == "-" or said.answers else template,
        written=substitution,
        flags=said.flags,
        chained=RuleFlag.CHAIN in said.flags,
        status=said.status,
        answers=said.answers,
        escapes=said.made_escapes(),
        env=tuple(said.env),
        cookies=tuple(said.cookies),
        content_type=said.content_type,
        handler=said.handler,
        skip=said.skip,
        rounds=said.rounds,
        in_root=_is_in_root(template),
        source=call.source,
    )


def _is_in_root(substitution: Template) -> bool | None:
    """Whether a substitution's first component is in the root directory; None if it is not literal.

    Apache looks for each request. Here it is looked up once, so that all processes that run the
    rule agree.
    """
    literal = substitution.literal
    if not literal.startswith("/") or ("/" not in literal[1:] and len(substitution.parts) > 1):
        return None
    return is_in_root(first_component(literal))
