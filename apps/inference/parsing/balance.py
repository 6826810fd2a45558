"""Where a bracketed value ends, in a text that comes in parts. Every character is looked at once."""

import re

_BRACKET = re.compile(r'["{}\[\]()]')
_QUOTE = re.compile(r'["\\]')


class Balance:
    """Counts brackets outside double quotes from the first one on. What is between them is for a parser to judge."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def end(self, text: str) -> int | None:
        """The place in this part behind the bracket that closes the first one, None while it is open."""
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = (_QUOTE if self._quoted else _BRACKET).search(text, at)
            if not match:
                return None
            at = match.end()
            if self._closes(match[0]):
                return at
        return None

    def _closes(self, mark: str) -> bool:
        if mark == '"':
            self._quoted = not self._quoted
        elif mark == "\\":
            self._escaped = True
        elif mark in "{[(":
            self._depth += 1
        else:
            self._depth -= 1
        return self._depth <= 0 and mark in "}])"
