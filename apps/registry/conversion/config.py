"""config.json, value by value: a wrong type or a number out of bounds is a sentence, never a crash. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from apps.errors import Problem

MAX_LAYERS, MAX_HEADS, MAX_WIDTH, MAX_VOCABULARY = 1024, 4096, 262144, 2_000_000


class Config:
    """A JSON object of a model's description; `where` names it in sentences."""

    def __init__(self, data: Mapping[str, Any], where: str = "config.json") -> None:
        self._data = data
        self._where = where

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def integer(self, key: str, *, most: int, default: int | None = None) -> int:
        """A whole number from 1 to `most`."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise self.wrong(key, f"must be a whole number from 1 to {most}")
        return value

    def number(self, key: str, *, most: float = 1e12, default: float | None = None) -> float:
        """A number above 0."""
        value = self._value(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(key, "must be a number")
        if not 0 < value <= most or not math.isfinite(value):
            raise self.wrong(key, f"must be above 0 and at most {most:g}")
        return float(value)

    def text(self, key: str, default: str = "") -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "must be a text")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def inner(self, key: str) -> "Config":
        """The object under `key`; an empty one where there is none."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "must be an object")
        return Config(value, f"{self._where}: {key}")

    def empty(self) -> bool:
        return not self._data

    def texts(self, key: str) -> list[str]:
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "must be a list of texts")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        """Raises for a way of computing that llama.cpp would not follow."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.wrong(key, f"is {value!r}; only {' and '.join(allowed)} can be converted")
        return value

    def wrong(self, key: str, why: str) -> Problem:
        return Problem("invalid", f"{self._where}: {key} {why}")

    def _value(self, key: str, default: Any) -> Any:
        value = self._data.get(key)
        if value is not None:
            return value
        if default is None:
            raise Problem("invalid", f"{self._where} does not say {key}")
        return default
