"""JSON Schemas before they are compiled: their size bounded, what says nothing about an instance taken out. Pure.

The compiler refuses keywords that it does not know, which is right: a reply would not be what its schema says. Two are
no constraints and would be refused all the same: a `format` outside the standard (it is an annotation there), and
`uniqueItems` that is false.

An object whose properties are listed has no others, unless the schema says something about others: small models invent
properties without end, and Ollama and llama.cpp read schemas so too. An instance of the closed schema is one of the
open schema as well, as long as no two schemas must hold for one object: then all are left open.
"""

from collections.abc import Callable, Mapping
from typing import Any

DEEPEST = 100  # levels of one schema's text; the compiler's own reader ends at 128
MOST_NODES = 10_000  # objects and lists; the compiler recurses through references, and its stack is finite
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_COMBINE = frozenset({"allOf", "anyOf", "oneOf", "$ref"})
_OTHERS = frozenset(
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames", "minProperties"}
)
_VALUES = frozenset({"const", "enum", "default", "example", "examples"})

Data = dict[str, Any]


class SchemaError(Exception):
    """A sentence for the caller: why this schema cannot be used."""


def tidy(schema: Any, *, at: str = "#") -> Data:
    """A copy that can be compiled, its own references pointing below `at`. Raises SchemaError."""
    if not isinstance(schema, dict):
        raise SchemaError("a schema must be a JSON object")
    tidier = _Tidier(at)
    tidied = tidier.schema(schema, 0)
    if not tidier.combined:
        for one in tidier.listed:
            one["additionalProperties"] = False
    return tidied


class _Tidier:
    """`listed` are the copies of objects that could be closed; `combined` says that one object has several schemas."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._nodes = 0
        self.listed: list[Data] = []
        self.combined = False

    def schema(self, schema: Data, depth: int) -> Data:
        self._count(depth)
        kept = ((key, value) for key, value in schema.items() if not self._idle(key, value))
        tidied = {key: self._keyword(key, value, depth + 1) for key, value in kept}
        self._judge(tidied)
        return tidied

    def _judge(self, schema: Data) -> None:
        """Note whether the object may be closed; whoever is several schemas at once stays open."""
        properties = schema.get("properties")
        beside = isinstance(properties, dict) or "required" in schema or "minProperties" in schema
        self.combined = self.combined or "allOf" in schema or (beside and not schema.keys().isdisjoint(_COMBINE))
        required = schema.get("required", ())
        fits = isinstance(required, list | tuple) and isinstance(properties, dict) and properties.keys() >= {*required}
        if properties and fits and schema.keys().isdisjoint(_OTHERS):
            self.listed.append(schema)

    def _keyword(self, key: str, value: Any, depth: int) -> Any:
        if key in _VALUES:
            return self._copy(value, depth, self._value)
        if key in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            self._count(depth)
            return {name: self._any(inner, depth + 1) for name, inner in value.items()}
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            return self._at + value[1:]
        return self._any(value, depth)

    def _any(self, value: Any, depth: int) -> Any:
        return self.schema(value, depth) if isinstance(value, dict) else self._copy(value, depth, self._any)

    def _value(self, value: Any, depth: int) -> Any:
        return self._copy(value, depth, self._value)

    def _copy(self, value: Any, depth: int, inner: Callable[[Any, int], Any]) -> Any:
        if isinstance(value, dict):
            self._count(depth)
            return {key: inner(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            self._count(depth)
            return [inner(item, depth + 1) for item in value]
        return value

    def _idle(self, key: str, value: Any) -> bool:
        if key == "format":
            return not (isinstance(value, str) and value in FORMATS)
        if key == "$id":  # another base would lead the references astray
            return True
        if key == "$schema":  # only the standard's own drafts tell how to read the rest
            return not (isinstance(value, str) and "://json-schema.org/draft" in value)
        return key == "x-guidance" or (key == "uniqueItems" and value is False)

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise SchemaError(f"the schema has more than {MOST_NODES} objects and lists")
        if depth > DEEPEST:
            raise SchemaError(f"the schema is nested more than {DEEPEST} levels deep")
