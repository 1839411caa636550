"""Text to expressions: the grammar of Apache 2.4's ap_expr (expr.html), as a Lark grammar.

Names are checked here, too: an unknown variable, function or operator is an error of the
configuration, not of a request. Messages name the column.

Invariant: any text is an expression or an `ArgumentError`.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from ownhost.config import expression as e
from ownhost.config.arguments import known_word
from ownhost.config.directive import ArgumentError, Source
from ownhost.config.expression_words import COMPARISONS, FUNCTIONS, PATTERNS, TESTS
from ownhost.config.known import suggestion
from ownhost.config.regex import Pattern
from ownhost.config.ssl_names import PLAIN, canonical, is_variable
from ownhost.config.words import Word, Words

T = TypeVar("T")
LONGEST = 8_192  # characters
DEEPEST = 200  # parentheses and exclamation marks
MOST_LEVELS = 50  # of functions and conditions inside of each other

VARIABLES = frozenset(
    """
    API_VERSION AUTH_TYPE CONN_LOG_ID CONN_REMOTE_ADDR CONTENT_TYPE CONTEXT_DOCUMENT_ROOT CONTEXT_PREFIX DOCUMENT_ROOT
    DOCUMENT_URI HANDLER HTTP2 HTTPS HTTP_ACCEPT HTTP_COOKIE HTTP_FORWARDED HTTP_HOST HTTP_PROXY_CONNECTION HTTP_REFERER
    HTTP_USER_AGENT IPV6 IS_SUBREQ LAST_MODIFIED PATH_INFO QUERY_STRING REMOTE_ADDR REMOTE_HOST REMOTE_IDENT
    REMOTE_PORT REMOTE_USER REQUEST_FILENAME REQUEST_LOG_ID REQUEST_METHOD REQUEST_SCHEME REQUEST_STATUS REQUEST_URI
    SCRIPT_FILENAME SCRIPT_GROUP SCRIPT_USER SERVER_ADDR SERVER_ADMIN SERVER_NAME SERVER_PORT SERVER_PROTOCOL
    SERVER_PROTOCOL_VERSION SERVER_PROTOCOL_VERSION_MAJOR SERVER_PROTOCOL_VERSION_MINOR SERVER_SOFTWARE THE_REQUEST
    TIME TIME_DAY TIME_HOUR TIME_MIN TIME_MON TIME_SEC TIME_WDAY TIME_YEAR
    """.split()  # noqa: SIM905 - a table
)

_OID = re.compile(r"[0-2](?:\.[0-9]{1,39}){1,40}")
_OIDS = {"nsComment": "2.16.840.1.113730.1.13"}  # those of texts for which OpenSSL has a name
# Those that X.509 itself defines, such as certificate policies: OpenSSL has a special way to print
# each.
_STRUCTURED = ("2.5.29.", "1.3.6.1.5.5.7.")

# /.../ and m#...#: nothing escapes the delimiter; the flag i makes case not matter.
_REGEX = "|".join(
    f"{'m?' if mark == '/' else 'm'}{re.escape(mark)}[^{re.escape(mark)}\\r\\n]*{re.escape(mark)}i?"
    for mark in "/#$%^|?!'\",;:.-"
).replace("/", "\\/")

# cond, comp, word, words as in expr.html. In quotes, white space and all else is text; the
# contextual lexer knows where it is. Precedence: ! before && before ||.
_GRAMMAR = r"""
    ?condition: disjunction
    ?disjunction: conjunction (_OR conjunction)*      -> any_of
    ?conjunction: negation (_AND negation)*           -> all_of
    ?negation: _NOT negation                          -> negated
        | comparison
    ?comparison: TRUE                                 -> true
        | FALSE                                       -> false
        | "(" condition ")"
        | UNARY word                                  -> unary
        | word COMPARE word                           -> compare
        | word BINARY word                            -> binary
        | word MATCH REGEX                            -> matches
        | word _IN "{" words "}"                      -> member
        | word _IN NAME "(" word ")"                  -> member_of_function
    words: word ("," word)*

    ?word: atom ("." atom)*                           -> joined
    ?atom: DIGITS                                     -> text
        | inserted{WS}
        | BACKREFERENCE                               -> back_reference
        | NAME "(" word ")"                           -> call
        | "'" _text{SINGLE} "'"                       -> joined_text
        | "\"" _text{DOUBLE} "\""                     -> joined_text
    string: _text{PLAIN}                              -> joined_text

    // What follows an insertion depends on where it stands, so each place has a rule of its own.
    _text{part}: (part | inserted{part} | BACKREFERENCE_)*
    inserted{place}: _BEGIN NAME "}"                  -> variable
        | _BEGIN NAME ":" _text{ARGUMENT} "}"         -> variable_call

    TRUE.2: /true\b/
    FALSE.2: /false\b/
    _OR.2: /\|\||or\b/
    _AND.2: /&&|and\b/
    _NOT.2: /!(?!=|~)|not\b/
    _IN.3: /-?in\b/
    MATCH.3: /=~|!~/
    COMPARE.2: /==|!=|<=|>=|=(?!~)|<|>|-?(?:eq|ne|lt|le|gt|ge)\b/
    UNARY: /-[A-Za-z](?![A-Za-z0-9_])/
    BINARY: /-[A-Za-z_][A-Za-z0-9_]+/
    DIGITS: /-?[0-9]+/
    NAME: /[A-Za-z][A-Za-z0-9_]*/
    REGEX.4: /REGEXES/
    BACKREFERENCE: /\$[0-9]/
    BACKREFERENCE_.5: /\$[0-9]/
    _BEGIN.5: "%{"
    SINGLE.4: /(?:[^'\\%$]|\\.|%(?!\{)|\$(?![0-9]))+/s
    DOUBLE.4: /(?:[^"\\%$]|\\.|%(?!\{)|\$(?![0-9]))+/s
    ARGUMENT.4: /(?:[^}\\%$]|\\.|%(?!\{)|\$(?![0-9]))+/s
    PLAIN.4: /(?:[^\\%$]|\\.|\\$|%(?!\{)|\$(?![0-9]))+/s
    %import common.WS
    %ignore WS
""".replace("REGEXES", _REGEX)


@functools.cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["condition", "string"], propagate_positions=True)


def parse(text: str, start: str, restricted: bool, source: Source | None = None, *, like_ssl: bool = False) -> Any:
    """Parse a "condition" or a "string", or with `like_ssl` the argument of SSLRequire. Raises ArgumentError."""
    if len(text) > LONGEST:
        raise ArgumentError(f"an expression of {len(text)} characters is longer than any may be ({LONGEST})")
    if start == "condition" and text.count("(") + text.count("!") > DEEPEST:
        raise ArgumentError(f"an expression with more than {DEEPEST} parentheses and exclamation marks is not read")
    try:
        root = _Builder(text, restricted, source, like_ssl).transform(_parser().parse(text, start=start))
    except VisitError as error:
        if isinstance(error.orig_exc, ArgumentError):
            raise error.orig_exc from None
        raise
    except UnexpectedToken as error:
        position = len(text) if error.token.type == "$END" else (error.token.start_pos or 0)
        raise _unexpected(text, position, error.accepts or error.expected) from None
    except UnexpectedCharacters as error:
        raise _unexpected(text, error.pos_in_stream or 0, error.allowed or ()) from None
    except UnexpectedEOF:
        raise _unexpected(text, len(text), ()) from None
    except (LarkError, RecursionError):
        raise ArgumentError(f"the expression {text!r} cannot be read") from None
    _check_levels(root)
    return root


def _check_levels(root: e.Node | e.Word) -> None:
    """Refuse nesting so deep that evaluating it could exhaust the stack."""
    level = [root]
    for _ in range(MOST_LEVELS):
        level = [child for node in level for child in e.children(node)]
        if not level:
            return
    raise ArgumentError(f"an expression with more than {MOST_LEVELS} levels is not read")


# The words for a terminal in error messages.
_SHOWN = {
    "$END": "its end",
    "TRUE": "true",
    "FALSE": "false",
    "_OR": "||",
    "_AND": "&&",
    "_NOT": "!",
    "_IN": "in",
    "MATCH": "=~",
    "COMPARE": "== or another comparison",
    "UNARY": "an operator such as -n",
    "BINARY": "an operator such as -strmatch",
    "DIGITS": "a number",
    "NAME": "a name",
    "REGEX": "a regular expression such as /.../ or m#...#",
    "BACKREFERENCE": "$0 to $9",
    "_BEGIN": "%{",
    "LPAR": "(",
    "RPAR": ")",
    "LBRACE": "{",
    "RBRACE": "}",
    "COMMA": ",",
    "DOT": ".",
    "COLON": ":",
    "QUOTE": "'",
    "DBLQUOTE": '"',
}
_WORD = {"DIGITS", "_BEGIN", "BACKREFERENCE", "NAME", "QUOTE", "DBLQUOTE"}


def _unexpected(text: str, position: int, expected: Iterable[str]) -> ArgumentError:
    """The sentence for an invalid expression: the column, the text there, what was expected."""
    names = set(expected)
    if {"TRUE", "UNARY"} <= names:
        names = set()
    shown = ["a word in quotes, %{...} or a function"] if names >= _WORD else []
    shown += [_SHOWN[name] for name in _SHOWN if name in names and (not shown or name not in _WORD)]
    here = f"{text[position : position + 20]!r} stands there" if position < len(text) else "it ends there"
    wanted = f"expected {' or '.join(shown) or 'a condition'}; "
    return _wrong(text, position, f"{wanted}{here}")


def _wrong(text: str, position: int, what: str) -> ArgumentError:
    return ArgumentError(f"in the expression {text!r}, column {position + 1}: {what}")


_ESCAPE = re.compile(r"\\([0-9]+|.)", re.DOTALL)
_OCTAL = re.compile(r"[0-3]?[0-7]{1,2}")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _unescape(text: str) -> str:
    """A text without its backslashes. Octal numbers stand for bytes, several of which can be one character."""

    def put(match: re.Match[str]) -> str:
        code = match[1]
        if _OCTAL.fullmatch(code):
            return bytes((int(code, 8),)).decode("utf-8", "surrogateescape")
        if code.isdigit():
            raise ValueError(f"{match[0]} is no character: expected an octal number up to 377 behind the backslash")
        return _LETTERS.get(code, code)

    if "\\" not in text:
        return text
    return _ESCAPE.sub(put, text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


class _Builder(Transformer[Token, Any]):
    """Lark's tree to nodes."""

    def __init__(self, text: str, restricted: bool, source: Source | None, like_ssl: bool) -> None:
        super().__init__()
        self.like_ssl = like_ssl
        self.written = text
        self.restricted = restricted
        self.source = source

    def wrong(self, token: Token, what: str) -> ArgumentError:
        return _wrong(self.written, token.start_pos or 0, what)

    def word(self, words: Words[T], token: Token, name: str) -> Word[T]:
        """The entry of a word in its table."""
        try:
            return known_word(words, name)
        except ArgumentError as error:
            raise self.wrong(token, str(error)) from None

    def check_files(self, token: Token, *, of_files: bool) -> None:
        """Refuse functions that look at files, if they are not allowed."""
        if self.restricted and of_files:
            raise self.wrong(token, f"{token} looks at files, which is not allowed here")

    # Conditions

    def any_of(self, operands: list[e.Node]) -> e.Node:
        return operands[0] if len(operands) == 1 else e.AnyOf(tuple(operands))

    def all_of(self, operands: list[e.Node]) -> e.Node:
        return operands[0] if len(operands) == 1 else e.All(tuple(operands))

    def negated(self, operands: list[e.Node]) -> e.Node:
        (operand,) = operands
        return operand.operand if isinstance(operand, e.Not) else e.Not(operand)

    def true(self, _: list[Token]) -> e.Node:
        return e.Constant(True)

    def false(self, _: list[Token]) -> e.Node:
        return e.Constant(False)

    def compare(self, found: list[Any]) -> e.Node:
        left, operator, right = found
        comparison = COMPARISONS.known[operator].means
        if self.like_ssl:
            return e.Compare(comparison.name, left, right, by_length=True)
        return e.Compare(comparison.name, left, right, comparison.numbers)

    def matches(self, found: list[Any]) -> e.Node:
        word, operator, token = found
        written = str(token).removeprefix("m")
        ignore_case = written.endswith("i") and written[-1] != written[0]
        pattern = written[1:-2] if ignore_case else written[1:-1]
        try:
            regex = Pattern(pattern, ignore_case, self.source)
        except ArgumentError as error:
            raise self.wrong(token, str(error)) from None
        return e.Matches(word, regex, operator == "!~")

    def words(self, found: list[e.Word]) -> tuple[e.Word, ...]:
        return tuple(found)

    def member(self, found: list[Any]) -> e.Node:
        return e.Member(found[0], found[1])

    def member_of_function(self, found: list[Any]) -> e.Node:
        word, name, argument = found
        if name.lower() != "peerextlist":
            raise self.wrong(name, f"there is no function {name} that gives a list; expected PeerExtList")
        if not isinstance(argument, e.Text) or (argument.value not in _OIDS and not _OID.fullmatch(argument.value)):
            raise self.wrong(name, "expected the number of an extension in PeerExtList, such as '1.2.3.4'")
        oid = _OIDS.get(argument.value, argument.value)
        if oid.startswith(_STRUCTURED):
            raise self.wrong(name, f"PeerExtList reads extensions that are texts, which {oid} is not")
        return e.HasExtension(word, oid)

    def unary(self, found: list[Any]) -> e.Node:
        operator, word = found
        test = self.word(TESTS, operator, str(operator)[1:])
        self.check_files(operator, of_files=test.means.of_files)
        if test.means.of_network:
            return e.InNetwork(e.Variable("REMOTE_ADDR"), self.network(operator, word))
        return e.Unary(test.name, word)

    def binary(self, found: list[Any]) -> e.Node:
        word, operator, argument = found
        pattern = self.word(PATTERNS, operator, str(operator)[1:])
        if pattern.means.of_network:
            return e.InNetwork(word, self.network(operator, argument))
        return e.Wildcard(pattern.name, word, argument)

    def network(self, operator: Token, word: e.Word) -> str:
        """The network after -R and -ipmatch: an address, with a prefix length or a mask, or its first bytes."""
        if not isinstance(word, e.Text):
            raise self.wrong(operator, f"expected a network after {operator}, not something that is computed")
        try:
            return str(ipaddress.ip_network(_whole_network(word.value), strict=False))
        except ValueError:
            raise self.wrong(operator, f"expected a network such as 10.0.0.0/8, not {word.value!r}") from None

    # Words

    def joined(self, found: list[e.Word]) -> e.Word:
        return found[0] if len(found) == 1 else e.Concatenation(tuple(found))

    def joined_text(self, found: list[Any]) -> e.Word:
        parts = [self.part(one) for one in found]
        return parts[0] if len(parts) == 1 else e.Concatenation(tuple(parts)) if parts else e.Text("")

    def part(self, one: Any) -> e.Word:
        """A piece of a quoted text."""
        if not isinstance(one, Token):
            word: e.Word = one
            return word
        if one.type == "BACKREFERENCE_":
            return e.BackReference(int(one[1]))
        try:
            return e.Text(_unescape(str(one)))
        except ValueError as error:
            raise self.wrong(one, str(error)) from None

    def text(self, found: list[Token]) -> e.Word:
        return e.Text(str(found[0]))

    def back_reference(self, found: list[Token]) -> e.Word:
        return e.BackReference(int(found[0][1]))

    def variable(self, found: list[Token]) -> e.Word:
        (name,) = found
        if is_variable(name):
            return e.Variable(canonical(name))
        if name.upper() not in VARIABLES:
            raise self.wrong(name, f"there is no variable {name}{suggestion(str(name), VARIABLES | PLAIN)}")
        return e.Variable(name.upper())

    def variable_call(self, found: list[Any]) -> e.Word:
        return self.function(found[0], self.joined_text(found[1:]))

    def call(self, found: list[Any]) -> e.Word:
        return self.function(found[0], found[1])

    def function(self, name: Token, argument: e.Word) -> e.Word:
        function = self.word(FUNCTIONS, name, str(name))
        self.check_files(name, of_files=function.means.of_files)
        if function.means.of_server and isinstance(argument, e.Text):
            return e.Call(function.name, argument, os.environ.get(argument.value, ""))
        return e.Call(function.name, argument)


def _whole_network(text: str) -> str:
    """10.1 as 10.1.0.0/16, as Apache reads the first bytes of an address."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+){0,2}\.?", text):
        given = text.rstrip(".").split(".")
        return ".".join(given + ["0"] * (4 - len(given))) + f"/{8 * len(given)}"
    return text
