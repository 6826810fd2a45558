"""What a reply is held to. Pure; matching.py makes it hold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from apps.errors import Problem
from apps.inference.engine.schemas import Data, SchemaError, tidy

REQUIRED = "required"
MOST_CALLS = 8  # in one reply


@dataclass(frozen=True)
class Thinking:
    """The tags around what a model thinks. `opening` is empty where the prompt ends inside."""

    opening: str
    closing: str


@dataclass(frozen=True)
class Written:
    """How calls are written among text: JSON between tags, with the arguments under this name. Without an opening tag
    a call is the whole reply."""

    opening: str = ""
    closing: str = ""
    arguments: str = "arguments"


@dataclass(frozen=True)
class Grammar:
    """`json` is any object, `schema` an instance of `schema`, `tools` a call {"name", "arguments"} of the tool that
    `choice` names, or with "required" a call of any of them or a list of calls. `tools` are definitions as on the wire.
    `strict` is text in which calls may stand as they are `written`: those of tools that are strict hold to their
    schema, and a reply that begins with a brace, fenced or not, is a call.

    With `thinking` the grammar begins behind the closing tag, or at once where the model does not open with a thought.
    """

    kind: Literal["json", "schema", "tools", "strict"]
    schema: Data | None = None
    tools: tuple[Data, ...] = ()
    choice: str = REQUIRED
    thinking: Thinking | None = None
    written: Written | None = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, thinking: Thinking | None = None) -> "Grammar":
        """`thinking` is for a command that says apart from the grammar that the model thinks first."""
        given, written = data.get("thinking"), data.get("written")
        return cls(
            kind=data["kind"],
            schema=data.get("schema"),
            tools=tuple(data.get("tools") or ()),
            choice=data.get("choice") or REQUIRED,
            thinking=thinking or (Thinking(**given) if given else None),
            written=Written(**written) if written else None,
        )

    def as_schema(self) -> Data:
        """The JSON Schema of the reply, or of a call in it. Raises Problem, with the reason for the caller."""
        try:
            if self.kind == "json":
                return {"type": "object"}
            if self.written:
                return _any_call(self.tools, self.written.arguments)
            return tidy(self.schema) if self.kind == "schema" else _calls(self.tools, self.choice)
        except SchemaError as error:
            raise refused(str(error)) from error


def refused(reason: str) -> Problem:
    return Problem("invalid", f"the format cannot be used: {reason}")


def _calls(tools: tuple[Data, ...], choice: str) -> Data:
    functions = [tool.get("function", tool) for tool in tools]
    if choice != REQUIRED:
        functions = [function for function in functions if function.get("name") == choice]
    if not functions:
        raise SchemaError(f"no tool is named {choice!r}" if choice != REQUIRED else "no tool was given")
    definitions, one = _alternatives(functions, "arguments")
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_CALLS}
    return {"$defs": definitions, **(one if choice != REQUIRED else {"anyOf": [*one["anyOf"], several]})}


def _any_call(tools: tuple[Data, ...], arguments: str) -> Data:
    """A call of any tool; one that is not strict may be called with any object."""
    functions = [tool.get("function", tool) for tool in tools]
    held = [each if each.get("strict") else {**each, "parameters": {"type": "object"}} for each in functions]
    definitions, one = _alternatives(held, arguments)
    return {"$defs": definitions, **one}


def _alternatives(functions: Sequence[Data], arguments: str) -> tuple[Data, Data]:
    definitions = {f"call{number}": _call(function, number, arguments) for number, function in enumerate(functions)}
    return definitions, {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions]}


def _call(function: Data, number: int, key: str) -> Data:
    """One call of one tool, its arguments under this key. The references of its parameters begin at the parameters."""
    place = f"#/$defs/call{number}/properties/{key}"
    parameters = function.get("parameters") or {"type": "object"}
    try:
        arguments = tidy({"type": "object", **parameters}, at=place)
    except SchemaError as error:
        raise SchemaError(f"{error} (the parameters of {function['name']!r})") from error
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, key: arguments},
        "required": ["name", key],
        "additionalProperties": False,
    }
