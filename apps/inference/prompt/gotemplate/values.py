"""Go's values in Python's clothes.

None is nil, bool, int, float and complex are Go's, str is a string. A list or tuple stands for a slice and a mapping
for a map: a key that it lacks is nil. A mapping with a `go_type` (Struct) stands for a struct: a field that it lacks is
an error. A container with a `__str__` of its own prints as that says, which is taken for its JSON too; such a mapping
is ranged over in the order given, where Go would sort its keys.
"""

from collections.abc import Mapping, Sequence
from typing import Any

CHARACTERS_A_STEP = 1024


class Struct(dict[str, Any]):
    """Fields by name. `go_type` is how errors call it."""

    def __init__(self, fields: Mapping[str, Any], go_type: str = "struct") -> None:
        super().__init__(fields)
        self.go_type = go_type


def is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def is_struct(value: object) -> bool:
    return hasattr(value, "go_type")


def truth(value: Any) -> bool:
    """Whether a value is not the zero of its type; a struct always is."""
    return is_struct(value) or bool(value)


def keys(value: Mapping[str, Any]) -> list[str]:
    """In the order in which a template ranges over them."""
    return list(value) if prints_itself(value) or is_struct(value) else sorted(value, key=str)


def is_basic(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | str)


def prints_itself(value: object) -> bool:
    """A container, or any other object, with a `__str__` of its own."""
    return not is_basic(value) and type(value).__str__ is not object.__str__


def type_name(value: object) -> str:
    """As Go's %T says it."""
    if is_struct(value):
        return str(getattr(value, "go_type", ""))
    if isinstance(value, Mapping):
        return "map[string]interface {}"
    if is_list(value):
        return "[]interface {}"
    names = {bool: "bool", int: "int", float: "float64", complex: "complex128", str: "string", type(None): "<nil>"}
    return names.get(type(value), "func" if callable(value) else type(value).__name__)


def size(value: object) -> int:
    """About how much a function that does not look into a container has to look at, in characters."""
    if isinstance(value, str):
        return len(value)
    return 64 * len(value) if isinstance(value, Sequence | Mapping) else 0


def steps(value: Any) -> int:
    """What it takes to write a value out: a few steps for each one in it, and one for every 1,024 characters."""
    if isinstance(value, str):
        return 1 + len(value) // CHARACTERS_A_STEP
    if isinstance(value, Mapping):
        return 2 + sum(map(steps, value.values()))
    if is_list(value):
        return 2 + sum(map(steps, value))
    return 8 if isinstance(value, float | complex) else 2


def characters(value: Any) -> int:
    """Of all texts in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(characters, value.values()))
    return sum(map(characters, value)) if is_list(value) else 0
