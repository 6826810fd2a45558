"""Go's fmt.Sprint, Sprintln and Sprintf."""

import re
from collections.abc import Sequence
from typing import Any

from apps.inference.prompt.gotemplate import values
from apps.inference.prompt.gotemplate.limits import Allowance
from apps.inference.prompt.gotemplate.quoting import QUOTED_A_STEP
from apps.inference.prompt.gotemplate.verbs import Verb, show

_PERCENT = re.compile(r"%([#0+\- ]*)", re.DOTALL)
_INDEX = re.compile(r"\[([^\]]*)\]")
_NUMBER = re.compile(r"[0-9]+")
_PLAIN = Verb()
_QUOTING = frozenset("qxX")  # look at each character
_WIDEST = 1_000_000  # as in Go: what is wider is no width


def sprint(args: Sequence[Any], allowance: Allowance) -> str:
    """A space between two operands where neither is a string."""
    pieces = _Pieces(allowance)
    for place, arg in enumerate(args):
        if place and not isinstance(arg, str) and not isinstance(args[place - 1], str):
            pieces.add(" ")
        pieces.add(shown(arg, allowance))
    return pieces.joined()


def sprintln(args: Sequence[Any], allowance: Allowance) -> str:
    pieces = _Pieces(allowance)
    for place, arg in enumerate(args):
        if place:
            pieces.add(" ")
        pieces.add(shown(arg, allowance))
    pieces.add("\n")
    return pieces.joined()


def shown(value: Any, allowance: Allowance) -> str:
    if type(value) is int:
        return str(value)  # what most operands are that are no text
    if isinstance(value, str):
        return value
    allowance.spend(values.steps(value))
    return show(_PLAIN, value)


def sprintf(template: str, args: Sequence[Any], allowance: Allowance) -> str:
    return _Format(template, args, allowance).run()


class _Pieces:
    """A text in the making, refused as soon as it is too long."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._pieces: list[str] = []
        self._length = 0

    def add(self, piece: str) -> None:
        self._length += len(piece)
        self._allowance.fits(self._length)
        self._pieces.append(piece)

    def joined(self) -> str:
        return "".join(self._pieces)


class _Format:
    def __init__(self, template: str, args: Sequence[Any], allowance: Allowance) -> None:
        self._template = template
        self._args = args
        self._allowance = allowance
        self._place = 0
        self._arg = 0
        self._reordered = False
        self._good_index = True

    def run(self) -> str:
        pieces = _Pieces(self._allowance)
        while (start := self._template.find("%", self._place)) >= 0:
            self._allowance.spend(2)
            pieces.add(self._template[self._place : start])
            self._place = start
            pieces.add(self._directive())
        pieces.add(self._template[self._place :])
        self._add_extra(pieces)
        return pieces.joined()

    def _add_extra(self, pieces: _Pieces) -> None:
        rest = self._args[self._arg :]
        if self._reordered or not rest:
            return
        for place, arg in enumerate(rest):
            pieces.add(", " if place else "%!(EXTRA ")
            pieces.add("" if arg is None else f"{values.type_name(arg)}=")
            pieces.add(shown(arg, self._allowance))
        pieces.add(")")

    def _directive(self) -> str:
        found = _PERCENT.match(self._template, self._place)
        flags = found[1] if found else ""
        self._place += 1 + len(flags)
        self._good_index = True
        self._argument_index()
        width, wrong = self._measure("%!(BADWIDTH)")
        minus = "-" in flags
        if width is not None and width < 0:
            width, minus = -width, True
        precision, imprecise = self._precision()
        self._argument_index()
        letter = self._template[self._place : self._place + 1]
        if not letter:
            return wrong + imprecise + "%!(NOVERB)"
        self._place += 1
        self._allowance.fits((width or 0) + (precision or 0))
        zero = "0" in flags and not minus
        verb = Verb(letter, minus, "+" in flags, "#" in flags, " " in flags, zero, width, precision)
        return wrong + imprecise + self._write(verb)

    def _write(self, verb: Verb) -> str:
        if verb.letter == "%":
            return "%"
        if not self._good_index:
            return f"%!{verb.letter}(BADINDEX)"
        if self._arg >= len(self._args):
            return f"%!{verb.letter}(MISSING)"
        self._arg += 1
        arg = self._args[self._arg - 1]
        steps = values.steps(arg)
        self._allowance.spend(steps)
        if not values.is_basic(arg):  # each value in it is as wide
            self._allowance.fits(((verb.width or 0) + (verb.precision or 0)) * steps)
        if verb.sharp or verb.letter in _QUOTING:
            self._allowance.spend(values.characters(arg) // QUOTED_A_STEP)
        return show(verb, arg)

    def _argument_index(self) -> None:
        found = _INDEX.match(self._template, self._place)
        if found is None:
            return
        self._place, self._reordered = found.end(), True
        number = int(found[1]) if found[1].isascii() and found[1].isdecimal() and len(found[1]) < 8 else 0
        if 1 <= number <= len(self._args):
            self._arg = number - 1
        else:
            self._good_index = False

    def _measure(self, complaint: str) -> tuple[int | None, str]:
        """A width or a precision: written out, or `*` for the next argument."""
        if self._template.startswith("*", self._place):
            self._place += 1
            return self._given(complaint)
        found = _NUMBER.match(self._template, self._place)
        if found is None:
            return None, ""
        self._place = found.end()
        if len(found[0]) > 7 or int(found[0]) > _WIDEST:
            self._place = len(self._template)
            return None, ""
        return int(found[0]), ""

    def _given(self, complaint: str) -> tuple[int | None, str]:
        value = self._args[self._arg] if self._arg < len(self._args) else None
        self._arg += self._arg < len(self._args)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _WIDEST:
            return value, ""
        return None, complaint

    def _precision(self) -> tuple[int | None, str]:
        if not self._template.startswith(".", self._place):
            return None, ""
        self._place += 1
        self._argument_index()
        precision, wrong = self._measure("%!(BADPREC)")
        if precision is not None and precision < 0:
            return None, "%!(BADPREC)"
        return precision if precision is not None or wrong else 0, wrong
