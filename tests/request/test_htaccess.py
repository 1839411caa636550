"""What .htaccess files do to requests: found in each folder, read again only if they changed, and never in the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from ownhost.config.directive import Override
from ownhost.config.htaccess import read
from ownhost.config.loading import Modules
from ownhost.config.model import Surroundings
from ownhost.config.overrides import Allowed
from ownhost.http.message import Response
from ownhost.request import htaccess, serve
from ownhost.request.site import Site
from serving import Asked, make_request, make_server, values

OLD = time.time() - 3_600


class Tree:
    """A site with folders, and a turn of the event loop for each request."""

    def __init__(self, folder: Path, said: str = "AllowOverride All") -> None:
        self.root = folder / "root"
        for name in ("index.html", "a.txt", "d/x.txt", "d/inner/x.txt", "e/x.txt"):
            self.put(name, f"{name}\n")
        text = f"<Directory {self.root}>\nRequire all granted\n{said}\n</Directory>"
        self.ends: list[Callable[[], None]] = []
        self.site = Site(make_server(folder, text), lambda _: True, self.ends.append)
        self.log: list[str] = []

    def put(self, name: str, text: str, *, old: bool = True) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if old:
            os.utime(path, (OLD, OLD))

    def look(self, target: str, *fields: str) -> Asked:
        asked = make_request(self.site, f"GET {target}", *fields)
        asked.request.time = time.time() + 60  # files that changed just now are not remembered
        asked.response = serve.respond(asked.request)
        while self.ends:
            self.ends.pop()()
        self.log = asked.log
        return asked

    def ask(self, target: str, *fields: str) -> Response:
        return self.look(target, *fields).response

    @property
    def remembered(self) -> set[str]:
        """The paths whose responses are remembered, in whatever coding."""
        answers = self.site.memory.answers
        return {key if isinstance(key, str) else key[0] for key in answers}

    def said(self, target: str) -> list[str]:
        """What X-Said fields have."""
        return values(self.ask(target), "X-Said")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read."""
    found: list[str] = []
    before = htaccess._content

    def content(path: bytes) -> tuple[os.stat_result, bytes]:
        found.append(os.fsdecode(path).partition("/root/")[2])
        return before(path)

    monkeypatch.setattr(htaccess, "_content", content)
    monkeypatch.setattr(htaccess, "is_settled", lambda _stat, _time: True)
    return found


def say(word: str) -> str:
    return f"Header append X-Said {word}\n"


def test_each_folder_adds_to_those_around_it(tree: Tree) -> None:
    tree.put(".htaccess", say("top"))
    tree.put("d/.htaccess", say("d"))
    tree.put("d/inner/.htaccess", say("inner"))
    assert tree.said("/a.txt") == ["top"]
    assert tree.said("/d/x.txt") == ["top, d"]
    assert tree.said("/d/inner/x.txt") == ["top, d, inner"]
    assert tree.said("/e/x.txt") == ["top"]
    assert tree.said("/d/missing") == []  # a page of the server's own has no such fields
    assert tree.ask("/d/missing").status == 404


def test_a_file_in_a_folder_without_permission_is_not_even_read(tmp_path: Path, readings: list[str]) -> None:
    tree = Tree(tmp_path, "AllowOverride None")
    tree.put(".htaccess", "Nonsense")
    assert tree.ask("/a.txt").status == 200
    assert readings == []
    assert tree.site.htaccess is None


def test_files_are_read_once_and_again_when_they_change(tree: Tree, readings: list[str]) -> None:
    tree.put(".htaccess", say("one"))
    for _ in range(3):
        assert tree.said("/a.txt") == ["one"]
        assert tree.said("/d/x.txt") == ["one"]
    assert readings == [".htaccess"]
    tree.put(".htaccess", say("two"))
    assert tree.said("/a.txt") == ["two"]
    assert tree.said("/d/x.txt") == ["two"]
    assert readings == [".htaccess", ".htaccess"]


def test_a_new_file_counts_for_what_is_remembered_and_a_removed_one_no_more(tree: Tree) -> None:
    for target in ("/d/inner/x.txt", "/"):
        assert tree.said(target) == tree.said(target) == []
    assert tree.remembered >= {"/d/inner/x.txt", "/"}
    tree.put("d/.htaccess", say("d"))
    assert tree.said("/d/inner/x.txt") == ["d"]
    assert tree.said("/") == []
    tree.put(".htaccess", say("top"))
    assert tree.said("/d/inner/x.txt") == ["top, d"]
    assert tree.said("/") == ["top"]
    (tree.root / "d/.htaccess").unlink()
    assert tree.said("/d/inner/x.txt") == ["top"]
    (tree.root / ".htaccess").unlink()
    assert tree.said("/d/inner/x.txt") == tree.said("/") == []


