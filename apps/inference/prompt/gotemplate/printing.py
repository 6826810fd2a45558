"""Go's fmt.Sprint, Sprintln and Sprintf."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from apps.inference.prompt.gotemplate import values
from apps.inference.prompt.gotemplate.verbs import Verb, show

_PERCENT = re.compile(r"%([#0+\- ]*)", re.DOTALL)
_INDEX = re.compile(r"\[([^\]]*)\]")
_NUMBER = re.compile(r"[0-9]+")
_WIDEST = 1_000_000  # as in Go: what is wider is no width

Spend = Callable[[int], None]  # told of characters before they are made; raises where they are too many


def sprint(args: Sequence[Any]) -> str:
    """A space between two operands where neither is a string."""
    pieces: list[str] = []
    for place, arg in enumerate(args):
        if place and not isinstance(arg, str) and not isinstance(args[place - 1], str):
            pieces.append(" ")
        pieces.append(shown(arg))
    return "".join(pieces)


def sprintln(args: Sequence[Any]) -> str:
    return " ".join(map(shown, args)) + "\n"


def shown(value: Any) -> str:
    return value if isinstance(value, str) else show(Verb(), value)


def sprintf(template: str, args: Sequence[Any], *, spend: Spend) -> str:
    return _Format(template, args, spend).run()


class _Format:
    def __init__(self, template: str, args: Sequence[Any], spend: Spend) -> None:
        self._template = template
        self._args = args
        self._spend = spend
        self._place = 0
        self._arg = 0
        self._reordered = False
        self._good_index = True

    def run(self) -> str:
        pieces: list[str] = []
        while (start := self._template.find("%", self._place)) >= 0:
            pieces.append(self._template[self._place : start])
            self._place = start
            pieces.append(self._directive())
        pieces.append(self._template[self._place :])
        return "".join(pieces) + self._extra()

    def _extra(self) -> str:
        rest = self._args[self._arg :]
        if self._reordered or not rest:
            return ""
        told = (shown(arg) if arg is None else f"{values.type_name(arg)}={shown(arg)}" for arg in rest)
        return f"%!(EXTRA {', '.join(told)})"

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
        self._spend((width or 0) + (precision or 0))
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
        return show(verb, self._args[self._arg - 1])

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
