"""What `ownhost explain` finds out, as data: what --json prints, and what comes back from the process that looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


@dataclass(slots=True)
class Said:
    """A directive or section that had a say, and where it stands."""

    what: str
    declared: str


@dataclass(slots=True)
class Overridden:
    """A directive that had no say, as another one took its place."""

    what: str
    declared: str
    by: Said


@dataclass(slots=True)
class Message:
    """What a phase had to say: a step of rewriting, or a line for the error log."""

    module: str
    level: str
    text: str


@dataclass(slots=True)
class Cause:
    """Why the verdict is what it is: one fact, where it was said, and the smallest thing that changes it."""

    what: str
    declared: str = ""
    fix: str = ""


@dataclass(slots=True)
class Ruled:
    """An access rule or a group of them, what it says of this request, and what of the request it looked at."""

    rule: str
    declared: str
    verdict: str  # "yes", "no", "no say"
    why: str = ""
    rules: list[Ruled] = field(default_factory=list)


@dataclass(slots=True)
class Program:
    """A program, or another server, that would answer."""

    what: str  # "PHP", "a CGI program"...
    command: str  # what would be run, or asked
    trouble: str = ""  # why it cannot be
    fix: str = ""
    status: int = 200  # what comes of that


@dataclass(slots=True)
class Hop:
    """Where a redirect leads, and what the client gets there; status 0 where this configuration does not say."""

    url: str
    status: int
    verdict: str


@dataclass(slots=True)
class Explanation:
    """All there is to say about a request. What nobody got to is empty.

    `status` is 0 where there is no answer. `connection` says why the client's connection comes to nothing; `certain` is
    False where root could see more.
    """

    request: str
    host: str
    virtual_host: str
    declared: str
    chosen: str
    verdict: str = ""
    certain: bool = True
    causes: list[Cause] = field(default_factory=list)
    connection: str = ""
    follows: list[Hop] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    identity_from: list[Said] = field(default_factory=list)
    rewriting: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    sections: list[Said] = field(default_factory=list)
    access: list[Ruled] = field(default_factory=list)
    settings: list[Said] = field(default_factory=list)  # all that hold here
    looked_at: list[Said] = field(default_factory=list)  # those of them that this request depended on
    overridden: list[Overridden] = field(default_factory=list)
    uri: str = ""
    file: str = ""
    path_info: str = ""
    handler: str = ""
    program: Program | None = None
    status: int = 0
    location: str = ""
    tls: str = ""  # what is spoken at the address; "" where that goes without saying
    environment: dict[str, str] = field(default_factory=dict)
    elsewhere: list[Any] = field(default_factory=list)  # user, group and nice value that the file's folder asks for


def restored(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass, back from what `asdict` and JSON made of it."""
    hints = get_type_hints(kind)
    return kind(**{one.name: _restored(hints[one.name], values[one.name]) for one in fields(kind)})  # type: ignore[arg-type]


def _restored(hint: Any, value: Any) -> Any:
    kind = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
    if kind is None or value is None:
        return value
    if isinstance(value, list):
        return [restored(kind, one) for one in value]  # type: ignore[arg-type]
    return restored(kind, value)  # type: ignore[arg-type]
