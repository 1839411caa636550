"""The words of directives: actions of Header, flags of RewriteRule, tests of conditions, format codes and the like.

A table of them is what the parser looks words up in, and what error messages, `ownhost directives NAME` and the
reference page say of them. To have one more word understood, add one entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Word(Generic[T]):
    """A word: how it is written, what it does, and what obeys it."""

    name: str  # as Apache's manual writes it
    arguments: str  # what goes with it, as the manual writes it; "" for nothing
    help: str
    means: T  # the function, or the value, that obeys it
    aliases: tuple[str, ...] = ()  # other names of it
    differs: str = ""  # what is not as in Apache


class Words(Generic[T]):
    """The words that may stand in one place.

    `title` says of what they are: "Flags of RewriteRule"; `kind` what one is: "flag". `form` is how a word and its
    arguments are put together. `known` has each word by its name and aliases, in lower case where `any_case`.
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
        """Have one more word understood. A name that is there already is a programming error."""
        for name in (word.name, *word.aliases):
            if self.get(name) is not None:
                raise ValueError(f"the {self.kind} {name} is declared twice")
            self.known[self._key(name)] = word

    def get(self, name: str) -> Word[T] | None:
        """The word of a name; None where there is none."""
        return self.known.get(self._key(name))

    def __iter__(self) -> Iterator[Word[T]]:
        """Each word once, in the order in which they were added."""
        return iter({id(word): word for word in self.known.values()}.values())

    def written(self, name: str, arguments: str = "") -> str:
        """A word as it stands in a configuration."""
        return self.form.format(name=name, arguments=arguments).strip()

    def _key(self, name: str) -> str:
        return name.lower() if self.any_case else name
