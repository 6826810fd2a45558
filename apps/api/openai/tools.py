"""`tools` and `tool_choice`, of chats and of responses alike. Pure.

A chat's definition wraps the function, `{"type": "function", "function": {…}}`; a response's has its fields beside the
type. Both become the former.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields

WORDS: Final = ("auto", "none", "required")


@dataclass(frozen=True)
class Tools:
    """`choice` as inference takes it; `strict` where a function asks for arguments that hold to its schema.

    `single` where at most one call is wanted.
    """

    definitions: tuple[dict[str, Any], ...] = ()
    choice: str = "auto"
    strict: bool = False
    single: bool = False


def read(body: Fields, *, flat: bool) -> Tools:
    """`flat` as responses write them."""
    definitions = _definitions(body, flat=flat)
    choice, definitions = _choice(body, definitions, flat=flat)
    strict = any(definition["function"].get("strict") is True for definition in definitions)
    return Tools(tuple(definitions), choice, strict, single=not body.flag("parallel_tool_calls", True))


def _definitions(body: Fields, *, flat: bool) -> list[dict[str, Any]]:
    return [definition for tool in body.objects("tools") for definition in _expanded(tool, flat=flat)]


def _expanded(tool: Fields, *, flat: bool) -> list[dict[str, Any]]:
    kind = tool.text("type", "" if flat else "function")
    if flat and kind == "namespace":
        prefix = tool.text("name")
        return [_function(member, f"{prefix}.{member.text('name')}") for member in tool.objects("tools")]
    if kind != "function":
        raise Refusal(f"this server has no tool of type '{kind}', only functions", param=tool.place("type"))
    function = tool if flat else tool.inner("function")
    if function is None:
        raise tool.missing("function")
    return [_function(function, function.text("name"))]


def _function(function: Fields, name: str) -> dict[str, Any]:
    """The fields a template may show, in the order given."""
    if not name:
        raise function.missing("name")
    function.text("description")
    function.inner("parameters")
    function.flag("strict")
    kept = {key: value for key, value in function.data.items() if key != "type" and value is not None}
    return {"type": "function", "function": {**kept, "name": name}}


def _choice(body: Fields, definitions: list[dict[str, Any]], *, flat: bool) -> tuple[str, list[dict[str, Any]]]:
    given = body.given("tool_choice")
    if given is None:
        return "auto", definitions
    if not isinstance(given, str | dict):
        raise body.wrong("tool_choice", "a string or an object")
    if not definitions:
        return _without_tools(given)
    if isinstance(given, str):
        return _word(given), definitions
    if given.get("type") == "allowed_tools":
        return _allowed(given, definitions)
    return _named(_name_in(given), definitions), definitions


def _without_tools(given: str | Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    if given in ("auto", "none"):
        return "auto", []
    raise Refusal("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")


def _word(given: str) -> str:
    if given not in WORDS:
        raise Refusal(
            f"Invalid value: '{given}'. Supported values are: 'none', 'auto', and 'required'.",
            param="tool_choice", name="invalid_value",
        )  # fmt: skip
    return given


def _name_in(choice: Mapping[str, Any]) -> str:
    """{"type": "function", "function": {"name"}} of a chat, {"type": "function", "name"} of a response."""
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else choice.get("name")
    if choice.get("type") != "function" or not isinstance(name, str) or not name:
        raise Refusal("tool_choice must name a function", param="tool_choice", name="invalid_value")
    return name


def _named(name: str, definitions: Sequence[Mapping[str, Any]]) -> str:
    if name in WORDS or name not in _names(definitions):
        raise Refusal(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return name


def _names(definitions: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(definition["function"]["name"]) for definition in definitions}


def _allowed(given: Mapping[str, Any], definitions: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """A subset for this one request, with "auto" or "required" as its mode."""
    inner = given.get("allowed_tools")
    choice = inner if isinstance(inner, dict) else given
    listed = choice.get("tools")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise Refusal("allowed_tools must list tools", param="tool_choice", name="invalid_value")
    names = {_named(_name_in(item), definitions) for item in listed}
    return _word(str(choice.get("mode", "auto"))), [each for each in definitions if each["function"]["name"] in names]
