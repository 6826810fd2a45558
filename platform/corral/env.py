"""Reads settings from the environment: three readers that refuse nonsense by name.

Every reader notes what it was asked for in KNOWN, which docs/settings.md is tested against.
An alias is the name that Ollama's users already set; our own name wins when both are there.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class Known:
    name: str
    default: Any
    alias: str | None


@dataclass(frozen=True)
class Shape:
    """What a text has to look like, and what a person is told when it does not."""

    pattern: str
    meaning: str


_GO_DURATION = r"((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+"
DURATION = Shape(rf"[+-]?(\d+|{_GO_DURATION})", "a duration, such as 5m, 1h30m, 300 (seconds) or -1")
NAME = Shape(r"[A-Za-z0-9._-]{1,200}", "a name of letters, digits, dots, dashes and underscores")
REDIS = Shape(r"(redis|rediss|unix)://.+", "a URL that begins with redis://, rediss:// or unix://")

KNOWN: dict[str, Known] = {}

TRUE = {"1", "true", "t", "yes", "y", "on"}
FALSE = {"0", "false", "f", "no", "n", "off"}


def _raw(name: str, default: Any, alias: str | None) -> tuple[str, str | None]:
    """The variable that answered and its value, without the blanks and quotes people leave around it."""
    KNOWN[name] = Known(name, default, alias)
    for candidate in (name, alias):
        value = os.environ.get(candidate, "").strip().strip("\"'").strip() if candidate else ""
        if candidate and value:
            return candidate, value
    return name, None


def text(
    name: str,
    default: str = "",
    *,
    alias: str | None = None,
    choices: Sequence[str] = (),
    shape: Shape | None = None,
) -> str:
    source, value = _raw(name, default, alias)
    if value is None:
        return default
    if choices and value not in choices:
        raise ImproperlyConfigured(f"{source}={value!r} is not one of {', '.join(choices)}.")
    if shape and not re.fullmatch(shape.pattern, value):
        shown = "" if "://" in shape.pattern else f"={value!r}"  # a URL may hold a password
        raise ImproperlyConfigured(f"{source}{shown} is not {shape.meaning}.")
    return value


def number(
    name: str,
    default: int,
    *,
    alias: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
) -> int:
    source, value = _raw(name, default, alias)
    if value is None:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{source}={value!r} is not a whole number.") from None
    if (minimum is not None and parsed < minimum) or (maximum is not None and parsed > maximum):
        bounds = " ".join(
            part
            for part in (
                f"at least {minimum}" if minimum is not None else "",
                f"at most {maximum}" if maximum is not None else "",
            )
            if part
        )
        raise ImproperlyConfigured(f"{source}={value} must be {bounds}.")
    return parsed


def flag(name: str, default: bool, *, alias: str | None = None) -> bool:
    source, value = _raw(name, default, alias)
    if value is None:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{source}={value!r} is neither yes nor no (use 1 or 0).")
