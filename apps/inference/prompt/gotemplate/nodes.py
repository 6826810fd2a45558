"""What a parsed template is made of. `str(node)` is Go's text of it, which execution errors quote.

`position` is the character in the source where a node begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    position: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, eq=False)
class Dot:
    position: int

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True, slots=True, eq=False)
class Nil:
    position: int

    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A boolean, a number or a text; `written` as in the source. `overflows`: too large for Go's int."""

    position: int
    written: str
    value: Any
    overflows: bool = False

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, eq=False)
class Identifier:
    """A function's name."""

    position: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    position: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "." + ".".join(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """`name` with its `$`, and the fields behind it."""

    position: int
    name: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Fields of what a parenthesised pipeline or a function gives."""

    position: int
    operand: Operand
    names: tuple[str, ...]

    def __str__(self) -> str:
        first = f"({self.operand})" if isinstance(self.operand, Pipe) else str(self.operand)
        return ".".join((first, *self.names))


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    position: int
    args: tuple[Operand, ...]

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(frozen=True, slots=True, eq=False)
class Pipe:
    """`declared` variables are set to the value of the last command; `assigns`: they exist already."""

    position: int
    commands: tuple[Command, ...]
    declared: tuple[Variable, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        names = ", ".join(map(str, self.declared))
        sign = (" = " if self.assigns else " := ") if names else ""
        return names + sign + " | ".join(map(str, self.commands))


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    position: int
    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """What `if`, `with` and `range` have in common."""

    position: int
    pipe: Pipe
    body: Body
    otherwise: Body | None

    def __str__(self) -> str:
        rest = "" if self.otherwise is None else "{{else}}" + "".join(map(str, self.otherwise))
        return f"{{{{{type(self).__name__.lower()} {self.pipe}}}}}{''.join(map(str, self.body))}{rest}{{{{end}}}}"


class If(Branch):
    __slots__ = ()


class With(Branch):
    __slots__ = ()


class Range(Branch):
    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    position: int

    def __str__(self) -> str:
        return "{{break}}"


@dataclass(frozen=True, slots=True, eq=False)
class Continue:
    position: int

    def __str__(self) -> str:
        return "{{continue}}"


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`{{template "name" pipe}}`, and what `{{block}}` leaves at its place."""

    position: int
    written: str
    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return f"{{{{template {self.written}{'' if self.pipe is None else f' {self.pipe}'}}}}}"


Operand = Dot | Nil | Literal | Identifier | Field | Variable | Chain | Pipe
Node = Text | Action | If | With | Range | Break | Continue | Call
Body = tuple[Node, ...]
