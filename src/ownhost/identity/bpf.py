"""seccomp filters as programs of classic BPF: from a policy to the program that the kernel runs at each call. Pure.

A program checks the architecture, finds the call's number in a binary search, and checks its
arguments if the policy has rules for them. It loads 32 bits at a time from struct seccomp_data
(seccomp(2)):

    offset 0: number    4: architecture    8: instruction pointer    16 + 8 * N: argument N, its low half first

If the kernel takes an int, it uses only the low half, and so does a `Test`. If it takes a long, all
64 bits count (`wide`). Linux since 5.11 finds out by itself which numbers are allowed whatever
their arguments are, and runs no program for those. So frequent calls cost nothing, if their
arguments are not checked.

Sources: seccomp(2), linux/filter.h, linux/bpf_common.h, linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ALLOW = 0x7FFF_0000  # SECCOMP_RET_ALLOW
KILL = 0x8000_0000  # SECCOMP_RET_KILL_PROCESS

OWN_PID = -1  # in a test's values: the pid of the filtered process

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets
_WORD = 0xFFFF_FFFF

# linux/bpf_common.h: the instructions. All take the constant K.
_LOAD = 0x20  # LD W ABS: the 32 bits at offset K
_AND = 0x54  # ALU AND
_JUMP = 0x05  # JMP JA: K instructions ahead
_EQUAL = 0x15  # JMP JEQ
_AT_LEAST = 0x35  # JMP JGE
_ANY_BIT = 0x45  # JMP JSET
_RETURN = 0x06  # RET

MAX_INSTRUCTIONS = 4_096  # BPF_MAXINSNS
_FAR = 255  # the most instructions that a conditional jump can skip


def refuse(number: int) -> int:
    """The action that makes a system call fail with this errno (SECCOMP_RET_ERRNO)."""
    return 0x0005_0000 | number


@dataclass(frozen=True, slots=True)
class Test:
    """The condition on one argument: with the bits of `mask`, it is one of `values`.

    `wide`: all 64 bits of it count.
    """

    __test__ = False  # pytest: it is not a test

    place: int
    values: tuple[int, ...]
    mask: int = _WORD
    wide: bool = False


Case = tuple[Test, ...]  # all of its tests hold
Rule = int | tuple[Case, ...]  # an action; or the cases in which a call is allowed, otherwise it is refused


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The action for each system call.

    `rules` by name; `refusal` is the action for a call that none of its cases allows. Calls without
    a rule: `otherwise`, and from number `new_from` on `newer`, as on a kernel that does not have
    them.
    """

    rules: Mapping[str, Rule]
    refusal: int
    otherwise: int
    newer: int
    new_from: int


@dataclass(frozen=True, slots=True, eq=False)
class Architecture:
    """A kind of machine: its number for audit (linux/audit.h), the calls' numbers by name.

    `foreign` is the first number of another table of the same machine (x32's on x86-64), which is
    not used.
    """

    audit: int
    numbers: Mapping[str, int]
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter: a code, how many instructions to skip if it is true and if not, a constant."""

    code: int
    true: int = 0
    false: int = 0
    k: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A filter. `own` are the positions of instructions whose constant must be the process's pid."""

    instructions: tuple[Instruction, ...]
    own: tuple[int, ...]

    def encode(self, pid: int) -> bytes:
        """In the kernel's form, for the process with this pid."""
        data = bytearray()
        for place, one in enumerate(self.instructions):
            data += struct.pack("=HBBI", one.code, one.true, one.false, pid if place in self.own else one.k)
        return bytes(data)


# A program as a graph, before its instructions are in a row.


@dataclass(frozen=True, slots=True, eq=False)
class _Return:
    action: int


@dataclass(frozen=True, slots=True, eq=False)
class _Then:
    """Load or mask, then go on."""

    code: int
    k: int
    following: _Node


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    code: int
    k: int
    true: _Node
    false: _Node
    own: bool = False


_Node = _Return | _Then | _Branch


