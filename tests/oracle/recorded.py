"""What Apache answered to a case, written beside it: `NAME.answers` has an answer for each request of `NAME.txt`.

Blocks are connections and `+` stands between requests, as in the requests' file. An answer is the request, the status,
the fields that are compared and the body, whose lines have `>` in front of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from oracle import cases
from oracle.cases import Asked
from oracle.client import Answer
from oracle.compare import IDS, OWN_PAGE, ROOTS, compared, is_own_page, view

Answers = Sequence[Sequence[Answer]]  # of a case: those of one connection together

HEADING = "# What Apache answered. scripts/record makes this file.\n"
DROPPED = " on a new connection"  # behind the status
APART = ("status", "dropped", "body")  # what is compared and is no field
_ODD = re.compile(r"[^ -\[\]-~]| $")  # what is written as \x..: all but ASCII, the backslash, a space at the end
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


class NotRecorded(Exception):
    """There is no answer to a request. The message says what to do."""


def path_of(name: str) -> Path:
    """The file of a case."""
    return cases.FOLDER / f"{name}.answers"


def text_of(name: str) -> str:
    """What is in it; "" where it is not there."""
    path = path_of(name)
    return path.read_text() if path.exists() else ""


def read(name: str) -> Answers:
    """What Apache answered to a case. Raises NotRecorded."""
    blocks = [block.rstrip("\n").split("\n+\n") for block in text_of(name).split("\n\n")[1:]]
    titles = [[text.partition("\n")[0] for text in block] for block in blocks]
    if titles != [[_escaped(asked.title) for asked in requests] for requests in cases.connections(name)]:
        raise NotRecorded(f"{name}.answers has not the answers to {name}.txt: run sudo ./scripts/record {name}")
    return [[_answer(text.split("\n")) for text in block] for block in blocks]


def written(name: str, answers: Answers) -> str:
    """The file for what Apache answered to a case."""
    blocks = []
    for requests, answered in zip(cases.connections(name), answers, strict=True):
        texts = ["\n".join(_lines(*pair)) for pair in zip(requests, answered, strict=True)]
        blocks.append("\n+\n".join(texts) + "\n")
    return "\n".join((HEADING, *blocks))


def _lines(asked: Asked, answer: Answer) -> Iterator[str]:
    """An answer, as far as it is compared."""
    seen = view(answer)
    names = compared(asked, answer, answer) | {name for name in IDS if seen[name] == ROOTS}
    if "accept-ranges" not in answer.fields:
        names.discard("content-length")  # of what is no file: whether a program's is passed on hangs on when it came
    yield _escaped(asked.title)
    yield f"{answer.status}{DROPPED * answer.dropped}"
    for name in sorted(names.difference(APART)):
        if seen[name]:
            yield f"{name}: {_escaped(seen[name])}"
    body = seen["body"] if "body" in names else OWN_PAGE * is_own_page(answer)
    if body:
        yield from (f"> {_escaped(line)}" if line else ">" for line in body.split("\n"))


def _answer(lines: list[str]) -> Answer:
    _, status, *rest = lines
    fields = dict(line.split(": ", 1) for line in rest if not line.startswith(">"))
    body = "\n".join(_plain(line[2:]) for line in rest if line.startswith(">"))
    return Answer(
        int(status.removesuffix(DROPPED)),
        {name: _plain(value) for name, value in fields.items()},
        body.encode("latin-1"),
        status.endswith(DROPPED),
    )


def _escaped(text: str) -> str:
    return _ODD.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
