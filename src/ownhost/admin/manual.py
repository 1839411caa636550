"""docs/directives.md: the reference page of all directives that are obeyed, made from their declarations.

`ownhost directives --markdown` prints it. Every fact on it comes from an `Entry`; only `GUIDES` is
here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from ownhost.admin.reference import Entry, WordEntry
from ownhost.config.directive import Answer

WIDTH = 100
INTRODUCTION = """\
# Directives

This page lists the directives that Ownhost obeys, by Apache's module. It is made from their
declarations: do not edit it. After a change, make it again:

    .venv/bin/ownhost directives --markdown >docs/directives.md

The words are those of Apache's manual. *Context* says where a directive may stand: *server config*
is outside of all sections, *directory* is any of `Directory`, `Files`, `Location`, `If` and their
`Match` forms, *proxy section* is `Proxy` and `ProxyMatch`. `.htaccess` files are not read yet;
*Override* is the class of `AllowOverride` that will let the directive stand in one. *Differs* says
how it differs from Apache. The pages linked below a module's name say more. If the arguments of a
directive are words of a table, such as the flags of `RewriteRule`, the table follows it.

At the end are the names of directives that are accepted without effect, and of those that Ownhost
knows but does not support. The latter are errors.
"""
# The pages with more about a module's directives, and their differences from Apache.
GUIDES = {
    "mod_access_compat": "access.md",
    "mod_actions": "cgi.md",
    "mod_alias": "fields.md",
    "mod_asgi": "python.md",
    "mod_auth_basic": "access.md",
    "mod_authn_core": "access.md",
    "mod_authn_file": "access.md",
    "mod_authz_core": "access.md",
    "mod_authz_groupfile": "access.md",
    "mod_cgi": "cgi.md",
    "mod_deflate": "compression.md",
    "mod_dir": "fields.md",
    "mod_env": "fields.md",
    "mod_expires": "compression.md",
    "mod_filter": "compression.md",
    "mod_fcgid": "cgi.md",
    "mod_headers": "fields.md",
    "mod_http2": "http2.md",
    "mod_log_config": "logs.md",
    "mod_mime": "modules.md",
    "mod_php": "php.md",
    "mod_proxy": "proxying.md",
    "mod_proxy_fcgi": "proxying.md",
    "mod_proxy_wstunnel": "proxying.md",
    "mod_remoteip": "fronts.md",
    "mod_rewrite": "rewriting.md",
    "mod_setenvif": "fields.md",
    "mod_ssl": "tls.md",
    "mod_userdir": "access.md",
    "mod_vhost_alias": "access.md",
    "mod_wsgi": "python.md",
    "mod_xsendfile": "cgi.md",
    "mpm_common": "programs.md",
    "mpm_itk": "identities.md",
}
OWN = "ownhost"  # the module name in the declarations of Ownhost's own directives
FIRST = ("core", OWN)  # before all others, which are sorted by name


def page(entries: Iterable[Entry], undeclared: Iterable[str] = ()) -> str:
    """The whole page, as Markdown. `undeclared` are the names of Apache's directives without an entry."""
    known = sorted(entries, key=_place)
    obeyed = {
        module: list(found)
        for module, found in groupby((one for one in known if one.answer == Answer.OBEYED), lambda one: one.module)
    }
    lines = [INTRODUCTION, *_index(obeyed), ""]
    shown: set[str] = set()
    for module, found in obeyed.items():
        lines += _module(module, found, shown)
    lines += _others(Answer.NO_EFFECT, _named(known, Answer.NO_EFFECT))
    lines += _others(Answer.UNSUPPORTED, [*_named(known, Answer.UNSUPPORTED), *undeclared])
    return "\n".join(lines).rstrip("\n") + "\n"


def _place(entry: Entry) -> tuple[int, str, str]:
    rank = FIRST.index(entry.module) if entry.module in FIRST else len(FIRST)
    return rank, entry.module, entry.name.strip("<>").lower()


def _title(module: str) -> str:
    return "Ownhost's own" if module == OWN else module


def _index(obeyed: dict[str, list[Entry]]) -> Iterator[str]:
    """A line of links for each module."""
    for module, entries in obeyed.items():
        links = (f"[{_plain(one.name)}](#{one.name.strip('<>').lower()})" for one in entries)
        yield from _wrapped(f"{_title(module)}: {', '.join(links)}", bullet=True)


def _module(module: str, entries: list[Entry], shown: set[str]) -> Iterator[str]:
    yield from (f"## {_title(module)}", "")
    if module in GUIDES:
        yield from (f"See also [{GUIDES[module]}]({GUIDES[module]}).", "")
    for entry in entries:
        yield from _entry(entry)
        for title, words in entry.words.items():
            yield from _table(title, words, linked=title in shown)
            shown.add(title)


def _entry(entry: Entry) -> Iterator[str]:
    yield from (f"### {_plain(entry.name)}", "", f"    {entry.syntax}", "")
    yield from (*_wrapped(_plain(entry.help)), "")
    facts = {
        "Context": ", ".join(entry.contexts),
        "Override": entry.override,
        "Default": f"`{entry.default}`" if entry.default else "",
        "Differs": _plain(entry.differs),
        "Note": _plain(entry.note),
    }
    for label, fact in facts.items():
        if fact:
            yield from _wrapped(f"*{label}*: {fact}", bullet=True)
    yield ""


def _table(title: str, words: list[WordEntry], *, linked: bool) -> Iterator[str]:
    """The words that a directive's arguments are made of; a link where they are on the page already."""
    if linked:
        yield from (f"[{title}](#{title.lower().replace(' ', '-')}) are listed above.", "")
        return
    yield from (f"#### {title}", "")
    for word in words:
        names = ", ".join(f"`{name}`" for name in (word.written, *word.aliases))
        differs = f" *Differs*: {_plain(word.differs)}" if word.differs else ""
        yield from _wrapped(f"{names}: {_plain(word.help)}{differs}", bullet=True)
    yield ""


def _named(entries: Iterable[Entry], answer: Answer) -> list[str]:
    return [one.name.strip("<>") for one in entries if one.answer == answer]


def _others(answer: Answer, names: Iterable[str]) -> Iterator[str]:
    """Directives with another answer: only their names."""
    yield from (f"## {answer.value.capitalize()}", "", *_wrapped(", ".join(sorted(names, key=str.lower))), "")


def _plain(text: str) -> str:
    """A text in which Markdown finds no markup."""
    return re.sub(r"([\\`*<>\[\]])", r"\\\1", text)


def _wrapped(text: str, *, bullet: bool = False) -> list[str]:
    first, rest = ("- ", "  ") if bullet else ("", "")
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
