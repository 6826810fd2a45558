"""Go's fmt: how one value is written under one verb, with its flags, width and precision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from apps.inference.prompt.gotemplate import values
from apps.inference.prompt.gotemplate.quoting import encoded, quote, readable

_BASES = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}
_TEXT_VERBS = frozenset("vsxXq")


@dataclass(frozen=True, slots=True)
class Verb:
    """One `%…` of a format. `width` and `precision` None: not given."""

    letter: str = "v"
    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None


class _Bad(Exception):
    """The verb cannot write values of this kind."""


def show(verb: Verb, value: Any, *, nested: bool = False) -> str:
    """The value as Go's fmt writes it; a verb that does not fit gives Go's `%!d(string=hi)`."""
    if verb.letter == "T":
        return _padded(verb, values.type_name(value))
    try:
        return _shown(verb, value, nested)
    except _Bad:
        if value is None:
            return f"%!{verb.letter}(<nil>)"
        return f"%!{verb.letter}({values.type_name(value)}={show(Verb(), value)})"


def _shown(verb: Verb, value: Any, nested: bool) -> str:
    if value is None:
        if verb.letter != "v":
            raise _Bad
        return _padded(verb, "<nil>")
    if isinstance(value, bool):
        return _boolean(verb, value)
    if isinstance(value, int):
        return _integer(verb, value)
    if isinstance(value, float):
        return _float(verb, value)
    if isinstance(value, complex):
        return _complex(verb, value)
    if isinstance(value, str):
        return _text(verb, value)
    if verb.letter in _TEXT_VERBS and not verb.sharp and values.prints_itself(value):
        return _text(verb, str(value))
    return _composite(verb, value)


def _composite(verb: Verb, value: Any) -> str:
    def inner(item: Any) -> str:
        return show(verb, item, nested=True)

    if values.is_struct(value):
        shown = [f"{name}:{inner(item)}" if verb.plus else inner(item) for name, item in value.items()]
        return "{" + " ".join(shown) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{inner(str(key))}:{inner(value[key])}" for key in values.keys(value)) + "]"
    if values.is_list(value):
        return "[" + " ".join(map(inner, value)) + "]"
    if verb.letter not in _TEXT_VERBS:
        raise _Bad
    return _text(verb, str(value))


def _padded(verb: Verb, text: str) -> str:
    if verb.width is None:
        return text
    return text.ljust(verb.width) if verb.minus else text.rjust(verb.width, "0" if verb.zero else " ")


def _boolean(verb: Verb, value: bool) -> str:
    if verb.letter not in "tv":
        raise _Bad
    return _padded(verb, "true" if value else "false")


def _text(verb: Verb, value: str) -> str:
    if verb.letter not in _TEXT_VERBS:
        raise _Bad
    if verb.letter in "xX":
        return _padded(verb, _hexadecimal(verb, encoded(value)))
    cut = value if verb.precision is None else value[: verb.precision]
    if verb.letter == "q":
        cut = f"`{cut}`" if verb.sharp and "`" not in cut and readable(cut).isprintable() else quote(cut)
    elif verb.sharp and verb.letter == "v":
        cut = quote(cut)
    return _padded(verb, cut)


def _hexadecimal(verb: Verb, data: bytes) -> str:
    data = data if verb.precision is None else data[: verb.precision]
    start = "0x" if verb.sharp else ""
    text = (" " + start).join(f"{byte:02x}" for byte in data) if verb.space else data.hex()
    text = start + text if data else ""
    return text.upper() if verb.letter == "X" else text


def _integer(verb: Verb, value: int) -> str:
    letter = verb.letter
    if letter in _BASES:
        return _digits(verb, value)
    if letter in "cqU":
        valid = value if 0 <= value < 0xD800 or 0xDFFF < value <= 0x10FFFF else 0xFFFD
        if letter == "U":
            shown = f"U+{value:04X}" + (f" '{chr(valid)}'" if verb.sharp and chr(valid).isprintable() else "")
            return _padded(replace(verb, zero=False), shown)
        return _padded(replace(verb, zero=False), chr(valid) if letter == "c" else quote(chr(valid), "'"))
    raise _Bad


def _digits(verb: Verb, value: int) -> str:
    digits = format(abs(value), _BASES[verb.letter])
    if verb.precision is not None:
        digits = "" if verb.precision == 0 and value == 0 else digits.rjust(verb.precision, "0")
    sign = "-" if value < 0 else "+" if verb.plus else " " if verb.space else ""
    if verb.letter == "O":
        sign += "0o"
    elif verb.sharp:
        sign += _PREFIXES.get(verb.letter, "")
    return _signed(verb if verb.precision is None else replace(verb, zero=False), sign, digits)


def _signed(verb: Verb, sign: str, digits: str) -> str:
    """Zeros are padded between a sign and the digits."""
    if verb.zero and not verb.minus and verb.width is not None:
        return sign + digits.rjust(verb.width - len(sign), "0")
    return _padded(verb, sign + digits)


def _float(verb: Verb, value: float) -> str:
    letter = "g" if verb.letter == "v" else verb.letter
    if letter not in "eEfFgG":
        raise _Bad
    sign = "-" if str(value)[0] == "-" else "+" if verb.plus else " " if verb.space else ""
    if value != value or abs(value) == float("inf"):
        sign = "+" if value > 0 and not sign else "" if value != value and not verb.plus else sign
        return _signed(replace(verb, zero=False), sign, "NaN" if value != value else "Inf")
    write: Callable[[float], str] = _general(letter, verb) if letter in "gG" else _fixed(letter, verb)
    return _signed(verb, sign, write(abs(value)))


def _fixed(letter: str, verb: Verb) -> Callable[[float], str]:
    precision = 6 if verb.precision is None else verb.precision
    return lambda value: format(value, f"{'#' if verb.sharp else ''}.{precision}{letter}")


def _general(letter: str, verb: Verb) -> Callable[[float], str]:
    precision = verb.precision
    if precision is not None or verb.sharp:
        given = 6 if precision is None else precision
        return lambda value: format(value, f"{'#' if verb.sharp else ''}.{given}{letter}")
    return lambda value: _shortest(value).upper() if letter == "G" else _shortest(value)


def _shortest(value: float) -> str:
    """The fewest digits that give the value back; with an exponent below 1e-4 and from 1e6 on."""
    parts = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, parts.digits))
    exponent = len(digits) - 1 + int(parts.exponent)
    if value and not -4 <= exponent < 6:
        rest = f".{digits[1:]}" if digits[1:] else ""
        return f"{digits[0]}{rest}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return format(Decimal(repr(value)).normalize(), "f")


def _complex(verb: Verb, value: complex) -> str:
    if verb.letter not in "veEfFgG":
        raise _Bad
    real = show(replace(verb, letter=verb.letter), value.real)
    return f"({real}{show(replace(verb, plus=True), value.imag)}i)"