def test_a_file_that_changed_just_now_is_not_trusted_to_show_the_next_change(tree: Tree) -> None:
    path = tree.root / ".htaccess"
    tree.put(".htaccess", say("one"), old=False)
    assert tree.said("/a.txt") == ["one"]
    before = path.stat()
    path.write_text(say("two"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert tree.said("/a.txt") == ["two"]


def test_what_is_remembered_is_found_with_one_look_for_each_folder(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bytes] = []
    access = os.access

    def count(path: bytes, mode: int) -> bool:
        looks.append(path)
        return access(path, mode)

    tree.ask("/d/inner/x.txt")
    monkeypatch.setattr(os, "access", count)
    tree.ask("/d/inner/x.txt")
    assert [os.fsdecode(path).partition("/root/")[2] for path in looks] == [
        ".htaccess",
        "d/.htaccess",
        "d/inner/.htaccess",
    ]


def test_a_broken_file_is_an_error_there_and_below_and_its_line_is_in_the_log_alone(tree: Tree) -> None:
    tree.put("d/.htaccess", "\n\nNonsense secret\n")
    for target in ("/d/x.txt", "/d/inner/x.txt", "/d/"):
        answer = tree.ask(target)
        assert answer.status == 500
        assert isinstance(answer.body, bytes)
        assert b"Nonsense" not in answer.body
        assert b"htaccess" not in answer.body
        assert tree.log == [f"core:alert {tree.root}/d/.htaccess:3: unknown directive Nonsense"]
    assert tree.ask("/a.txt").status == 200
    assert tree.ask("/d").status == 500


@pytest.mark.parametrize(
    ("said", "text", "status", "log"),
    [
        ("AllowOverride FileInfo", "Options +Indexes", 500, "Options not allowed here"),
        ("AllowOverride FileInfo", "<Files x.txt>\nOptions +Indexes\n</Files>", 500, "not allowed in <Files> context"),
        ("AllowOverride FileInfo", "<RequireAll>\n</RequireAll>", 500, "<RequireAll not allowed here"),
        ("AllowOverride All", "Include x", 500, "Include not allowed here"),
        ("AllowOverride All", "Define X", 500, "Define not allowed here"),
        ("AllowOverride All", 'AssignUserID "#1" "#1"', 500, "AssignUserID not allowed here"),
        ("AllowOverride All", "<Directory />\n</Directory>", 500, "<Directory not allowed here"),
        ("AllowOverride All", "<Limit FOO>\n</Limit>", 500, "Could not register method 'FOO'"),
        ("AllowOverride Options", "Options +MultiViews", 500, "Option MultiViews not allowed here"),
        ("AllowOverride Options=Indexes", "Options -ExecCGI", 500, "Option ExecCGI not allowed here"),
        ("AllowOverride Options=Indexes", "Options None", 200, ""),
        ("AllowOverride All", "Options +MultiViews", 200, ""),
        ("AllowOverride Nonfatal=Override", "Options +Indexes", 200, "AH02295: Options in .htaccess forbidden"),
        ("AllowOverride Nonfatal=All", "Include x\n<Foo y>\nBar\n</Foo>", 200, "AH02296: Unknown directive <Foo"),
        ("AllowOverride Nonfatal=Unknown", "Options +Indexes", 500, "Options not allowed here"),
        ("AllowOverride Nonfatal=Unknown", "AuthUserFile /x", 500, "AuthUserFile"),
        ("AllowOverrideList Options", "Options +Indexes", 200, ""),
        ("AllowOverrideList Options", "DirectoryIndex a", 500, "DirectoryIndex not allowed here"),
        ("AllowOverrideList <IfModule", "<IfModule nope>\nx\n</IfModule>", 200, ""),
        ("AllowOverrideList Options", "<IfModule nope>\nx\n</IfModule>", 500, "<IfModule not allowed here"),
    ],
)
def test_what_may_stand_there(tmp_path: Path, said: str, text: str, status: int, log: str) -> None:
    tree = Tree(tmp_path, said)
    tree.put("d/.htaccess", text)
    assert tree.ask("/d/x.txt").status == status
    assert log in "\n".join(tree.log)
    assert bool(tree.log) == bool(log)


def test_only_what_is_defined_for_everybody_is_defined_there(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "AllowOverride All\nDefine OWN secret")
    assert tree.site.htaccess is not None
    tree.put(".htaccess", "Header set X-Said ${OWN}${HOME}\n<IfDefine OWN>\nNonsense\n</IfDefine>")
    assert tree.said("/a.txt") == ["${OWN}${HOME}"]


def test_links_are_followed_as_far_as_files_allow(tree: Tree) -> None:
    (tree.root / "e/link.txt").symlink_to(tree.root / "a.txt")
    assert tree.ask("/e/link.txt").status == 200
    assert "/e/link.txt" in tree.remembered
    tree.put("e/.htaccess", "Options -FollowSymLinks")
    assert tree.ask("/e/link.txt").status == 403
    assert tree.ask("/e/x.txt").status == 200
    assert "/e/x.txt" not in tree.remembered  # it may become a link
    (tree.root / "far").symlink_to(tree.root / "d")
    tree.put(".htaccess", "Options None")
    tree.put("d/.htaccess", "Nonsense")
    assert tree.ask("/far/x.txt").status == 403  # before anything behind the link is read


def test_a_fifo_a_folder_and_a_loop_are_refused_and_a_link_to_nothing_is_no_file(tree: Tree) -> None:
    path = tree.root / "d/.htaccess"
    os.mkfifo(path)
    assert tree.ask("/d/x.txt").status == 403
    assert "AH00529" in tree.log[0]
    path.unlink()
    path.mkdir()
    assert tree.ask("/d/x.txt").status == 403
    path.rmdir()
    path.symlink_to(".htaccess")
    assert tree.ask("/d/x.txt").status == 403
    path.unlink()
    path.symlink_to("/dev/zero")
    assert tree.ask("/d/x.txt").status == 403
    path.unlink()
    path.symlink_to("nothing")
    assert tree.ask("/d/x.txt").status == 200
    tree.put("shared", say("linked"))
    path.unlink()
    path.symlink_to("../shared")
    assert tree.said("/d/x.txt") == ["linked"]


@pytest.mark.parametrize(
    "text",
    [
        "#" * 1_048_577,
        "Header set X a\n" * 60_000,
        "<Files x>\n" * 200,
        "<Macro m $a>\nSetEnv A $a$a$a$a$a\n</Macro>\nUse m " + "x" * 1_000_000 + "\nUse m " + "x" * 20,
        "\n".join(f"Nonsense{n}" for n in range(40_000)),
        "\n".join(f"<Macro m{n} $a>\nUse m{n + 1} $a$a\n</Macro>" for n in range(60)) + "\nUse m0 x",
    ],
    ids=["long", "lines", "deep", "macro", "unknown", "macros"],
)
def test_a_file_of_any_size_is_refused_soon(tree: Tree, text: str) -> None:
    tree.put("d/.htaccess", text)
    assert tree.ask("/d/x.txt").status == 500
    assert len(tree.log) == 1
    assert len(tree.log[0]) < 2_000
    assert tree.ask("/a.txt").status == 200


def test_a_file_that_takes_too_long_is_refused() -> None:
    ticks = count()
    text = "SetEnv A b\n" * 100
    surroundings = Surroundings("/", Modules(loads=False))
    allowed = Allowed(Override.ALL)
    reading = read(text, "/d/.htaccess", "/d/", allowed, surroundings, lambda: float(next(ticks)))
    assert [str(problem) for problem in reading.problems] == [
        "/d/.htaccess:4: it took more than 3 seconds to read the lines before this one"
    ]
    assert read(text, "/d/.htaccess", "/d/", allowed, surroundings, lambda: 0.0).section is not None


def test_rules_in_a_folder_are_relative_to_it(tree: Tree) -> None:
    tree.put("d/.htaccess", "RewriteEngine On\nRewriteRule ^y\\.txt$ x.txt [L]\nRewriteRule ^z$ inner/x.txt [L]\n")
    assert tree.ask("/d/y.txt").body == b"d/x.txt\n"
    assert tree.ask("/d/z").body == b"d/inner/x.txt\n"
    assert tree.ask("/d/inner/y.txt").status == 404


def test_a_fallback_and_an_index_of_a_file(tree: Tree) -> None:
    tree.put("d/.htaccess", "DirectoryIndex x.txt\n")
    assert tree.ask("/d/").body == b"d/x.txt\n"
    assert tree.ask("/d/").body == b"d/x.txt\n"
    tree.put("d/.htaccess", "DirectoryIndex nothing\n")
    assert tree.ask("/d/").status == 403
    tree.put("d/.htaccess", "FallbackResource /a.txt\n")
    assert tree.ask("/d/nothing").body == b"a.txt\n"


def test_the_first_of_several_names_counts(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.site = Site(
        make_server(tmp_path, f"AccessFileName .one .two\n<Directory {tree.root}>\nAllowOverride All\n</Directory>"),
        lambda _: True,
        tree.ends.append,
    )
    tree.put(".two", say("two"))
    assert tree.said("/a.txt") == tree.said("/a.txt") == ["two"]
    tree.put(".one", say("one"))
    assert tree.said("/a.txt") == ["one"]
    (tree.root / ".one").unlink()
    assert tree.said("/a.txt") == ["two"]


def test_a_file_that_looks_at_the_client_is_not_remembered(tree: Tree) -> None:
    tree.put(".htaccess", "SetEnvIf X-Field yes SEEN\n<If \"%{HTTP:X-Field} == 'yes'\">\nHeader set X-Said if\n</If>")
    assert values(tree.ask("/a.txt", "X-Field: yes"), "X-Said") == ["if"]
    assert values(tree.ask("/a.txt"), "X-Said") == []
    assert values(tree.ask("/a.txt", "X-Field: yes"), "X-Said") == ["if"]


def test_what_an_index_elsewhere_looks_at_counts_for_the_folder(tmp_path: Path) -> None:
    """The folder itself looks for no file, and its response is remembered: it holds as long as the index's."""
    inner = f"<Directory {tmp_path}/root/d>\nAllowOverride All"
    tree = Tree(tmp_path, f"AllowOverride None\nDirectoryIndex /d/x.txt\n</Directory>\n{inner}")
    assert tree.said("/") == tree.said("/") == []
    assert "/" in tree.remembered
    tree.put("d/.htaccess", "Header set X-Said later\n")
    assert tree.said("/") == ["later"]
