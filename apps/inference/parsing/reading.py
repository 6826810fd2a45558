"""Calls out of their text, once it is whole. Each reader gives the calls, or nothing where it is not wholly calls of
offered tools: the text is text then."""

import json
import math
import secrets
import string
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from apps.inference.types import ToolCall

Calls = tuple[ToolCall, ...]
Read = Callable[[str, "Offer"], Calls]

MAX_DEPTH = 64  # of brackets within brackets

_NAMES = ("name", "function", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "args")
_BESIDE = frozenset({"type", "id", "index"})
KEYS = frozenset({*_NAMES, *_ARGUMENTS, *_BESIDE})  # of a call object
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Offer:
    """The tools a reply may call, and which of their parameters take text, each as "tool.parameter"."""

    tools: Container[str]
    texts: Container[str] = frozenset()


def call(name: str, arguments: dict[str, Any]) -> ToolCall:
    return ToolCall(name, arguments, "call_" + "".join(secrets.choice(_LETTERS) for _ in range(8)))


def value_of(text: str) -> Any:
    """The JSON value a text is, None where it is none that every reader takes. Line ends in strings are let pass."""
    try:
        value = _decode(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    except (ValueError, RecursionError):
        return None
    return value if _shallow(value) else None


def objects(text: str, offer: Offer) -> Calls:
    """One call object, or a list of them."""
    value = value_of(text)
    values = value if isinstance(value, list) else [value]
    return whole([_from_object(item, offer) for item in values])


def lone(text: str, offer: Offer) -> Calls:
    """One object that can hardly be anything but a call: arguments are there, and they are no description of a tool."""
    value = value_of(text)
    if not isinstance(value, dict) or not value.keys() & set(_ARGUMENTS):
        return ()
    found = _from_object(value, offer)
    return () if found is None or _describes(found.arguments) else (found,)


def whole(found: Sequence[ToolCall | None]) -> Calls:
    """All of them, or none if one is missing."""
    calls = tuple(item for item in found if item is not None)
    return calls if len(calls) == len(found) else ()


def named(name: str, text: str, offer: Offer) -> Calls:
    """The arguments of one call, as JSON, beside its name."""
    arguments = value_of(text)
    return (call(name, arguments),) if name in offer.tools and isinstance(arguments, dict) else ()


def arguments_of(value: Any) -> dict[str, Any] | None:
    """Arguments as an object: it may be written as a string that holds one, and nothing is none of them."""
    if isinstance(value, str):
        value = value_of(value) if value.strip() else {}
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _from_object(value: Any, offer: Offer) -> ToolCall | None:
    if not isinstance(value, dict) or not value.keys() <= KEYS:
        return None
    if isinstance(inner := value.get("function"), dict):
        return _from_object(inner, offer)
    name = next((value[key] for key in _NAMES if key in value), None)
    arguments = arguments_of(next((value[key] for key in _ARGUMENTS if key in value), None))
    if not isinstance(name, str) or name not in offer.tools or arguments is None:
        return None
    return call(name, arguments)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


_decode = json.JSONDecoder(strict=False, parse_constant=_refuse, parse_float=_finite).decode


def _shallow(value: Any, depth: int = MAX_DEPTH) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_shallow(item, depth - 1) for item in inner)


def _describes(arguments: dict[str, Any]) -> bool:
    return arguments.get("type") == "object" and isinstance(arguments.get("properties"), dict)
