"""The result of `ownhost explain`, as data: for --json, and for the way back from the process that looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


@dataclass(slots=True)
class Said:
    """A directive or section that had an effect, and its place."""

    what: str
    declared: str


@dataclass(slots=True)
class Overridden:
    """A directive without effect, as another one overrides it."""

    what: str
    declared: str
    by: Said


@dataclass(slots=True)
class Message:
    """What a phase reported: a step of rewriting, or a line for the error log."""

    module: str
    level: str
    text: str


@dataclass(slots=True)
class Cause:
    """One reason for the verdict: a fact, its place in the configuration, and the smallest fix."""

    what: str
    declared: str = ""
    fix: str = ""


@dataclass(slots=True)
class Ruled:
    """An access rule or a group of them, its verdict on this request, and what it looked at."""

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
    status: int = 200  # the consequence


@dataclass(slots=True)
class Hop:
    """A redirect's target, and the client's response there; status 0 if this configuration does not say."""

    url: str
    status: int
    verdict: str


@dataclass(slots=True)
class Explanation:
    """Everything about a request. Steps that were not reached are empty.

    `status` is 0 if there is no response. `connection` says why the client's connection fails;
    `certain` is False if root could see more.
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
    looked_at: list[Said] = field(default_factory=list)  # those that this request depended on
    overridden: list[Overridden] = field(default_factory=list)
    uri: str = ""
    file: str = ""
    path_info: str = ""
    handler: str = ""
    program: Program | None = None
    status: int = 0
    location: str = ""
    tls: str = ""  # the protocols at the address; "" if nothing is special
    environment: dict[str, str] = field(default_factory=dict)
    elsewhere: list[Any] = field(default_factory=list)  # the user, group and nice value for the file's folder


def restored(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from what `asdict` and JSON made of it."""
    hints = get_type_hints(kind)
    return kind(**{one.name: _restored(hints[one.name], values[one.name]) for one in fields(kind)})  # type: ignore[arg-type]


def _restored(hint: Any, value: Any) -> Any:
    kind = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
    if kind is None or value is None:
        return value
    if isinstance(value, list):
        return [restored(kind, one) for one in value]  # type: ignore[arg-type]
    return restored(kind, value)  # type: ignore[arg-type]
