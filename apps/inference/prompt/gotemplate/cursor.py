"""Where a parser stands in its tokens, and how it says what is wrong there."""

from collections import Counter
from collections.abc import Iterator

from apps.inference.prompt.gotemplate import lexer
from apps.inference.prompt.gotemplate.lexer import Token
from apps.inference.prompt.gotemplate.limits import TOO_DEEP, TemplateError
from apps.inference.prompt.gotemplate.quoting import unquote


class Scope:
    """The variables known at a place."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._counts = Counter(["$"])

    def __contains__(self, name: str) -> bool:
        return self._counts[name] > 0

    def declare(self, name: str) -> None:
        self._names.append(name)
        self._counts[name] += 1

    def mark(self) -> int:
        return len(self._names)

    def leave(self, mark: int) -> None:
        self._counts.subtract(self._names[mark:])
        del self._names[mark:]


class Cursor:
    def __init__(self, tokens: Iterator[Token], *, depth: int) -> None:
        self._tokens = tokens
        self._read: list[Token] = []
        self._place = 0
        self._furthest = 0  # the last token looked at: its line is the one that errors name
        self._action_line = 0
        self._depth = depth

    def _at(self, place: int) -> Token:
        while place >= len(self._read) and (token := next(self._tokens, None)) is not None:
            self._read.append(token)
        place = min(place, len(self._read) - 1)
        self._furthest = max(self._furthest, place)
        return self._read[place]

    def _peek(self) -> Token:
        return self._at(self._place)

    def _next(self) -> Token:
        token = self._peek()
        self._place += 1
        return token

    def _skip(self) -> Token:
        """The next token that is no blank, not taken."""
        while self._peek().kind == lexer.SPACE:
            self._place += 1
        return self._peek()

    def _next_word(self) -> Token:
        self._skip()
        return self._next()

    def _expect(self, *kinds: str, context: str) -> Token:
        token = self._next_word()
        if token.kind not in kinds:
            raise self._unexpected(token, context)
        return token

    def _error(self, text: str) -> TemplateError:
        return TemplateError(f"template: :{self._read[self._furthest].line}: {text}")

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind != lexer.ERROR:
            return self._error(f"unexpected {token} in {context}")
        extra = ""
        if self._action_line not in (0, token.line):
            extra = f" in action started at :{self._action_line}"
            extra = extra.removeprefix(" in action") if token.value.endswith(" action") else extra
        return self._error(token.value + extra)

    def _text_of(self, token: Token) -> str:
        try:
            return unquote(token.value)
        except ValueError as error:
            raise self._error(str(error)) from None

    def _deeper(self) -> None:
        self._depth -= 1
        if self._depth < 0:
            raise TemplateError(TOO_DEEP)
