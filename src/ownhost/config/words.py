"""The words of directives: actions of Header, flags of RewriteRule, tests of conditions, format codes and the like.

The parser, error messages, `ownhost directives NAME` and the reference page all use one table of
them. To support another word, add one entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Word(Generic[T]):
    """A word: its form, its help, and what obeys it."""

    name: str  # as Apache's manual writes it
    arguments: str  # its arguments, as the manual writes them; "" for none
    help: str
    means: T  # the function, or the value, that obeys it
    aliases: tuple[str, ...] = ()  # other names of it
    differs: str = ""  # how it differs from Apache


class Words(Generic[T]):
    """The words that may stand in one place.

    `title` names them: "Flags of RewriteRule"; `kind` names one: "flag". `form` is how a word and
    its arguments are written. `known` has each word by its name and aliases, in lower case with
    `any_case`.
    """

    def __init__(
        self, title: str, kind: str, *words: Word[T], form: str = "{name} {arguments}", any_case: bool = False
    ) -> None:
        self.title = title
        self.kind = kind
        self.form = form
        self.any_case = any_case
        self.known: dict[str, Word[T]] = {}
        for word in words:
            self.add(word)

    def add(self, word: Word[T]) -> None:
        """Add a word. A name that exists already is a programming error."""
        for name in (word.name, *word.aliases):
            if self.get(name) is not None:
                raise ValueError(f"the {self.kind} {name} is declared twice")
            self.known[self._key(name)] = word

    def get(self, name: str) -> Word[T] | None:
        """The word with a name; None if there is none."""
        return self.known.get(self._key(name))

    def __iter__(self) -> Iterator[Word[T]]:
        """Each word once, in the order of addition."""
        return iter({id(word): word for word in self.known.values()}.values())

    def written(self, name: str, arguments: str = "") -> str:
        """A word in the form of the configuration."""
        return self.form.format(name=name, arguments=arguments).strip()

    def _key(self, name: str) -> str:
        return name.lower() if self.any_case else name
