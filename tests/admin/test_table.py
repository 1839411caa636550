"""Tables as text."""

from ownhost.admin.table import plain, print_table


def test_columns_are_as_wide_as_their_widest_cell():
    lines = plain(("NAME", "UID"), [("alice.localhost", "50001"), ("b", "7")])
    assert lines == ["NAME             UID", "alice.localhost  50001", "b                7"]


def test_an_empty_cell_is_a_dash_so_that_columns_can_be_counted():
    assert plain(("A", "B", "C"), [("", "x", "")])[1].split() == ["-", "x", "-"]


def test_without_rows_the_headers_stand_alone():
    assert plain(("NAME", "UID"), []) == ["NAME  UID"]


def test_output_that_is_no_terminal_is_plain(capsys):
    print_table(("NAME",), [("[bold]alice",)])
    assert capsys.readouterr().out == "NAME\n[bold]alice\n"


def test_a_terminal_gets_every_cell_literally(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_table(("NAME", "UID"), [("[bold]alice", "50001")])
    out = capsys.readouterr().out
    assert "[bold]alice" in out
    assert "50001" in out
