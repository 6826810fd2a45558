"""Why a text is not JSON, in the words of Go's scanner (contract, section 1.1).

The quick parser in decode.py is Python's; only a text that it refuses comes here, so this walks token by token and
aims at the right sentence. Nothing recurses: depth is the length of a list.
"""

import re

from apps.api.ollama.quoting import quoted_char

CUT_SHORT = "unexpected EOF"
TOO_DEEP = "exceeded max depth"

_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_HEX = frozenset("0123456789abcdefABCDEF")
_LITERALS = {"t": "true", "f": "false", "n": "null"}


class _Fault(Exception):
    """What is wrong and where; an index past the end means that the text was cut short."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


def fault(text: str) -> str:
    """The sentence for the first fault of the first JSON value in `text`; "" when that value is well formed."""
    try:
        _walk(text)
    except _Fault as found:
        if found.at >= len(text):
            return CUT_SHORT
        return f"invalid character {quoted_char(text[found.at])} {found.why}"
    return ""


def _walk(text: str) -> None:
    """Reads one value; `open_` holds the bracket of every container that is not closed yet."""
    open_: list[str] = []
    at = _begin(text, _skip(text, 0), open_)
    while open_:
        at = _follow(text, _skip(text, at), open_)


def _begin(text: str, at: int, open_: list[str]) -> int:
    """Reads a scalar, or opens a container and reads its first element unless it is empty."""
    while at < len(text) and text[at] in "{[":
        open_.append(text[at])
        at = _skip(text, at + 1)
        if at < len(text) and text[at] == _closing(open_):
            open_.pop()
            return at + 1
        if open_[-1] == "{":
            at = _key(text, at)
    return _scalar(text, at)


def _follow(text: str, at: int, open_: list[str]) -> int:
    """After a complete element: a comma and the next one, or the end of its container."""
    if at < len(text) and text[at] == _closing(open_):
        open_.pop()
        return at + 1
    if at >= len(text) or text[at] != ",":
        raise _Fault(at, "after object key:value pair" if open_[-1] == "{" else "after array element")
    at = _skip(text, at + 1)
    if open_[-1] == "{":
        at = _key(text, at)
    return _begin(text, at, open_)


def _closing(open_: list[str]) -> str:
    return "}" if open_[-1] == "{" else "]"


def _key(text: str, at: int) -> int:
    if at >= len(text) or text[at] != '"':
        raise _Fault(at, "looking for beginning of object key string")
    at = _skip(text, _string(text, at))
    if at >= len(text) or text[at] != ":":
        raise _Fault(at, "after object key")
    return _skip(text, at + 1)


def _scalar(text: str, at: int) -> int:
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at)
    if first and first in "-0123456789":
        return _number(text, at)
    if first not in _LITERALS:
        raise _Fault(at, "looking for beginning of value")
    word = _LITERALS[first]
    for step, letter in enumerate(word):
        if text[at + step : at + step + 1] != letter:
            raise _Fault(at + step, f"in literal {word} (expecting '{letter}')")
    return at + len(word)


def _string(text: str, at: int) -> int:
    at += 1
    while True:
        at = _match(_PLAIN, text, at)
        if at >= len(text) or text[at] != "\\":
            break
        at = _escape(text, at + 1)
    if at >= len(text) or text[at] != '"':
        raise _Fault(at, "in string literal")
    return at + 1


def _escape(text: str, at: int) -> int:
    if text[at : at + 1] != "u":
        if at >= len(text) or text[at] not in 'bfnrt\\/"':
            raise _Fault(at, "in string escape code")
        return at + 1
    for place in range(at + 1, at + 5):
        if place >= len(text) or text[place] not in _HEX:
            raise _Fault(place, "in \\u hexadecimal character escape")
    return at + 5


def _number(text: str, at: int) -> int:
    if text[at] == "-":
        at += 1
        if text[at : at + 1] not in tuple("0123456789"):
            raise _Fault(at, "in numeric literal")
    at = at + 1 if text[at] == "0" else _match(_DIGITS, text, at)
    if text[at : at + 1] == ".":
        at = _digits(text, at + 1, "after decimal point in numeric literal")
    if text[at : at + 1] in ("e", "E"):
        at += 2 if text[at + 1 : at + 2] in ("+", "-") else 1
        at = _digits(text, at, "in exponent of numeric literal")
    return at


def _digits(text: str, at: int, why: str) -> int:
    end = _match(_DIGITS, text, at)
    if end == at:
        raise _Fault(at, why)
    return end


def _skip(text: str, at: int) -> int:
    return _match(_SPACE, text, at)


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern that can match nothing stops."""
    found = pattern.match(text, at)
    return found.end() if found else at
