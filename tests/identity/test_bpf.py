"""Filters as BPF: the compiled program decides as the policy says, for every call and argument."""

from __future__ import annotations

import functools
import re
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.identity import bpf, seccomp
from ownhost.identity.bpf import ALLOW, KILL, OWN_PID, Architecture, Case, Policy, Program, Test, refuse
from ownhost.identity.call_numbers import ARCHITECTURES, NONE, NUMBERS, this_machine

MACHINES = ("aarch64", "x86_64")
PID = 4_321
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1
POLICIES = {
    name: getattr(seccomp, name)
    for name in ("EXAMINER", "FORKSERVER", "FRONT", "GATE", "LOGGER", "SUPERVISOR", "WORKER")
}


@functools.cache
def decoded(program: Program) -> list[tuple[int, int, int, int]]:
    """The instructions as the kernel is given them."""
    return list(struct.iter_unpack("=HBBI", program.encode(PID)))


def run(program: Program, audit: int, number: int, arguments: list[int]) -> int:
    """What the kernel does with a program: the action, by the rules of linux/filter.h."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *arguments)
    code = decoded(program)
    place, accumulator = 0, 0
    while True:
        operation, true, false, k = code[place]
        place += 1
        match operation:
            case 0x20:
                assert k % 4 == 0
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                place += k
            case 0x15:
                place += true if accumulator == k else false
            case 0x35:
                place += true if accumulator >= k else false
            case 0x45:
                place += true if accumulator & k else false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"no instruction of ours: {operation:#x}")


def holds(test: Test, arguments: list[int]) -> bool:
    """What a test says, in plain words."""
    found = arguments[test.place]
    wanted = [PID if value == OWN_PID else value for value in test.values]
    if test.wide:
        return any(found & test.mask == value for value in wanted)
    return any(found & WORD & test.mask == value & WORD for value in wanted)


@functools.lru_cache(64)
def by_number(policy: Policy, machine: Architecture) -> dict[int, bpf.Rule]:
    """A policy's rules, by number."""
    return {machine.numbers[name]: rule for name, rule in policy.rules.items() if machine.numbers[name] >= 0}


def decide(policy: Policy, machine: Architecture, audit: int, number: int, arguments: list[int]) -> int:
    """What a policy says, in plain words."""
    if audit != machine.audit or (machine.foreign and number >= machine.foreign):
        return KILL
    rule = by_number(policy, machine).get(number)
    if isinstance(rule, int):
        return rule
    if rule is not None:
        return ALLOW if any(all(holds(test, arguments) for test in case) for case in rule) else policy.refusal
    return policy.newer if number >= policy.new_from else policy.otherwise


def interesting(policy: Policy) -> list[int]:
    """Values near what the policy's tests look at, in either half of an argument."""
    found = {0, 1, PID, PID + 1, WORD, LONG, 1 << 32, 1 << 63}
    for rule in policy.rules.values():
        for case in () if isinstance(rule, int) else rule:
            for test in case:
                for value in (*test.values, test.mask):
                    found |= {value & LONG, ~value & LONG, value & WORD | 1 << 40, (value & WORD) << 32}
                    found |= {value & LONG ^ 1 << bit for bit in range(0, 64, 3)}
    return sorted(found)


VALUES = {name: interesting(policy) for name, policy in POLICIES.items()}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(POLICIES))
@given(data=st.data())
def test_a_program_decides_as_its_policy_says(name: str, machine: str, data: st.DataObject) -> None:
    policy, architecture = POLICIES[name], ARCHITECTURES[machine]
    program = _compiled(name, machine)
    looked_at = [
        architecture.numbers[call]
        for call, rule in policy.rules.items()
        if not isinstance(rule, int) and architecture.numbers[call] >= 0
    ]
    number = data.draw(st.one_of(st.sampled_from(looked_at), st.integers(0, 600), st.integers(0, WORD)))
    argument = st.one_of(st.sampled_from(VALUES[name]), st.integers(0, LONG), st.integers(0, 64))
    arguments = data.draw(st.lists(argument, min_size=6, max_size=6))
    wanted = decide(policy, architecture, architecture.audit, number, arguments)
    assert run(program, architecture.audit, number, arguments) == wanted


_programs: dict[tuple[str, str], Program] = {}


