"""A JSON body, field by field; a mismatch is named as Anthropic names it, `messages.0.content: Field required`. Pure.

Unknown fields are left alone and null counts as absent, whatever the Content-Type says. Nothing but a Refusal is ever
raised.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from apps.api.anthropic.errors import Refusal

MAX_VALUES: Final = 500_000  # commas and brackets in one body: each may become an object of some hundred bytes
MAX_DEPTH: Final = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = range(-(2**63), 2**63)


def read(body: bytes) -> "Fields":
    """The first JSON value of `body`, which has to be an object; what follows it is ignored, as Ollama does."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n\ufeff")
    if not text:
        raise Refusal("EOF")
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise Refusal(f"The request body holds more than {MAX_VALUES} JSON values", status=413)
    try:
        value, _ = _PARSER.raw_decode(text)
        value = _plain(value, 0)
    except RecursionError as error:
        raise Refusal("The request body is not valid JSON: it nests too deeply") from error
    except ValueError as error:
        raise Refusal(f"The request body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal("The request body is not a JSON object")
    return Fields(value)


class Fields:
    """One object of the body. `where` is its own place, "" for the body itself."""

    def __init__(self, data: dict[str, Any], where: str = "") -> None:
        self.data = data
        self.where = where

    def place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def given(self, name: str) -> Any:
        """The plain value; None where it is absent or null."""
        return self.data.get(name)

    def wrong(self, name: str, expected: str) -> Refusal:
        return Refusal(f"{self.place(name)}: Input should be {expected}")

    def missing(self, name: str) -> Refusal:
        return Refusal(f"{self.place(name)}: Field required")

    def text(self, name: str) -> str:
        """ "" where it is absent."""
        value = self.given(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a valid string")
        return value or ""

    def needed(self, name: str) -> str:
        """A text that must be there; it may be empty."""
        if self.given(name) is None:
            raise self.missing(name)
        return self.text(name)

    def flag(self, name: str) -> bool:
        value = self.given(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "a valid boolean")
        return bool(value)

    def number(self, name: str) -> float | None:
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 3e38:
            raise self.wrong(name, "a valid number")
        return float(value)

    def integer(self, name: str) -> int | None:
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
            raise self.wrong(name, "a valid integer")
        return value

    def inner(self, name: str) -> "Fields | None":
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, self.place(name))

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "a list of strings")
        return values

    def objects(self, name: str) -> "Iterator[Fields]":
        """The objects of a list; none where it is absent."""
        for at, item in enumerate(self._list(name)):
            place = f"{self.place(name)}.{at}"
            if not isinstance(item, dict):
                raise Refusal(f"{place}: Input should be an object")
            yield Fields(item, place)

    def _list(self, name: str) -> list[Any]:
        value = self.given(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a valid list")
        return value


def _plain(value: Any, depth: int) -> Any:
    """Half a surrogate pair becomes U+FFFD, so that no text fails to encode later; endless numbers are refused."""
    if depth > MAX_DEPTH:
        raise ValueError("it nests too deeply")
    if isinstance(value, dict):
        return {_whole(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and math.isinf(value):
        raise ValueError("a number is too large")
    return _whole(value) if isinstance(value, str) else value


def _whole(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_PARSER = json.JSONDecoder(parse_constant=_refuse_constant)
