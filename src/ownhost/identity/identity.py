"""The identity of a request: what a process must be before it may serve it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Assignment:
    """The configuration's word about who serves a request: a user and a group, each a name or "#number".

    None is `User` or `Group`. `nice` is NiceValue's scheduling priority. `translated`: from a
    directive of another product than mpm-itk.
    """

    user: str | None = None
    group: str | None = None
    nice: int = 0
    translated: bool = field(default=False, compare=False, repr=False)

    def complete(self, default: Assignment) -> Assignment:
        """The same, with the user and group of `default` (User and Group) if it has none of its own."""
        user = default.user if self.user is None else self.user
        return Assignment(user, default.group if self.group is None else self.group, self.nice)


UNASSIGNED = Assignment()


@dataclass(frozen=True, slots=True)
class Identity:
    """A process's credentials: uid, gid, supplementary groups and scheduling priority (nice(2), -20 to 19).

    `name` is for people: the user's name, or "#uid" without an account.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    nice: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an assignment has no identity: an unknown name, a uid or gid out of range.

    `words` are mpm-itk's own message, which people look for in error logs.
    """

    reason: str
    words: str = ""

    @property
    def logged(self) -> str:
        """The message for the error log."""
        return f"{self.words} ({self.reason})" if self.words else self.reason
