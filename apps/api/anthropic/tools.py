"""`tools` and `tool_choice`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.api.anthropic.errors import Refusal
from apps.api.anthropic.fields import Fields

WORDS: Final[Mapping[str, str]] = {"auto": "auto", "any": "required", "none": "none"}
RESERVED: Final = frozenset(WORDS.values())  # what inference means by them is no tool's name


@dataclass(frozen=True)
class Tools:
    """`choice` as inference takes it; `strict` where a tool asks for arguments that hold to its schema.

    `single` where at most one call is wanted.
    """

    definitions: tuple[dict[str, Any], ...] = ()
    choice: str = "auto"
    strict: bool = False
    single: bool = False


def read(body: Fields) -> Tools:
    given = list(body.objects("tools"))
    definitions = tuple(_definition(tool) for tool in given)
    strict = True in [tool.flag("strict") for tool in given]
    choice = body.inner("tool_choice")
    if choice is None:
        return Tools(definitions, strict=strict)
    return Tools(definitions, _choice(choice, definitions), strict, single=choice.flag("disable_parallel_tool_use"))


def _definition(tool: Fields) -> dict[str, Any]:
    kind, name = tool.text("type"), tool.text("name")
    if kind not in {"", "custom"}:
        raise Refusal(
            f"{tool.place('type')}: this server has no tool of type '{kind}', only those with an input_schema"
        )
    if not name:
        raise tool.missing("name")
    schema = tool.given("input_schema")
    if schema is not None and not isinstance(schema, dict):
        raise Refusal(f'invalid input_schema for tool "{name}": it must be a JSON Schema object')
    about: dict[str, Any] = {"description": tool.text("description")} if tool.text("description") else {}
    about |= {"strict": True} if tool.flag("strict") else {}
    parameters = {"type": "object", "properties": {}} if schema is None else schema
    return {"type": "function", "function": {"name": name, **about, "parameters": parameters}}


def _choice(choice: Fields, definitions: Sequence[Mapping[str, Any]]) -> str:
    kind = choice.needed("type")
    if kind not in {*WORDS, "tool"}:
        raise choice.wrong("type", "'auto', 'any', 'tool' or 'none'")
    if not definitions and kind in {"any", "tool"}:
        raise Refusal(f"{choice.where}: may only be specified while providing tools")
    return WORDS[kind] if kind in WORDS else _named(choice, definitions)


def _named(choice: Fields, definitions: Sequence[Mapping[str, Any]]) -> str:
    name = choice.needed("name")
    if name in RESERVED or name not in {definition["function"]["name"] for definition in definitions}:
        raise Refusal(f"{choice.where}: Tool '{name}' not found in provided tools")
    return name
