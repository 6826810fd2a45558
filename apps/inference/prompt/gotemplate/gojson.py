"""Compact JSON as Go's json.Marshal writes it: `<`, `>` and `&` escaped, the keys of a map sorted."""

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from apps.inference.prompt.gotemplate import values
from apps.inference.prompt.gotemplate.quoting import readable

_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def written(value: Any) -> str:
    """What has no JSON (NaN, an infinity) gives "", as Go's `json` drops json.Marshal's error."""
    try:
        return _written(value)
    except ValueError:
        return ""


def _written(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping | Sequence) and values.prints_itself(value):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(str(name))}:{_written(value[name])}" for name in values.keys(value)) + "}"
    if values.is_list(value):
        return "[" + ",".join(map(_written, value)) + "]"
    return _text(str(value))


def _text(value: str) -> str:
    text = encode_basestring(readable(value))
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def number(value: float) -> str:
    """A float64 in JSON: decimal between 1e-6 and 1e21, with an exponent beyond."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("no JSON number")
    if value == int(value) and abs(value) < 1e21:
        return "-0" if value == 0 and str(value)[0] == "-" else str(int(value))
    digits, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        return digits
    if abs(value) < 1e-6 or abs(value) >= 1e21:
        sign = exponent[0] if exponent[0] in "+-" else "+"
        return f"{digits}e{sign}{exponent.lstrip('+-').lstrip('0')}"
    places = len(digits.lstrip("-").replace(".", "")) - 1 - int(exponent)
    return f"{value:.{places}f}"
