"""A new module: files made from the templates beside this one, and its name in the tables that list modules.

Run it with `./scripts/new-module mod_NAME`. CONTRIBUTING.md says what to do next.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ownhost.config import module_table

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent
TABLE = ROOT / "src/ownhost/config/module_table.py"
PLACES = ROOT / "tests/modules/test_places.py"
PAGE = ROOT / "docs/directives.md"
USAGE = """\
Usage: ./scripts/new-module mod_NAME
  NAME is small letters, digits and _. It makes a module with one directive, its test and an oracle case.
"""
NEXT = """
Now:
  ./scripts/test fast {test}
  ./scripts/test fast 'tests/oracle/test_recorded.py::test_virtual_hosts_answer_as_recorded[{name}]'
  sudo ./scripts/test 'tests/oracle/test_oracle.py::test_virtual_hosts_answer_alike[{name}]'
Then make the directive yours: CONTRIBUTING.md, "Add a directive". At the end:
  .venv/bin/ownhost directives --markdown >docs/directives.md
  ./scripts/check
"""


class Refused(Exception):
    """No module can be made. The message says why."""


def main(arguments: list[str]) -> int:
    """Make a module. The exit code."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        made = make(arguments[0])
    except Refused as why:
        print(f"new-module: {why}", file=sys.stderr)
        return 1
    name = arguments[0].removeprefix("mod_")
    print("Made:", *(f"  {path.relative_to(ROOT)}" for path in made), sep="\n")
    print("Changed:", *(f"  {path.relative_to(ROOT)}" for path in (TABLE, PLACES, PAGE)), sep="\n")
    print(NEXT.format(test=made[1].relative_to(ROOT), name=name), end="")
    return 0


def make(module: str) -> list[Path]:
    """The files of a module. Raises Refused."""
    if not re.fullmatch(r"mod_[a-z][a-z0-9_]*", module):
        raise Refused(f"expected a name such as mod_hello, not {module!r}")
    name = module.removeprefix("mod_")
    if name in module_table.KNOWN:
        raise Refused(f"{module} is known: see {TABLE.relative_to(ROOT)}, and CONTRIBUTING.md for modules of Apache's")
    files = {
        ROOT / f"src/ownhost/modules/{module}.py": "module.py.in",
        ROOT / f"tests/modules/test_{module}.py": "test.py.in",
        ROOT / f"tests/oracle/cases/{name}.conf": "case.conf.in",
        ROOT / f"tests/oracle/cases/{name}.txt": "case.txt.in",
        ROOT / f"tests/oracle/cases/{name}.answers": "case.answers.in",
    }
    for path in files:
        if path.exists():
            raise Refused(f"{path.relative_to(ROOT)} is there already")
    for path, template in files.items():
        path.write_text(filled((TEMPLATES / template).read_text(), module, name))
    enter(name)
    return list(files)


def filled(text: str, module: str, name: str) -> str:
    """A template with the names of a module in it."""
    words = [word.capitalize() for word in name.split("_")]
    field = f"X-{'-'.join(words)}"
    for key, value in {
        "MODULE": module,
        "NAME": name,
        "DIRECTIVE": f"{''.join(words)}Field",
        "FIELD": field,
        "FIELD_IN_SMALL": field.lower(),
    }.items():
        text = text.replace(f"@{key}@", value)
    return text


def enter(name: str) -> None:
    """Put a module's name where all are listed: it is done, without LoadModule; Apache has no such directives."""
    replace(TABLE, r'(^_DONE = """.*?)(\n""")', rf"\1 {name}\2")
    replace(TABLE, r"^BUILT_IN = frozenset\(\s*\{", rf'\g<0>"{name}", ')
    replace(PLACES, r"^OTHER_IDENTITY = \{", rf'\g<0>"mod_{name}", ')
    run("-m", "ruff", "format", "--quiet", str(TABLE), str(PLACES))
    PAGE.write_text(run("-m", "ownhost", "directives", "--markdown"))


def replace(path: Path, pattern: str, replacement: str) -> None:
    """Change the one place in a file that a pattern matches."""
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert count == 1, f"{path} has {count} places that match {pattern}"
    path.write_text(text)


def run(*arguments: str) -> str:
    """What this checkout's Python says."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