def compile_policy(policy: Policy, architecture: Architecture) -> Program:
    """The program of a policy. Raises KeyError for a name that no architecture has, ValueError if it is too long.

    A call that only this architecture lacks (number -1) needs no rule.
    """
    ends: dict[int, _Node] = {}

    def end(action: int) -> _Node:
        return ends.setdefault(action, _Return(action))

    rules: dict[int, _Node] = {}
    for name, rule in policy.rules.items():
        number = architecture.numbers[name]
        if number >= 0:
            rules[number] = end(rule) if isinstance(rule, int) else _cases(rule, end(ALLOW), end(policy.refusal))
    search = _search(_spans(policy, architecture, rules, end))
    of_ours = _Then(_LOAD, _NUMBER, search)
    start = _Then(_LOAD, _ARCHITECTURE, _Branch(_EQUAL, architecture.audit, of_ours, end(KILL)))
    program = _in_a_row(start)
    if len(program.instructions) > MAX_INSTRUCTIONS:
        raise ValueError(f"a filter of {len(program.instructions)} instructions: {MAX_INSTRUCTIONS} are the most")
    return program


def _spans(
    policy: Policy, architecture: Architecture, rules: Mapping[int, _Node], end: Callable[[int], _Node]
) -> list[tuple[int, _Node]]:
    """The actions of all numbers: each entry holds up to the next."""
    edges = {0, policy.new_from, *rules, *(number + 1 for number in rules)}
    if architecture.foreign:
        edges.add(architecture.foreign)
    spans: list[tuple[int, _Node]] = []
    for number in sorted(edges):
        if architecture.foreign and number >= architecture.foreign:
            node = end(KILL)
        else:
            node = rules.get(number) or end(policy.newer if number >= policy.new_from else policy.otherwise)
        if not spans or spans[-1][1] is not node:
            spans.append((number, node))
    return spans


def _search(spans: list[tuple[int, _Node]]) -> _Node:
    """A binary search for the span of the loaded number."""
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    return _Branch(_AT_LEAST, spans[middle][0], _search(spans[middle:]), _search(spans[:middle]))


def _cases(cases: tuple[Case, ...], allowed: _Node, refused: _Node) -> _Node:
    """One case after another; if the last one fails, the call is refused."""
    node = refused
    for case in reversed(cases):
        holds = allowed
        for test in reversed(case):
            holds = _test(test, holds, node)
        node = holds
    return node


def _test(test: Test, true: _Node, false: _Node) -> _Node:
    """One test of one argument."""
    low = _ARGUMENTS + 8 * test.place
    if not test.wide:
        return _half(low, test.mask, test.values, true, false)
    node = false
    for value in reversed(test.values):
        lower = _half(low, test.mask & _WORD, (value & _WORD,), true, node)
        node = _half(low + 4, test.mask >> 32, (value >> 32,), lower, node)
    return node


def _half(offset: int, mask: int, values: tuple[int, ...], true: _Node, false: _Node) -> _Node:
    """Whether 32 bits, after the mask, are one of some values."""
    node = false
    if values == (0,) and mask != _WORD:
        node = _Branch(_ANY_BIT, mask, false, true)
        return _Then(_LOAD, offset, node)
    for value in reversed(values):
        own = value == OWN_PID
        node = _Branch(_EQUAL, 0 if own else value & _WORD, true, node, own)
    return _Then(_LOAD, offset, node if mask == _WORD else _Then(_AND, mask, node))


def _in_a_row(start: _Node) -> Program:
    """Put nodes in a row, from the end: jumps only go ahead, and conditional ones no further than _FAR."""
    row: list[Instruction] = []  # the last instruction first
    places: dict[_Node, int] = {}
    own: list[int] = []

    def emit(instruction: Instruction) -> int:
        row.append(instruction)
        return len(row) - 1

    def distance(place: int) -> int:
        return len(row) - 1 - place

    def within(place: int, reach: int) -> int:
        return place if distance(place) <= reach else emit(Instruction(_JUMP, k=distance(place)))

    def put(node: _Node) -> int:
        if node not in places:
            places[node] = put_new(node)
        return places[node]

    def put_new(node: _Node) -> int:
        match node:
            case _Return():
                return emit(Instruction(_RETURN, k=node.action))
            case _Then():
                within(put(node.following), 0)
                return emit(Instruction(node.code, k=node.k))
            case _Branch():
                false, true = put(node.false), put(node.true)
                true = within(true, _FAR - 1)  # one more instruction may come between
                false = within(false, _FAR)
                place = emit(Instruction(node.code, distance(true), distance(false), node.k))
                if node.own:
                    own.append(place)
                return place

    put(start)
    last = len(row) - 1
    return Program(tuple(reversed(row)), tuple(last - place for place in own))
