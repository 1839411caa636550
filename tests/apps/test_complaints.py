"""What programs complain of, cut into messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps.complaints import LONGEST, Lines, RecordComplaints
from ownhost.apps.php_errors import Echoes, PHPComplaints, level_of, of_line
from ownhost.request.request import Level

PIECES = st.lists(st.binary(max_size=40), max_size=8)


@given(PIECES)
def test_lines_do_not_depend_on_how_the_bytes_were_cut(pieces: list[bytes]) -> None:
    lines, whole = Lines(), Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + lines.end()
    assert found == whole.feed(b"".join(pieces)) + whole.end()


def test_lines() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntwo\r\n\nth") == ["one", "two", ""]
    assert lines.feed(b"ree\n\xff") == ["three"]
    assert lines.end() == ["\udcff"]
    assert lines.end() == []


def test_a_line_without_an_end_is_cut_and_never_kept_whole() -> None:
    lines = Lines()
    found = [line for _ in range(100) for line in lines.feed(b"y" * 1_000)] + lines.end()
    assert {len(line) for line in found[:-1]} == {LONGEST}
    assert "".join(found) == "y" * 100_000


class Logged:
    """A request that keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[Level, str, str]] = []

    def log(self, level: Level, module: str, message: str) -> None:
        self.lines.append((level, module, message))


def php(*records: bytes | None) -> tuple[list[tuple[Level, str, str]], list[str]]:
    request, repeated = Logged(), list[str]()
    complaints = PHPComplaints(request, repeated.append)  # type: ignore[arg-type]
    for record in records:
        if record is None:
            complaints.pause()
        else:
            complaints.take(record)
    complaints.end()
    return request.lines, repeated


def test_messages_of_php_as_php_fpm_sends_them() -> None:
    logged, repeated = php(
        b"PHP message: a\nb; PHP mess", b"age: PHP Warning:  c in /x on line 1", None, b"; PHP message: "
    )
    assert logged == [
        (Level.NOTICE, "php", "a\nb"),
        (Level.WARN, "php", "PHP Warning:  c in /x on line 1"),
        (Level.NOTICE, "php", ""),
    ]
    assert repeated == ["PHP message: a\nb\nPHP message: PHP Warning:  c in /x on line 1", "PHP message: "]


def test_messages_of_an_older_php_end_in_newlines() -> None:
    assert [line[2] for line in php(b"PHP message: a\nb\nPHP message: c\n")[0]] == ["a\nb", "c"]


def test_words_of_php_fpm_itself_are_logged_as_they_are() -> None:
    assert php(b"Primary script unknown") == (
        [(Level.NOTICE, "php", "Primary script unknown")],
        ["Primary script unknown"],
    )


def test_levels_are_mod_phps() -> None:
    assert [
        level_of(f"PHP {kind}:  x") for kind in ("Fatal error", "Parse error", "Warning", "Notice", "Deprecated")
    ] == [
        Level.ERROR,
        Level.ERROR,
        Level.WARN,
        Level.NOTICE,
        Level.INFO,
    ]
    assert level_of("anything") == Level.NOTICE


def test_lines_of_standard_error() -> None:
    assert of_line("[29-Nov-2026 01:11:22] WARNING: [pool php] child 7 exited on signal 9") == (
        Level.WARN,
        "[pool php] child 7 exited on signal 9",
    )
    assert of_line("PHP message: PHP Deprecated:  x") == (Level.INFO, "PHP Deprecated:  x")
    assert of_line("by hand") == (Level.ERROR, "by hand")


def heard(*events: str) -> list[str]:
    """What is said of some lines, and of messages in answers ("<")."""
    said: list[str] = []
    echoes = Echoes(said.append)
    for event in events:
        if event.startswith("<"):
            echoes.hear(event[1:])
        elif event == "settle":
            echoes.settle()
        else:
            echoes.take(event)
    return said


def test_what_an_answer_had_is_not_said_again_whichever_comes_first() -> None:
    assert heard("PHP message: a", "b", "by hand", "<PHP message: a\nb") == ["by hand"]
    assert heard("<PHP message: a\nb", "PHP message: a", "b", "by hand") == ["by hand"]
    assert heard("PHP message: a", "<PHP message: a\nb", "b", "by hand", "b") == ["by hand", "b"]


def test_a_line_without_its_end_in_front_of_a_message() -> None:
    assert heard("by handPHP message: a", "<PHP message: a") == ["by hand"]


def test_the_same_message_of_two_requests() -> None:
    assert heard("PHP message: a", "PHP message: a", "<PHP message: a", "x", "<PHP message: a") == ["x"]


def test_what_no_answer_had_is_said_in_the_end() -> None:
    assert heard("PHP message: after the answer", "more") == []
    assert heard("PHP message: after the answer", "more", "settle") == ["PHP message: after the answer", "more"]
    assert heard("<PHP message: never repeated", "settle", "PHP message: never repeated", "settle") == [
        "PHP message: never repeated"
    ]


def test_a_flood_is_not_held_back() -> None:
    said = heard("PHP message: a", *(f"line {number}" for number in range(5_000)))
    assert len(said) > 3_000


def test_records_of_another_fastcgi_server_in_mod_proxy_fcgis_words() -> None:
    request = Logged()
    complaints = RecordComplaints(request)  # type: ignore[arg-type]
    complaints.take(b"PHP message: a\nPHP message: b\n")
    complaints.pause()
    complaints.take(b"Primary script unknown\n")
    complaints.end()
    assert request.lines == [
        (Level.ERROR, "proxy_fcgi", "AH01071: Got error 'PHP message: a\nPHP message: b\n'"),
        (Level.ERROR, "proxy_fcgi", "AH01071: Got error 'Primary script unknown\n'"),
    ]
