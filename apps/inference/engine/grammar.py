"""What a reply is held to. Pure; matching.py makes it hold."""

from collections.abc import Mapping
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
class Grammar:
    """`json` is any object, `schema` an instance of `schema`, `tools` a call {"name", "arguments"} of the tool that
    `choice` names, or with "required" a call of any of them or a list of calls. `tools` are definitions as on the wire.

    With `thinking` the grammar begins behind the closing tag, or at once where the model does not open with a thought.
    """

    kind: Literal["json", "schema", "tools"]
    schema: Data | None = None
    tools: tuple[Data, ...] = ()
    choice: str = REQUIRED
    thinking: Thinking | None = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, thinking: Thinking | None = None) -> "Grammar":
        """`thinking` is for a command that says apart from the grammar that the model thinks first."""
        given = data.get("thinking")
        return cls(
            kind=data["kind"],
            schema=data.get("schema"),
            tools=tuple(data.get("tools") or ()),
            choice=data.get("choice") or REQUIRED,
            thinking=thinking or (Thinking(**given) if given else None),
        )

    def as_schema(self) -> Data:
        """The JSON Schema of the reply. Raises Problem, with the reason for the caller."""
        try:
            if self.kind == "json":
                return {"type": "object"}
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
    definitions = {f"call{number}": _call(function, number) for number, function in enumerate(functions)}
    one: Data = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions]}
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_CALLS}
    return {"$defs": definitions, **(one if choice != REQUIRED else {"anyOf": [*one["anyOf"], several]})}


def _call(function: Data, number: int) -> Data:
    """One call of one tool. The references of its parameters begin at the parameters."""
    place = f"#/$defs/call{number}/properties/arguments"
    parameters = function.get("parameters") or {"type": "object"}
    try:
        arguments = tidy({"type": "object", **parameters}, at=place)
    except SchemaError as error:
        raise SchemaError(f"{error} (the parameters of {function['name']!r})") from error
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
