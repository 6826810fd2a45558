"""How long a model stays loaded after its last request: Go's durations, read as Ollama reads them. Pure.

Seconds everywhere; FOREVER stands for a wish without an end. Source: the wire contract, section 6.1, and Go's
`time.ParseDuration`, whose texts the errors repeat.
"""

import math
import re
from datetime import datetime, timedelta

from apps.errors import Problem

FOREVER = -1.0
_MAX_NS = 2**63 - 1  # the longest duration Go knows, about 292 years
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)", re.DOTALL)
_GO_TYPES = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


def parse(value: object) -> float | None:
    """A request's `keep_alive` in seconds; None keeps what there is, FOREVER never unloads. Raises Problem (400)."""
    if value is None:
        return None
    if isinstance(value, str):
        return _seconds(_nanoseconds(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        name = _GO_TYPES.get(type(value), type(value).__name__)
        raise Problem("invalid", f"Unsupported type: '{name}'")
    if isinstance(value, float) and not math.isfinite(value):
        raise Problem("invalid", "keep_alive must be a finite number of seconds")
    return FOREVER if value < 0 or value >= _MAX_NS / 10**9 else float(value)


def parse_setting(text: str) -> float:
    """The same for a setting, where a plain integer means seconds. Raises Problem (400)."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return _seconds(int(text) * 10**9)
    return _seconds(_nanoseconds(text))


def expiry(now: datetime, seconds: float) -> datetime:
    """When a replica that fell idle at `now` is unloaded. FOREVER is 292 years ahead, as clients expect."""
    return now + timedelta(microseconds=_MAX_NS // 1000 if seconds < 0 else seconds * 10**6)


def _seconds(nanoseconds: int) -> float:
    return FOREVER if nanoseconds < 0 or nanoseconds > _MAX_NS else nanoseconds / 10**9


def _nanoseconds(text: str) -> int:
    sign, rest = (text[0], text[1:]) if text[:1] in {"+", "-"} else ("", text)
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest):
        term = _TERM.match(rest, at)
        total += _term(term, text)
        at = term.end() if term else len(rest)
    if not rest or total > _MAX_NS:
        raise _invalid(text)
    return -total if sign == "-" else total


def _term(term: re.Match[str] | None, text: str) -> int:
    """One decimal and its unit, in nanoseconds."""
    whole, fraction, unit = term.groups() if term else ("", None, "")
    digits = whole.lstrip("0") or "0"
    if not (whole or fraction) or len(digits) > 19 or int(digits) > _MAX_NS + 1:
        raise _invalid(text)
    if not unit:
        raise Problem("invalid", f"time: missing unit in duration {_quote(text)}")
    if unit not in _UNITS:
        raise Problem("invalid", f"time: unknown unit {_quote(unit)} in duration {_quote(text)}")
    decimals = (fraction or "0")[:18]
    scale: int = 10 ** len(decimals)
    return int(digits) * _UNITS[unit] + int(decimals) * _UNITS[unit] // scale


def _invalid(text: str) -> Problem:
    return Problem("invalid", f"time: invalid duration {_quote(text)}")


def _quote(text: str) -> str:
    """Go's own quoting in package time: control and other than ASCII characters as bytes."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character < "\x80":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "replace"))
