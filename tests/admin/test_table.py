"""Tables as text."""

import re

import pytest

from ownhost.admin.table import plain, print_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = plain(("NAME", "UID"), [("alice.localhost", "50001"), ("b", "7")])
    assert lines == ["NAME             UID", "alice.localhost  50001", "b                7"]


def test_an_empty_cell_is_a_dash_so_that_columns_can_be_counted() -> None:
    assert plain(("A", "B", "C"), [("", "x", "")])[1].split() == ["-", "x", "-"]


def test_without_rows_the_headers_stand_alone() -> None:
    assert plain(("NAME", "UID"), []) == ["NAME  UID"]


def test_output_that_is_no_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME",), [("[bold]alice",)])
    assert capsys.readouterr().out == "NAME\n[bold]alice\n"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has 80 columns, whatever it says


def test_a_terminal_gets_every_cell_literally(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    print_table(("NAME", "UID"), [("[bold]alice", "50001")])
    out = capsys.readouterr().out
    assert "[bold]alice" in out
    assert "50001" in out


LONG = "/etc/apache2/sites-enabled/a-rather-long-name.example.conf:12"


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("sentences", [(), ("WHAT",)])
def test_no_cell_is_folded_in_its_middle(
    columns: int, sentences: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "a sentence of several words that may go on in a further line of its own cell"
    print_table(("NAME", "DECLARED AT", "WHAT"), [("alice.example", LONG, text), ("b", LONG, "x")], sentences)
    out = capsys.readouterr().out
    assert out.count("alice.example") == 1
    assert out.count(LONG) == 2


def test_sentences_go_on_in_further_lines_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    words = "one two three four five six seven eight nine ten eleven twelve"
    print_table(("NAME", "WHAT"), [("alice.example", words)], ("WHAT",))
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert words not in out
    assert max(map(len, out.splitlines())) <= 60
    assert out.replace("alice.example", "").split()[-12:] == words.split()
