"""The functions a template can call: Go's own, and those Ollama adds.

A function gets its evaluated arguments and the run's allowance, of which it spends what it takes to look into them;
FunctionError carries Go's words for what is wrong.
`and` and `or` are not here: they do not evaluate all their arguments (execution.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from apps.inference.prompt.gotemplate import comparing, escaping, gojson, printing, values
from apps.inference.prompt.gotemplate.comparing import FunctionError
from apps.inference.prompt.gotemplate.limits import Allowance
from apps.inference.prompt.gotemplate.quoting import QUOTED_A_STEP, byte_length, decoded, encoded


@dataclass(frozen=True, slots=True)
class Function:
    """`most` None: any number of arguments. `texts`: how many of the first must be strings (-1: all)."""

    call: Callable[[Sequence[Any], Allowance], Any]
    least: int
    most: int | None
    texts: int = 0


def _place(value: object, length: int) -> int:
    """An index or a bound. A nil has no type to name."""
    if value is None:
        raise FunctionError("cannot index slice/array with nil")
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionError(f"cannot index slice/array with type {values.type_name(value)}")
    if not 0 <= value <= length:
        raise FunctionError(f"index out of range: {value}")
    return value


def _index(args: Sequence[Any], _allowance: Allowance) -> Any:
    value = args[0]
    if value is None:
        raise FunctionError("index of untyped nil")
    for key in args[1:]:
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if value is None:
        raise FunctionError("index of nil pointer")
    if isinstance(value, Mapping) and not values.is_struct(value):
        if not isinstance(key, str):
            raise FunctionError(f"value has type {values.type_name(key)}; should be string")
        return value.get(key)
    if not isinstance(value, str) and not values.is_list(value):
        raise FunctionError(f"can't index item of type {values.type_name(value)}")
    items = encoded(value) if isinstance(value, str) else value
    place = _place(key, len(items))
    if place == len(items):
        raise FunctionError(f"index out of range: {place}")
    return items[place]


def _slice(args: Sequence[Any], _allowance: Allowance) -> Any:
    """A string is cut by its bytes, as Go's."""
    value, bounds = args[0], args[1:]
    if value is None:
        raise FunctionError("slice of untyped nil")
    if len(bounds) > 3:
        raise FunctionError(f"too many slice indexes: {len(bounds)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise FunctionError("cannot 3-index slice a string")
    if not isinstance(value, str) and not values.is_list(value):
        raise FunctionError(f"can't slice item of type {values.type_name(value)}")
    items = encoded(value) if isinstance(value, str) and not value.isascii() else value
    places = [_place(bound, len(items)) for bound in bounds]
    for first, second in zip(places, places[1:], strict=False):
        if first > second:
            raise FunctionError(f"invalid slice index: {first} > {second}")
    part = items[places[0] if places else 0 : places[1] if len(places) > 1 else len(items)]
    return decoded(part) if isinstance(part, bytes) else part


def _len(args: Sequence[Any], _allowance: Allowance) -> int:
    value = args[0]
    if isinstance(value, str):
        return byte_length(value)
    if value is None:
        raise FunctionError("len of nil pointer")
    if not values.is_struct(value) and (isinstance(value, Mapping) or values.is_list(value)):
        return len(value)
    raise FunctionError(f"len of type {values.type_name(value)}")


def _call(args: Sequence[Any], _allowance: Allowance) -> Any:
    called = args[0]
    if called is None:
        raise FunctionError("call of nil")
    raise FunctionError(f"non-function of type {values.type_name(called)}")


def _printf(args: Sequence[Any], allowance: Allowance) -> str:
    return printing.sprintf(args[0], args[1:], allowance)


def _escaped(escape: Callable[[str], str], characters_a_step: int) -> Callable[[Sequence[Any], Allowance], str]:
    """`html` and its like. A nil is what an action would print."""

    def call(args: Sequence[Any], allowance: Allowance) -> str:
        text = printing.sprint(["<no value>" if arg is None else arg for arg in args], allowance)
        allowance.spend(len(text) // characters_a_step)
        return escape(text)

    return call


def _json(args: Sequence[Any], allowance: Allowance) -> str:
    allowance.spend(values.steps(args[0]))
    return gojson.written(args[0])


def _type_script(args: Sequence[Any], allowance: Allowance) -> str:
    value = args[0]
    allowance.spend(values.steps(value))
    return _type_of(value) if isinstance(value, Mapping) and "Type" in value else "any"


def _type_of(schema: Mapping[str, Any]) -> str:
    """A tool's property as TypeScript would declare it."""
    choices = schema.get("AnyOf") or ()
    if choices:
        return " | ".join(_type_of(choice) for choice in choices if isinstance(choice, Mapping))
    kinds = schema.get("Type") or "any"
    return " | ".join(_TYPE_SCRIPT.get(str(kind), "any") for kind in ([kinds] if isinstance(kinds, str) else kinds))


_TYPE_SCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _day(days_ago: int) -> Callable[[Sequence[Any], Allowance], str]:
    return lambda _args, _allowance: (date.today() - timedelta(days=days_ago)).isoformat()


FUNCTIONS: dict[str, Function] = {
    "not": Function(lambda args, _: not values.truth(args[0]), 1, 1),
    "eq": Function(lambda args, allowance: comparing.equal(args[0], args[1:], allowance), 1, None),
    "ne": Function(lambda args, allowance: not comparing.equal(args[0], args[1:], allowance), 2, 2),
    "lt": Function(lambda args, _: comparing.less(args[0], args[1]), 2, 2),
    "le": Function(lambda args, allowance: comparing.less_or_equal(args[0], args[1], allowance), 2, 2),
    "gt": Function(lambda args, allowance: not comparing.less_or_equal(args[0], args[1], allowance), 2, 2),
    "ge": Function(lambda args, _: not comparing.less(args[0], args[1]), 2, 2),
    "index": Function(_index, 1, None),
    "slice": Function(_slice, 1, None),
    "len": Function(_len, 1, 1),
    "call": Function(_call, 1, None),
    "print": Function(printing.sprint, 0, None),
    "println": Function(printing.sprintln, 0, None),
    "printf": Function(_printf, 1, None, texts=1),
    "html": Function(_escaped(escaping.html, values.CHARACTERS_A_STEP), 0, None),
    "js": Function(_escaped(escaping.js, QUOTED_A_STEP), 0, None),
    "urlquery": Function(_escaped(escaping.urlquery, QUOTED_A_STEP), 0, None),
    "json": Function(_json, 1, 1),
    "currentDate": Function(_day(0), 0, None, texts=-1),
    "yesterdayDate": Function(_day(1), 0, None, texts=-1),
    "toTypeScriptType": Function(_type_script, 1, 1),
}
NAMES = frozenset([*FUNCTIONS, "and", "or"])
