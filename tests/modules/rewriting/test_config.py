"""How what scopes say of rewriting is merged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ownhost.config.directive import Call, Source, Where
from ownhost.config.lexer import words
from ownhost.modules.rewriting import config
from ownhost.modules.rewriting.config import RewriteConfig


def say(raw: str, *, section: str = "") -> RewriteConfig:
    """What some lines say in a scope."""
    parsers = {
        "RewriteEngine": config.parse_engine,
        "RewriteOptions": config.parse_options,
        "RewriteRule": config.parse_rules,
        "RewriteCond": config.parse_conditions,
        "RewriteBase": config.parse_base,
        "RewriteMap": config.parse_maps,
    }
    said: RewriteConfig | None = None
    for line in raw.splitlines():
        name, rest = line.split(" ", 1)
        where = Where.DIRECTORY if section else Where.SERVER
        said = config.fold(
            said, parsers[name](Call(name, words(rest), rest, Source("x", 1), where, "/", section=section))
        )
    assert said is not None
    return said


def patterns(said: RewriteConfig) -> list[str]:
    return [rule.pattern for rule in said.rules]


OUTER = "RewriteEngine on\nRewriteRule outer -"
INNER = "RewriteRule inner -"


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("", "", ["inner"]),
        ("", "Inherit", ["inner", "outer"]),
        ("", "InheritBefore", ["outer", "inner"]),
        ("InheritDown", "", ["inner", "outer"]),
        ("InheritDownBefore", "", ["outer", "inner"]),
        ("InheritDown", "IgnoreInherit", ["inner"]),
        ("InheritDown", "AllowNoSlash", ["inner", "outer"]),
        ("Inherit", "", ["inner", "outer"]),
        ("Inherit", "AllowNoSlash", ["inner"]),
    ],
)
@pytest.mark.parametrize("sections", [("", ""), ("/a/", "/a/b/")])
def test_rules_are_inherited_as_options_say(
    outer: str, inner: str, expected: list[str], sections: tuple[str, str]
) -> None:
    around = say(OUTER + (f"\nRewriteOptions {outer}" if outer else ""), section=sections[0])
    inside = say(INNER + (f"\nRewriteOptions {inner}" if inner else ""), section=sections[1])
    merged = config.merge(around, inside)
    assert patterns(merged) == expected
    assert merged.engine
    assert merged.directory == (sections[1] or None)


def test_the_rules_of_a_server_are_no_sections() -> None:
    merged = config.merge(say(f"{OUTER}\nRewriteOptions Inherit"), say(INNER, section="/a/"))
    assert patterns(merged) == ["inner"]


def test_a_rule_takes_the_conditions_in_front_of_it() -> None:
    said = say("RewriteCond a b\nRewriteCond c d\nRewriteRule one -\nRewriteRule two -\nRewriteCond e f")
    assert [[condition.pattern for condition in rule.conditions] for rule in said.rules] == [["b", "d"], []]
    assert [condition.pattern for condition in said.conditions] == ["f"]


def test_the_base_is_inherited_with_merge_base_alone() -> None:
    outer, inner = say("RewriteBase /x", section="/a/"), say(INNER, section="/a/b/")
    assert config.merge(outer, inner).base is None
    assert config.merge(outer, say(f"{INNER}\nRewriteOptions MergeBase", section="/a/b/")).base == "/x"
    assert config.merge(say("RewriteOptions MergeBase\nRewriteBase /x", section="/a/"), inner).base == "/x"


def test_maps_are_inherited_with_the_rules() -> None:
    outer, inner = say("RewriteMap one int:tolower"), say("RewriteMap two int:toupper")
    assert set(config.merge(outer, inner).maps) == {"two"}
    inherit = replace(inner, options=config.Option.INHERIT)
    assert set(config.merge(outer, inherit).maps) == {"one", "two"}


def test_a_virtual_host_that_says_nothing_has_the_engine_and_the_maps_but_no_rules() -> None:
    silent = config.inherited(say(f"{OUTER}\nRewriteMap one int:tolower"))
    assert silent.silent
    assert silent.engine
    assert patterns(silent) == []
    assert set(silent.maps) == {"one"}


def test_a_section_is_named_by_what_it_is_for() -> None:
    assert say(INNER, section="/loc").directory == "/loc/"
    assert say(INNER, section="/folder/").directory == "/folder/"
