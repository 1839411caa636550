"""<IfModule> and LoadModule, over the whole table of modules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config import loading, module_table
from ownhost.config.directive import REGISTRY, Answer
from ownhost.config.known_names import MODULE_DIRECTIVES
from ownhost.config.loading import words_of
from ownhost.config.model import Config
from ownhost.config.reader import read

modules.load()

APACHE = Path("/usr/sbin/apache2")
LIBRARIES = Path("/usr/lib/apache2/modules")
WORDS = [word for name in sorted(module_table.KNOWN) for word in words_of(name)]

# Modules that are done although Apache's have directives and no such directive is obeyed; and why.
WITHOUT_OBEYED = {
    "http": "its directives are declared as core's",
    "cgid": "its directives are declared as mod_cgi's",
    "logio": "it is for %I and %O; its directive is for one more",
    "mpm_prefork": "its directives are declared as mpm_common's",
    "proxy_scgi": "it is for scgi:// in ProxyPass",
    "watchdog": "it is built into Debian's Apache",
}


def parse(folder: Path, text: str) -> Config:
    path = folder / "site.conf"
    path.write_text(f"User www-data\nGroup www-data\n{text}\n")
    return read(str(path), server_root=str(folder))


def entered(folder: Path, text: str, words: list[str]) -> set[str]:
    """Which words <IfModule> says yes to, behind some lines."""
    blocks = "".join(f"<IfModule {word}>\nDefine yes_{word}\nServerAlias {word}\n</IfModule>\n" for word in words)
    config = parse(folder, f"{text}\n<VirtualHost *:80>\nServerName x\n{blocks}</VirtualHost>\n")
    return set(config.virtual_hosts[0].settings.values.get("ServerAlias", ()))


def notes(config: Config) -> list[str]:
    return [f"{Path(note.source.file).name}:{note.source.line}: {note.message}" for note in config.notes]


# The table


def test_a_module_has_one_answer() -> None:
    groups = (
        module_table.DONE,
        module_table.DONE_IF_LOADED,
        module_table.DONE_WHERE_INSTALLED,
        module_table.NOT_DONE,
    )
    assert sum(map(len, groups)) == len(module_table.KNOWN)
    assert module_table.FILES.keys() | module_table.BUILT_IN | module_table.MPMS <= module_table.KNOWN
    assert len(set(WORDS)) == len(WORDS)


def test_every_directive_has_a_home_in_the_table() -> None:
    declared = {loading.home_of(directive.module) for directive in REGISTRY.values()}
    assert declared | {loading.home_of(name) for name in MODULE_DIRECTIVES} <= module_table.KNOWN


def test_what_is_done_is_what_is_obeyed() -> None:
    obeyed = {loading.home_of(one.module) for one in REGISTRY.values() if one.answer is Answer.OBEYED}
    has_directives = {loading.home_of(name) for name in MODULE_DIRECTIVES}
    done = module_table.KNOWN - module_table.NOT_DONE
    assert obeyed <= done
    assert (done & has_directives) - obeyed == WITHOUT_OBEYED.keys()


# Without a LoadModule line


def test_without_such_a_line_all_that_is_done_is_there(tmp_path: Path) -> None:
    expected = {word for name in module_table.DONE for word in words_of(name)}
    assert entered(tmp_path, "", [word for word in WORDS if "php" not in word]) == expected


@pytest.mark.parametrize("word", ["nothing", "mod_core.c", "mod_mpm_itk.c", "x_module", "MOD_DIR.C", "mod_dir", "dir"])
def test_what_is_no_name_of_a_module_is_not_there(tmp_path: Path, word: str) -> None:
    assert entered(tmp_path, "", [word]) == set()


# With LoadModule lines


@pytest.mark.parametrize("name", sorted(module_table.KNOWN - module_table.DONE_WHERE_INSTALLED))
def test_a_module_is_there_once_it_is_loaded(tmp_path: Path, name: str) -> None:
    done = name not in module_table.NOT_DONE
    other = "LoadModule mpm_prefork_module x"
    assert entered(tmp_path, f"{other}\nLoadModule {name}_module x", list(words_of(name))) == (
        set(words_of(name)) if done else set()
    )
    built_in = module_table.BUILT_IN | {"mpm_prefork"}
    assert entered(tmp_path, other, list(words_of(name))) == (set(words_of(name)) if name in built_in else set())


def test_a_module_that_is_loaded_and_not_done_is_a_note(tmp_path: Path) -> None:
    config = parse(tmp_path, "LoadModule ldap_module modules/mod_ldap.so")
    assert notes(config) == ["site.conf:3: ldap_module is not available here: <IfModule> is false for it"]


@pytest.mark.parametrize("other", sorted(module_table.MPMS))
def test_another_mpm_takes_preforks_place(tmp_path: Path, other: str) -> None:
    assert entered(tmp_path, f"LoadModule {other}_module x", ["prefork.c", "mpm_prefork_module"]) == set()
    assert entered(tmp_path, "LoadModule dir_module x", ["prefork.c"]) == {"prefork.c"}


def test_a_module_is_there_from_its_line_on(tmp_path: Path) -> None:
    block = "<IfModule mod_env.c>\nUseCanonicalName {}\n</IfModule>"
    text = f"{block.format('no such word')}\nLoadModule env_module x\n{block.format('On')}"
    assert parse(tmp_path, text).main.settings.values["UseCanonicalName"] is True


def test_a_line_in_a_block_and_in_another_file_counts(tmp_path: Path) -> None:
    (tmp_path / "env.load").write_text("<IfModule !mod_env.c>\nLoadModule env_module x\n</IfModule>\n")
    words = ["mod_env.c", "mod_dir.c"]
    assert entered(tmp_path, f"Include {tmp_path}/env.load", words) == {"mod_env.c"}


def test_lines_of_the_command_line_count(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text("<IfModule mod_dir.c>\nServerAdmin dir\n</IfModule>\n<IfModule mod_env.c>\nUser env\n</IfModule>")
    config = read(str(path), before=["LoadModule env_module x"])
    assert config.main.settings.values == {"User": "env"}


def test_what_a_condition_defined_before_is_forgotten_where_it_is_read_again(tmp_path: Path) -> None:
    text = "<IfModule mod_cgi.c>\nDefine CGI\n</IfModule>\nLoadModule env_module x\n"
    text += "<IfDefine CGI>\nServerAdmin cgi\n</IfDefine>"
    assert "ServerAdmin" not in parse(tmp_path, text).main.settings.values


# What is said of it


def test_a_block_that_could_be_done_is_a_note_each(tmp_path: Path) -> None:
    block = "<IfModule mod_headers.c>\nHeader set X y\n</IfModule>"
    config = parse(tmp_path, f"LoadModule dir_module x\n{block}\n{block}\n<IfModule mod_none.c>\n</IfModule>")
    skipped = "<IfModule mod_headers.c> is skipped: no LoadModule line before it loads headers_module"
    skipped = f"{skipped} (on Debian, a2enmod headers does)"
    assert notes(config) == [f"site.conf:4: {skipped}", f"site.conf:7: {skipped}"]


@pytest.mark.parametrize(
    "text",
    [
        "<IfModule mod_headers.c>\nHeader set X y\n</IfModule>",
        "LoadModule dir_module x\n<IfModule !mod_headers.c>\n</IfModule>",
        "LoadModule dir_module x\n<IfModule mod_auth_digest.c>\nAuthType Digest\n</IfModule>",
        "LoadModule dir_module x\n<IfModule mod_ssl.c>\n<IfModule mod_env.c>\n</IfModule>\n</IfModule>",
    ],
)
def test_what_is_not_missing_is_no_note(tmp_path: Path, text: str) -> None:
    assert len(parse(tmp_path, text).notes) == text.count("mod_ssl.c")


def test_if_directive_asks_for_what_is_loaded(tmp_path: Path) -> None:
    text = "<IfDirective SetEnv>\nServerAdmin env\n</IfDirective>\n"
    text += "<IfDirective DirectoryIndex>\nPidFile dir\n</IfDirective>"
    assert parse(tmp_path, f"LoadModule dir_module x\n{text}").main.settings.values.keys() == {
        "User",
        "Group",
        "PidFile",
    }
    assert "ServerAdmin" in parse(tmp_path, text).main.settings.values


# Apache itself


@pytest.mark.skipif(not APACHE.exists(), reason="asks Apache")
def test_apache_knows_the_same_names(tmp_path: Path) -> None:
    """Debian's modules, all loaded but for two MPMs: each is there under the names that the table has for it."""
    files = {name: LIBRARIES / f"mod_{name}.so" for name in module_table.KNOWN}
    files |= {"php": LIBRARIES / "libphp8.2.so", "mpm_itk": LIBRARIES / "mpm_itk.so"}
    loaded = [name for name in sorted(files) if files[name].exists() and name not in module_table.MPMS]
    loaded.sort(key=_needs_others)
    blocks = "".join(f"<IfModule {word}>\nDefine yes_{word}\n</IfModule>\n" for word in WORDS)
    path = tmp_path / "apache.conf"
    lines = [f"LoadModule {name}_module {files[name]}" for name in loaded]
    path.write_text("\n".join((*lines, "ServerName x", "Listen 127.0.0.1:81", f"ErrorLog {tmp_path}/log", blocks)))
    command = [str(APACHE), "-f", str(path), "-t", "-DDUMP_RUN_CFG"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    there = {line.split("yes_")[1] for line in done.stdout.splitlines() if "yes_" in line}
    built_in = module_table.BUILT_IN - {"asgi"}  # Ownhost's own
    of_old = {"itk.c"}  # the name that mpm-itk had in Apache 2.2
    assert there == {word for name in {*loaded, *built_in} for word in words_of(name)} - of_old, done.stderr


def _needs_others(name: str) -> bool:
    """Modules that others need come first."""
    return name not in ("slotmem_shm", "session", "dav", "proxy", "cache", "ldap", "mpm_prefork", "http2", "watchdog")
