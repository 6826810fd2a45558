"""A JSON body, field by field, with every mismatch named (contract, section 13). Pure.

    fields = read(request.body)
    fields.text("model"), fields.number("temperature"), fields.list("messages")

Unknown fields are left alone and null counts as absent, whatever the Content-Type says. A wrong type raises a Refusal
with the field's place in it; nothing else is ever raised.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from apps.api.openai.errors import Refusal

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
        raise Refusal(f"the request body holds more than {MAX_VALUES} JSON values", status=413)
    try:
        value, _ = _PARSER.raw_decode(text)
        value = _plain(value, 0)
    except RecursionError as error:
        raise Refusal("the request body nests too deeply") from error
    except ValueError as error:
        raise Refusal(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(f"the request body must be a JSON object, not {said(value)}")
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
        place = self.place(name)
        text = f"Invalid type for '{place}': expected {expected}, but got {said(self.given(name))} instead."
        return Refusal(text, param=place, name="invalid_type")

    def missing(self, name: str) -> Refusal:
        place = self.place(name)
        return Refusal(f"Missing required parameter: '{place}'.", param=place, name="missing_required_parameter")

    def text(self, name: str, default: str = "") -> str:
        value = self.given(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.given(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return value

    def number(self, name: str) -> float | None:
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 3e38:
            raise self.wrong(name, "a number")
        return float(value)

    def integer(self, name: str) -> int | None:
        value = self.given(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
            raise self.wrong(name, "an integer")
        return value

    def between(self, name: str, low: int, high: int) -> int | None:
        value = self.integer(name)
        if value is not None and not low <= value <= high:
            place = self.place(name)
            raise Refusal(f"{place} must be between {low} and {high}", param=place, name="integer_out_of_range")
        return value

    def list(self, name: str) -> "list[Any]":  # noqa: A003  (reads as what it gives)
        value = self.given(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "an array")
        return value

    def inner(self, name: str) -> "Fields | None":
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, self.place(name))

    def objects(self, name: str) -> "Iterable[Fields]":
        for at, item in enumerate(self.list(name)):
            place = f"{self.place(name)}[{at}]"
            if not isinstance(item, dict):
                text = f"Invalid type for '{place}': expected an object, but got {said(item)} instead."
                raise Refusal(text, param=place, name="invalid_type")
            yield Fields(item, place)


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


def go_type(value: Any) -> str:
    """The word that Ollama has for it in the few sentences that the contract fixes."""
    names = ((bool, "bool"), (str, "string"), (int | float, "float64"), (list, "[]interface {}"))
    if value is None:
        return "<nil>"
    return next((name for kind, name in names if isinstance(value, kind)), "map[string]interface {}")


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
