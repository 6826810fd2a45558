"""Go's string and character literals, read and written.

A Go string is bytes. Here it is a str whose bytes that are no UTF-8 are lone surrogates ("surrogateescape"), as
Python's own file names are; `readable` ends that where text leaves a template.
"""

import re

QUOTED_A_STEP = 8  # characters that are looked at one by one, in a step (limits.py)
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_WRITTEN = {7: "a", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 11: "v", 92: "\\"}
_SURROGATES = range(0xD800, 0xE000)


def encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate of the caller's own, which JSON allows
        return text.encode("utf-8", "replace")


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """The text as UTF-8 can carry it: what is no character becomes U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return encoded(text).decode("utf-8", "replace")
    return text


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(encoded(text))


def quote(text: str, mark: str = '"') -> str:
    """As Go's %q."""
    return mark + "".join(_quoted(character, mark) for character in text) + mark


def _quoted(character: str, mark: str) -> str:
    code = ord(character)
    if character == mark or code == 92:
        return "\\" + character
    if character.isprintable():
        return character
    if code in _WRITTEN:
        return "\\" + _WRITTEN[code]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code in _SURROGATES:
        return "\\ufffd"
    return f"\\x{code:02x}" if code < 32 or code == 127 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def unquote(literal: str) -> str:
    """The text of `"…"`, `'…'` or a raw string. Raises ValueError, whose text is Go's."""
    mark, body = literal[0], literal[1:-1]
    if mark == "`":
        return body.replace("\r", "")
    if "\\" not in body:
        return body
    return decoded(b"".join(_pieces(body, mark)))


def _pieces(body: str, mark: str) -> list[bytes]:
    pieces, place = [], 0
    while (start := body.find("\\", place)) >= 0:
        found = _ESCAPED.match(body, start)
        if found is None:
            raise ValueError("invalid syntax")
        pieces += [encoded(body[place:start]), _meant(found, mark)]
        place = found.end()
    return [*pieces, encoded(body[place:])]


def _meant(found: re.Match[str], mark: str) -> bytes:
    byte, short, long, octal, other = found.groups()
    if other is not None:
        if other != mark and other not in _ESCAPES:
            raise ValueError("invalid syntax")
        return bytes([ord(mark) if other == mark else _ESCAPES[other]])
    if byte or octal:
        value = int(byte, 16) if byte else int(octal, 8)
        if value > 255:
            raise ValueError("invalid syntax")
        return bytes([value])
    code = int(short or long, 16)
    if code > 0x10FFFF or code in _SURROGATES:
        raise ValueError("invalid syntax")
    return chr(code).encode()
