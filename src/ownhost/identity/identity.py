"""The identity of a request: what a process must be before it may serve it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who is to serve a request, as the configuration says it: a user and a group, each a name or "#number".

    None is what `User` or `Group` says. `nice` is NiceValue's scheduling priority. `translated`: said in the words of
    another product than mpm-itk.
    """

    user: str | None = None
    group: str | None = None
    nice: int = 0
    translated: bool = field(default=False, compare=False, repr=False)

    def complete(self, default: Assignment) -> Assignment:
        """The same, with the user and group of `default` (what User and Group say) where it has none of its own."""
        user = default.user if self.user is None else self.user
        return Assignment(user, default.group if self.group is None else self.group, self.nice)


UNASSIGNED = Assignment()


@dataclass(frozen=True, slots=True)
class Identity:
    """A process's credentials: uid, gid, supplementary groups and scheduling priority (nice(2), -20 to 19).

    `name` is for people: the user's name, or "#uid" where there is no account.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    nice: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an assignment gives no identity: an unknown name, a uid or gid out of range.

    `words` are mpm-itk's own for the same, which people look for in error logs.
    """

    reason: str
    words: str = ""

    @property
    def logged(self) -> str:
        """What the error log says to it."""
        return f"{self.words} ({self.reason})" if self.words else self.reason
