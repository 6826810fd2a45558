"""Go's comparisons: of basic values of one kind, and of anything with nil."""

from collections.abc import Sequence
from typing import Any

from apps.inference.prompt.gotemplate import printing, values
from apps.inference.prompt.gotemplate.limits import Allowance

_KINDS = {bool: "bool", int: "int", float: "float", complex: "complex", str: "string"}


class FunctionError(Exception):
    """What Go's function would have returned as its error."""


def _kind(value: object) -> str:
    """ "" for what has no order and no equality of its own."""
    exact = _KINDS.get(type(value), "")
    return exact or next((name for kind, name in _KINDS.items() if isinstance(value, kind)), "")


def equal(first: Any, others: Sequence[Any], allowance: Allowance) -> bool:
    """Whether it equals one of the others. The first one that does ends the search, as in Go."""
    if not others:
        raise FunctionError("missing argument for comparison")
    kind = _kind(first)
    return any(_same(first, other, kind, allowance) for other in others)


def _same(first: Any, second: Any, kind: str, allowance: Allowance) -> bool:
    if kind != _kind(second):
        if first is None or second is None:
            return False
        raise FunctionError("incompatible types for comparison")
    if kind:
        return bool(first == second)
    if first is None or second is None:
        return first is second
    for value in (first, second):
        if not values.is_struct(value):
            raise FunctionError(f"non-comparable type {printing.shown(value, allowance)}: {values.type_name(value)}")
    allowance.spend(values.steps(first))
    return bool(first == second)


def less(first: Any, second: Any) -> bool:
    kinds = _kind(first), _kind(second)
    if "" in kinds:
        raise FunctionError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise FunctionError("incompatible types for comparison")
    if kinds[0] in ("bool", "complex"):
        raise FunctionError("invalid type for comparison")
    return bool(first < second)


def less_or_equal(first: Any, second: Any, allowance: Allowance) -> bool:
    return less(first, second) or equal(first, [second], allowance)
