"""Messages, tools and calls as Go templates see them. Pure. Source: the wire contract, section 19.2.

Fields have Go's names and are all there, as a missing one is an error in Go. All of them print as the JSON that is on
the wire, and so do the function `json` and a `range` keep the order given.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.inference.prompt.gotemplate import Struct
from apps.inference.types import Message, ToolCall

_ESCAPES = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"})


def as_json(value: Any) -> str:
    """Compact, in the order given, with the escapes of Go's encoder."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


class Told(Struct):
    """A struct with its JSON."""

    def __init__(self, go_type: str, fields: Mapping[str, Any], wire: Any) -> None:
        super().__init__(fields, go_type)
        self._wire = wire

    def __str__(self) -> str:
        return as_json(self._wire)


class Table(dict[str, Any]):
    """A map with its JSON."""

    def __init__(self, entries: Mapping[str, Any], wire: Any) -> None:
        super().__init__(entries)
        self._wire = wire

    def __str__(self) -> str:
        return as_json(self._wire)


class Items(list[Any]):
    """A slice with its JSON."""

    def __init__(self, items: Iterable[Any], wire: Any) -> None:
        super().__init__(items)
        self._wire = wire

    def __str__(self) -> str:
        return as_json(self._wire)


def collated(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The text of all system messages, and the messages with neighbours of one role made one (but for tools')."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role != "tool":
            merged[-1] = _merged(merged[-1], message)
        else:
            merged.append(message)
    return "\n\n".join(message.content for message in messages if message.role == "system"), merged


def _merged(first: Message, second: Message) -> Message:
    """Nothing of the second is lost: with a call, it may well have no text."""
    return replace(
        first,
        content=f"{first.content}\n\n{second.content}",
        thinking=first.thinking or second.thinking,
        images=first.images + second.images,
        tool_calls=first.tool_calls + second.tool_calls,
    )


def messages(said: Sequence[Message]) -> list[Told]:
    return [_message(message) for message in said]


def _message(message: Message) -> Told:
    calls = [_call(call, place) for place, call in enumerate(message.tool_calls)]
    fields = {
        "Role": message.role,
        "Content": message.content,
        "Thinking": message.thinking,
        "Images": list(message.images),
        "ToolCalls": calls,
        "ToolName": message.tool_name,
        "ToolCallID": message.tool_call_id,
    }
    return Told("*api.Message", fields, {"role": message.role, "content": message.content})


def _call(call: ToolCall, place: int) -> Told:
    function = {"index": place, "name": call.name, "arguments": call.arguments}
    fields = {"Index": place, "Name": call.name, "Arguments": Table(call.arguments, call.arguments)}
    wire = {**({"id": call.id} if call.id else {}), "function": function}
    return Told("api.ToolCall", {"ID": call.id, "Function": Told("api.ToolCallFunction", fields, function)}, wire)


def tools(definitions: Sequence[Mapping[str, Any]]) -> Items:
    return Items(map(_tool, definitions), list(definitions))


def _tool(definition: Mapping[str, Any]) -> Told:
    function = _mapping(definition.get("function"))
    fields = {
        "Name": function.get("name", ""),
        "Description": function.get("description", ""),
        "Parameters": _schema("api.ToolFunctionParameters", _mapping(function.get("parameters"))),
    }
    whole = {
        "Type": definition.get("type", "function"),
        "Items": definition.get("items"),
        "Function": Told("api.ToolFunction", fields, function),
    }
    return Told("api.Tool", whole, definition)


def _schema(go_type: str, schema: Mapping[str, Any]) -> Told:
    """A JSON Schema's fields, those of the schemas inside it too."""
    properties = _mapping(schema.get("properties"))
    inside = {name: _schema("api.ToolProperty", _mapping(each)) for name, each in properties.items()}
    fields = {
        "Type": _type(schema.get("type", "")),
        "Description": schema.get("description", ""),
        "Enum": _list(schema.get("enum")),
        "Items": schema.get("items"),
        "AnyOf": [_schema("api.ToolProperty", _mapping(each)) for each in _list(schema.get("anyOf"))],
        "Required": _list(schema.get("required")),
        "Defs": schema.get("$defs"),
        "Properties": Table(inside, properties),
    }
    return Told(go_type, fields, schema)


def _type(value: Any) -> Any:
    """One type prints bare, several as a list."""
    if not isinstance(value, list):
        return value
    return str(value[0]) if len(value) == 1 else value


def thinking(think: bool | str | None) -> dict[str, Any]:
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
