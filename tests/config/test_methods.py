"""Sets of methods behave as sets, in which HEAD is GET."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.methods import EVERY, Methods

NAMES = ("GET", "HEAD", "POST", "PUT", "FOO")
SETS = st.builds(Methods.of, st.sets(st.sampled_from(NAMES)), excepted=st.booleans())


@given(SETS, SETS, st.sampled_from((*NAMES, "BAR")))
def test_both_are_what_is_in_each(one: Methods, other: Methods, method: str) -> None:
    assert (method in one & other) == (method in one and method in other)


@given(SETS)
def test_head_is_get(one: Methods) -> None:
    assert ("HEAD" in one) == ("GET" in one)


def test_methods_differ_by_case() -> None:
    assert "get" not in Methods.of(["GET"])


def test_nothing_is_left() -> None:
    assert not Methods.of(["GET"]) & Methods.of(["POST"])
    assert Methods.of(["GET"]) & EVERY
    assert Methods.of(["GET"], excepted=True)
