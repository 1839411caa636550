"""The facts about a directive, from its declaration."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ownhost.config.directive import REGISTRY, Directive, Override, Where
from ownhost.config.words import Words

CONTEXTS = {
    Where.SERVER: "server config",
    Where.VIRTUAL_HOST: "virtual host",
    Where.DIRECTORY: "directory",
    Where.HTACCESS: ".htaccess",
    Where.PROXY: "proxy section",
}
HEADERS = ("DIRECTIVE", "MODULE", "ANSWER", "WHAT IT DOES")
SENTENCES = HEADERS[-1:]
_WIDEST = 40  # characters of a column of words


@dataclass(frozen=True, slots=True)
class WordEntry:
    """One of the words that a directive's arguments are made of."""

    written: str  # with its arguments
    aliases: tuple[str, ...]
    help: str
    differs: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A directive, in the words of Apache's manual: what --json prints."""

    name: str
    syntax: str
    contexts: list[str]
    override: str
    default: str
    module: str
    answer: str
    help: str
    differs: str
    note: str
    words: dict[str, list[WordEntry]]  # by what they are: "Flags of RewriteRule"


def entry(directive: Directive) -> Entry:
    """All facts about one directive."""
    written = f"{directive.name} {directive.syntax}".rstrip()
    return Entry(
        name=f"<{directive.name}>" if directive.section else directive.name,
        syntax=f"<{written}>" if directive.section else written,
        contexts=[word for where, word in CONTEXTS.items() if where in directive.where],
        override="" if directive.override is Override.NONE else str(directive.override),
        default=directive.default,
        module=directive.module,
        answer=directive.answer.value,
        help=directive.help,
        differs=directive.differs,
        note=directive.note,
        words={table.title: list(_words(table)) for table in directive.words},
    )


def _words(table: Words[Any]) -> Iterator[WordEntry]:
    for word in table:
        yield WordEntry(
            table.written(word.name, word.arguments), tuple(map(table.written, word.aliases)), word.help, word.differs
        )


def find(name: str) -> Directive:
    """The directive of that name, in any case, with or without angle brackets. LookupError names similar ones."""
    wanted = name.strip("<>/ ").lower()
    if wanted in REGISTRY:
        return REGISTRY[wanted]
    near = [REGISTRY[key].name for key in difflib.get_close_matches(wanted, REGISTRY, n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(near)}?" if near else "'ownhost directives' lists those that are."
    raise LookupError(f"{name} is not a known directive; {hint}")


def line(entry: Entry) -> tuple[str, str, str, str]:
    """A directive's line in the list."""
    return entry.name, entry.module, entry.answer, entry.help


def text(entry: Entry) -> str:
    """All facts about one directive, for a person."""
    facts = {
        "Syntax": entry.syntax,
        "Default": entry.default,
        "Context": ", ".join(entry.contexts),
        "Override": entry.override,
        "Module": entry.module,
        "Answer": entry.answer,
        "Differs": entry.differs,
        "Note": entry.note,
    }
    shown = [f"{label + ':':10}{fact}" for label, fact in facts.items() if fact]
    return "\n".join([entry.help, "", *shown, *_tables(entry)])


def _tables(entry: Entry) -> Iterator[str]:
    """The words of a directive, with what each does beside it."""
    for title, words in entry.words.items():
        yield from ("", f"{title}:")
        written = [", ".join((word.written, *word.aliases)) for word in words]
        width = min(max(map(len, written)), _WIDEST)
        for name, word in zip(written, words, strict=True):
            yield f"  {name:{width}}  {word.help}{f' Differs: {word.differs}' if word.differs else ''}"
