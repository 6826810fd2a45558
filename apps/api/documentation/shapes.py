"""Words for JSON Schema (2020-12, as OpenAPI 3.1 uses it), so that declarations read as tables. Pure."""

from typing import Any

Shape = dict[str, Any]


def text(description: str = "", **more: Any) -> Shape:
    return _described({"type": "string"}, description, more)


def whole(description: str = "", **more: Any) -> Shape:
    return _described({"type": "integer"}, description, more)


def number(description: str = "", **more: Any) -> Shape:
    return _described({"type": "number"}, description, more)


def flag(description: str = "", **more: Any) -> Shape:
    return _described({"type": "boolean"}, description, more)


def moment(description: str = "") -> Shape:
    return text(description, format="date-time")


def anything(description: str = "") -> Shape:
    return _described({}, description, {})


def a_list(item: Shape, description: str = "", **more: Any) -> Shape:
    return _described({"type": "array", "items": item}, description, more)


def words(*values: str, description: str = "") -> Shape:
    return text(description, enum=list(values))


def one_of(*shapes: Shape, description: str = "") -> Shape:
    return _described({"anyOf": list(shapes)}, description, {})


def mapping(value: Shape | None = None, description: str = "") -> Shape:
    return _described({"type": "object", "additionalProperties": value if value is not None else True}, description, {})


def nullable(shape: Shape) -> Shape:
    """null counts as absent in every request body of the dialects; said where a reply may hold it."""
    return {**shape, "type": [shape["type"], "null"]} if "type" in shape else {"anyOf": [shape, {"type": "null"}]}


def record(required: str = "", description: str = "", /, **fields: Shape) -> Shape:
    """An object; more fields than declared may come. `required` names some, separated by spaces; `from_` is `from`."""
    shape: Shape = {"type": "object", "properties": {name.rstrip("_"): field for name, field in fields.items()}}
    if required:
        shape["required"] = required.split()
    return _described(shape, description, {})


def ref(name: str) -> Shape:
    """A schema of document.SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def _described(shape: Shape, description: str, more: Shape) -> Shape:
    return {**shape, **({"description": description} if description else {}), **more}
