"""A template's source as tokens, with Go's trimming of blanks and Go's words for what is wrong.

The rules are those of Go's text/template/parse. An error is a token too, the last one: the parser reports it when it
gets there, as Go's does.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from apps.inference.prompt.gotemplate.quoting import quote

TEXT, LEFT, RIGHT, SPACE, ERROR, EOF = "text", "left", "right", "space", "error", "EOF"
FIELD, VARIABLE, IDENTIFIER, BOOL, NUMBER, CHAR_CONSTANT = "field", "variable", "identifier", "bool", "number", "rune"
STRING, RAW_STRING, PIPE, ASSIGN, DECLARE = "string", "raw string", "pipe", "assign", "declare"
LEFT_PAREN, RIGHT_PAREN, CHAR = "(", ")", "char"
KEYWORDS = frozenset(
    [".", "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"]
)

_BLANKS = " \t\r\n"
_SPACES = re.compile(r"[ \t\r\n]+")
_WORD = re.compile(r"\w*")
_QUOTED = re.compile(r'"(?:\\[^\n]|[^"\\\n])*"')
_CHAR = re.compile(r"'(?:\\[^\n]|[^'\\\n])*'")
_HEX, _OCTAL, _BINARY, _DECIMAL = "[0-9a-fA-F_]*", "[0-7_]*", "[01_]*", "[0-9_]*"
_NUMBER = re.compile(
    rf"[+-]?(?:0[xX]{_HEX}(?:\.{_HEX})?(?:[pP][+-]?[0-9_]*)?|0[oO]{_OCTAL}|0[bB]{_BINARY}"
    rf"|{_DECIMAL}(?:\.{_DECIMAL})?(?:[eE][+-]?[0-9_]*)?)i?"
)
_SINGLE = {"=": ASSIGN, "|": PIPE, "(": LEFT_PAREN, ")": RIGHT_PAREN}


class Token(NamedTuple):
    kind: str
    value: str
    position: int
    line: int

    def __str__(self) -> str:
        if self.kind in (EOF, ERROR):
            return self.value if self.kind == ERROR else "EOF"
        if self.kind in KEYWORDS:
            return f"<{self.value}>"
        return quote(self.value[:10]) + "..." if len(self.value) > 10 else quote(self.value)


class _Bad(Exception):
    """Carries the text of an error token."""


def tokens(source: str) -> Iterator[Token]:
    """Read as they are asked for: a source that is refused early is not read to its end."""
    return _Lexer(source).run()


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._place = 0  # where the next token begins
        self._line, self._counted = 1, 0  # the line at `_counted`
        self._parens = 0

    def run(self) -> Iterator[Token]:
        try:
            while self._place < len(self._source):
                yield from self._text()
                yield from self._action()
        except _Bad as error:
            yield self._token(ERROR, str(error))
            return
        yield self._token(EOF, "")

    def _token(self, kind: str, value: str) -> Token:
        self._line += self._source.count("\n", self._counted, self._place)
        self._counted = self._place
        return Token(kind, value, self._place, self._line)

    def _taken(self, kind: str, end: int) -> Token:
        token = self._token(kind, self._source[self._place : end])
        self._place = end
        return token

    def _text(self) -> Iterator[Token]:
        end = self._source.find("{{", self._place)
        end = len(self._source) if end < 0 else end
        text = self._source[self._place : end]
        if self._trims(end + 2):
            text = text.rstrip(_BLANKS)
        if text:
            yield self._token(TEXT, text)
        self._place = end

    def _trims(self, place: int) -> bool:
        return self._source.startswith("-", place) and self._source[place + 1 : place + 2] in tuple(_BLANKS)

    def _action(self) -> Iterator[Token]:
        if self._place >= len(self._source):
            return
        inside = self._place + 4 if self._trims(self._place + 2) else self._place + 2
        if self._source.startswith("/*", inside):
            return self._comment(inside)
        yield self._token(LEFT, "{{")
        self._place, self._parens = inside, 0
        while True:
            token = self._close() or self._inside()
            yield token
            if token.kind == RIGHT:
                return

    def _comment(self, start: int) -> None:
        self._place = start
        end = self._source.find("*/", start + 2)
        if end < 0:
            raise _Bad("unclosed comment")
        if not self._closing(end + 2):
            raise _Bad("comment ends before closing delimiter")
        self._leave(end + 2)

    def _closing(self, place: int) -> bool:
        """A closing delimiter stands here, perhaps with a trim marker."""
        return self._source.startswith("}}", place) or (
            self._source[place : place + 1] in tuple(_BLANKS) and self._source.startswith("-}}", place + 1)
        )

    def _leave(self, place: int) -> None:
        """Behind a closing delimiter, and the blanks it trims."""
        if self._source.startswith("}}", place):
            self._place = place + 2
            return
        spaces = _SPACES.match(self._source, place + 4)
        self._place = spaces.end() if spaces else place + 4

    def _close(self) -> Token | None:
        if not self._closing(self._place):
            return None
        if self._parens:
            raise _Bad("unclosed left paren")
        token = self._token(RIGHT, "}}")
        self._leave(self._place)
        return token

    def _inside(self) -> Token:
        source, place = self._source, self._place
        character = source[place : place + 1]
        if not character:
            raise _Bad("unclosed action")
        if character in _BLANKS:
            return self._space()
        if character in _SINGLE:
            return self._single(character)
        if character in "\"'`":
            return self._literal(character)
        if character == "$" or (character == "." and not source[place + 1 : place + 2].isdigit()):
            return self._named(VARIABLE if character == "$" else FIELD)
        if character in ".+-0123456789":
            return self._number()
        if character == "_" or character.isalpha() or character.isdecimal():
            return self._word()
        return self._mark(character)

    def _space(self) -> Token:
        found = _SPACES.match(self._source, self._place)
        end = found.end() if found else self._place
        return self._taken(SPACE, end - 1 if self._source.startswith("-}}", end) else end)

    def _single(self, character: str) -> Token:
        self._parens += {"(": 1, ")": -1}.get(character, 0)
        if self._parens < 0:
            raise _Bad("unexpected right paren")
        return self._taken(_SINGLE[character], self._place + 1)

    def _mark(self, character: str) -> Token:
        if character == ":":
            if not self._source.startswith(":=", self._place):
                raise _Bad("expected :=")
            return self._taken(DECLARE, self._place + 2)
        if " " <= character <= "~":
            return self._taken(CHAR, self._place + 1)
        raise _Bad(f"unrecognized character in action: {_named_character(character)}")

    def _literal(self, character: str) -> Token:
        if character == "`":
            end = self._source.find("`", self._place + 1) + 1
            if not end:
                raise _Bad("unterminated raw quoted string")
            return self._taken(RAW_STRING, end)
        found = (_QUOTED if character == '"' else _CHAR).match(self._source, self._place)
        if found is None:
            raise _Bad("unterminated quoted string" if character == '"' else "unterminated character constant")
        return self._taken(STRING if character == '"' else CHAR_CONSTANT, found.end())

    def _number(self) -> Token:
        found = _NUMBER.match(self._source, self._place)
        end = found.end() if found else self._place
        following = self._source[end : end + 1]
        if following in ("+", "-") or following == "_" or following.isalnum():
            return self._complex(end)
        return self._taken(NUMBER, end)

    def _complex(self, end: int) -> Token:
        """A real part is read; an imaginary one must follow without a blank."""
        found = _NUMBER.match(self._source, end)
        last = found.end() if found else end
        after = self._source[last : last + 1]
        if self._source[end] not in "+-" or self._source[last - 1] != "i" or after == "_" or after.isalnum():
            raise _Bad(f"bad number syntax: {quote(self._source[self._place : max(last, end + 1)])}")
        return self._taken(NUMBER, last)

    def _named(self, kind: str) -> Token:
        end = self._word_end(self._place + 1)
        if kind == FIELD and end == self._place + 1:
            return self._taken(".", end)
        return self._taken(kind, end)

    def _word(self) -> Token:
        end = self._word_end(self._place)
        word = self._source[self._place : end]
        kind = word if word in KEYWORDS else BOOL if word in ("true", "false") else IDENTIFIER
        return self._taken(kind, end)

    def _word_end(self, place: int) -> int:
        """Where a word ends; what follows must be able to end one."""
        found = _WORD.match(self._source, place)
        end = found.end() if found else place
        following = self._source[end : end + 1]
        if following and following not in _BLANKS + ".,|:()}":
            raise _Bad(f"bad character {_named_character(following)}")
        return end


def _named_character(character: str) -> str:
    """As Go's %#U."""
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
