"""Go's number and character constants."""

import re

from apps.inference.prompt.gotemplate.quoting import quote, unquote

_FLOATING = frozenset(".eEpP")
_INTEGER = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)"
)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_LONGEST = 400  # characters; the largest float64 has 309 digits
_IMAGINARY = re.compile(r"(?P<real>.*[^eEpP+-])?(?P<sign>[+-])(?P<imaginary>[^+-]+(?:[eEpP][+-][0-9]+)?)i")
LARGEST = 2**63


def character(literal: str) -> int:
    """Raises ValueError with Go's text."""
    try:
        text = unquote(literal)
    except ValueError:
        raise ValueError(f"malformed character constant: {literal}") from None
    if len(text) != 1:
        raise ValueError(f"malformed character constant: {literal}")
    code = ord(text)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code


def constant(literal: str) -> int | float | complex:
    """An integer may be too large for Go's int (but not for its uint64). Raises ValueError with Go's text."""
    if len(literal) > _LONGEST:
        raise ValueError(f"illegal number syntax: {quote(literal)}")
    if literal.endswith("i"):
        return _complex(literal)
    if _INTEGER.fullmatch(literal):
        return _integer(literal)
    value = _float(literal)
    if value is None:
        raise ValueError(f"illegal number syntax: {quote(literal)}")
    if not _FLOATING & set(literal):
        raise ValueError(f"integer overflow: {quote(literal)}")
    return value


def _integer(literal: str) -> int:
    digits = literal.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "_01234567"
    value = int(digits, 8) if octal else int(digits, 0)
    value = -value if literal[0] == "-" else value
    if not -LARGEST <= value < 2 * LARGEST or (literal[0] == "+" and value >= LARGEST):
        raise ValueError(f"integer overflow: {quote(literal)}")
    return value


def _float(literal: str) -> float | None:
    plain = literal.replace("_", "")
    if _HEXADECIMAL.fullmatch(plain):
        try:
            return float.fromhex(plain)
        except OverflowError:
            return None
    if not _DECIMAL.fullmatch(plain):
        return None
    value = float(plain)
    return None if value in (float("inf"), float("-inf")) else value


def _complex(literal: str) -> complex:
    found = _IMAGINARY.fullmatch(literal)
    real, imaginary = (found["real"] or "0", found["sign"] + found["imaginary"]) if found else ("0", literal[:-1])
    parts = [_float(part) for part in (real, imaginary)]
    if parts[0] is None or parts[1] is None:
        raise ValueError(f"illegal number syntax: {quote(literal)}")
    return complex(parts[0], parts[1])
