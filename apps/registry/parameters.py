"""PARAMETER lines as typed options (wire contract, sections 5 and 18.3), and options as lines. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from apps.errors import Problem

_INTEGERS = {
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep", "seed", "num_predict",
    "top_k", "repeat_last_n",
}  # fmt: skip
_FLOATS = {
    "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty",
}  # fmt: skip
_FLAGS = {"use_mmap"}
_DEPRECATED = {
    "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau",
    "mirostat_eta",
}  # fmt: skip
_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}


def typed(lines: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Name and text pairs -> options. `stop` accumulates, of others the last wins, deprecated ones are dropped."""
    options: dict[str, Any] = {}
    for name, text in lines:
        if name == "stop":
            options.setdefault("stop", []).append(text)
        elif name not in _DEPRECATED:
            options[name] = _reader(name)(text)
    return options


def lines(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Options -> name and value pairs, one for each stop word, in the order of the names."""
    return [
        (name, value)
        for name in sorted(options)
        for value in (options[name] if isinstance(options[name], list) else [options[name]])
    ]


def bare(value: Any) -> str:
    """A value as a Modelfile writes it: one that the parser reads back."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def table(options: Mapping[str, Any]) -> str:
    """`parameters` of /api/show: the name padded to 30, a blank, the value; words quoted, numbers as Go prints them."""
    return "\n".join(f"{name:<30} {_shown(value)}" for name, value in lines(options))


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, ensure_ascii=False)
    return number(value)


def number(value: float) -> str:
    """Go's `%v` of a float64: shortest digits, an exponent from a million up and below a ten-thousandth."""
    exact = Decimal(repr(float(value)))
    if not exact.is_finite() or exact == 0 or -4 <= exact.adjusted() < 6:
        return repr(float(value)).removesuffix(".0")
    digits = "".join(map(str, exact.normalize().as_tuple().digits))
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{'-' if value < 0 else ''}{digits[0]}{fraction}e{exact.adjusted():+03d}"


def _reader(name: str) -> Callable[[str], Any]:
    if name in _INTEGERS:
        return _integer
    if name in _FLOATS:
        return _float
    if name in _FLAGS:
        return _flag
    raise Problem("invalid", f"unknown parameter '{name}'")


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text) or abs(int(text)) >= 2**63:
        raise Problem("invalid", f"invalid int value [{text}]")
    return int(text)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Problem("invalid", f"invalid float value [{text}]") from None


def _flag(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Problem("invalid", f"invalid bool value [{text}]")