def _compiled(name: str, machine: str) -> Program:
    if (name, machine) not in _programs:
        _programs[name, machine] = bpf.compile_policy(POLICIES[name], ARCHITECTURES[machine])
    return _programs[name, machine]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_number_with_arguments_of_nothing(name: str, machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    numbers = [*range(520), 0x4000_0000 - 1, *range(0x4000_0000, 0x4000_0000 + 600, 7), WORD]
    for number in numbers:
        for arguments in ([0] * 6, [LONG] * 6):
            wanted = decide(POLICIES[name], architecture, architecture.audit, number, arguments)
            assert run(_compiled(name, machine), architecture.audit, number, arguments) == wanted, number


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_another_architecture_is_the_end(name: str) -> None:
    for audit in (0x4000_0003, 0xC000_00B7, 0x4000_0028, 0, WORD):  # i386, aarch64, arm
        assert run(_compiled(name, "x86_64"), audit, 20, [0] * 6) == KILL


tests = st.builds(
    lambda place, values, mask, wide: Test(
        place, tuple(value & mask & (LONG if wide else WORD) for value in values), mask & (LONG if wide else WORD), wide
    ),
    st.integers(0, 5),
    st.lists(st.integers(0, LONG), min_size=1, max_size=4),
    st.one_of(st.integers(0, LONG), st.just(LONG), st.just(WORD)),
    st.booleans(),
)
cases: st.SearchStrategy[tuple[Case, ...]] = st.lists(st.lists(tests, max_size=3).map(tuple), max_size=3).map(tuple)
rules = st.dictionaries(
    st.sampled_from(sorted(NUMBERS)), st.one_of(st.sampled_from([ALLOW, KILL, refuse(5)]), cases), max_size=60
)


@given(rules, st.data())
def test_any_policy(rules: dict[str, bpf.Rule], data: st.DataObject) -> None:
    policy = Policy(rules, refusal=refuse(1), otherwise=refuse(2), newer=refuse(38), new_from=424)
    architecture = ARCHITECTURES["x86_64"]
    program = bpf.compile_policy(policy, architecture)
    values = interesting(policy)
    for name in [*rules, "read", "clone3"]:
        arguments = data.draw(st.lists(st.sampled_from(values), min_size=6, max_size=6))
        number = architecture.numbers[name]
        wanted = decide(policy, architecture, architecture.audit, number, arguments)
        assert run(program, architecture.audit, number, arguments) == wanted


def test_far_jumps() -> None:
    """More instructions than a conditional jump can pass over."""
    cases_ = tuple((Test(place % 6, (place,), wide=True, mask=LONG),) for place in range(30))
    policy = Policy(
        dict.fromkeys(sorted(NUMBERS)[:20], cases_) | {"write": KILL}, refuse(1), refuse(2), refuse(38), 424
    )
    architecture = ARCHITECTURES["x86_64"]
    program = bpf.compile_policy(policy, architecture)
    assert len(program.instructions) > 2_000
    for name in (*policy.rules, "read"):
        number = architecture.numbers[name]
        for value in (0, 1, 7, 29, 1 << 32 | 29, 30):
            wanted = decide(policy, architecture, architecture.audit, number, [value] * 6)
            assert run(program, architecture.audit, number, [value] * 6) == wanted
    with pytest.raises(ValueError, match="are the most"):
        bpf.compile_policy(Policy(dict.fromkeys(NUMBERS, cases_), 0, 0, 0, 424), architecture)


def headers(header: str, *defines: str) -> dict[str, int]:
    """Numbers of calls by name, as the kernel's headers have them."""
    command = ["gcc", "-E", "-dM", *defines, "-"]
    text = subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"#define (__NR\w+) (\S+)", text))
    result = {}
    for name, value in found.items():
        while value in found:
            value = found[value]
        if name.startswith("__NR_") and value.isdigit():
            result[name[5:]] = int(value)
    return result


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_numbers_are_the_kernels() -> None:
    x86 = headers("asm/unistd_64.h") if ARCHITECTURES["x86_64"] is this_machine() else {}
    wanted = ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "TIME32_SYSCALLS", "SYS_CLONE3", "MEMFD_SECRET")
    generic = headers("asm-generic/unistd.h", "-D__BITS_PER_LONG=64", *(f"-D__ARCH_WANT_{name}" for name in wanted))
    for name, numbers in NUMBERS.items():
        if x86:
            assert x86.get(name, NONE) == numbers[0], name
        assert generic.get(name, NONE) == numbers[1], name
