"""A JSON body, field by field: what the dialects that are not Ollama's share. Pure.

Unknown fields are left alone and null counts as absent, whatever the Content-Type says. A dialect subclasses `Fields`
and words what is wrong; nothing but its refusals is ever raised.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Self

from apps.errors import Problem

MAX_VALUES: Final = 500_000  # commas and brackets in one body: each may become an object of some hundred bytes
MAX_DEPTH: Final = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = range(-(2**63), 2**63)
_FLOAT32_MAX = 3.4e38


class Fields(ABC):
    """One object of the body. `where` is its own place, "" for the body itself."""

    TEXT: ClassVar[str] = "a string"
    FLAG: ClassVar[str] = "a boolean"
    NUMBER: ClassVar[str] = "a number"
    INTEGER: ClassVar[str] = "an integer"
    LIST: ClassVar[str] = "an array"
    OBJECT: ClassVar[str] = "an object"

    def __init__(self, data: dict[str, Any], where: str = "") -> None:
        self.data = data
        self.where = where

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The first JSON value of `body`, which has to be an object; what follows it is ignored, as Ollama does."""
        text = body.decode("utf-8", "replace").lstrip(" \t\r\n\ufeff")
        if not text:
            raise cls.refused("EOF")
        if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
            raise cls.refused(f"the request body holds more than {MAX_VALUES} JSON values", status=413)
        try:
            value, _ = _PARSER.raw_decode(text)
            value = _plain(value, 0)
        except RecursionError as error:
            raise cls.unreadable("it nests too deeply") from error
        except ValueError as error:
            raise cls.unreadable(str(error)) from error
        if not isinstance(value, dict):
            raise cls.refused(f"the request body must be a JSON object, not {said(value)}")
        return cls(value)

    # What a dialect says of it.

    @classmethod
    @abstractmethod
    def refused(cls, text: str, *, status: int = 400) -> Problem:
        """The body as a whole will not do."""

    @classmethod
    @abstractmethod
    def unreadable(cls, why: str) -> Problem:
        """The body is no JSON."""

    @abstractmethod
    def wrong(self, name: str, expected: str) -> Problem:
        """The field has another type."""

    @abstractmethod
    def missing(self, name: str) -> Problem:
        """The field is not there."""

    @abstractmethod
    def item(self, name: str, at: int) -> str:
        """The name of a list's element."""

    # Values.

    def place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def given(self, name: str) -> Any:
        """The plain value; None where it is absent or null."""
        return self.data.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self.given(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, self.TEXT)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.given(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, self.FLAG)
        return value

    def number(self, name: str) -> float | None:
        """A finite number that fits into 32 bits."""
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FLOAT32_MAX:
            raise self.wrong(name, self.NUMBER)
        return float(value)

    def integer(self, name: str) -> int | None:
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
            raise self.wrong(name, self.INTEGER)
        return value

    def list(self, name: str) -> "list[Any]":  # noqa: A003  (reads as what it gives)
        value = self.given(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, self.LIST)
        return value

    def inner(self, name: str) -> Self | None:
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, self.OBJECT)
        return type(self)(value, self.place(name))

    def objects(self, name: str) -> Iterator[Self]:
        """The objects of a list; none where it is absent."""
        for at, value in enumerate(self.list(name)):
            item = self.item(name, at)
            if not isinstance(value, dict):
                raise type(self)({item: value}, self.where).wrong(item, self.OBJECT)
            yield type(self)(value, self.place(item))


def loads(text: str) -> Any:
    """JSON inside a string of the body, under the same rules. Raises ValueError or RecursionError."""
    return _plain(_PARSER.decode(text), 0)


def said(value: Any) -> str:
    """What a value is, in a sentence."""
    if value is None:
        return "null"
    names = (
        (bool, "a boolean"),
        (str, "a string"),
        (int, "an integer"),
        (float, "a decimal number"),
        (list, "an array"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "an object")


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
