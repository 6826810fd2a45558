"""What the endpoints have in common: sampling, stop words, thinking, the form of the answer. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields, go_type
from apps.inference.types import Format
from apps.registry.resolve import Version

EFFORTS: Final[Mapping[str, bool | str]] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "ultra": "max",
    "max": "max",
}  # fmt: skip
EFFORT_NAMES: Final = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
TEMPERATURE: Final = 1.0  # when absent, whatever the model's own PARAMETER says
TOP_P: Final = 1.0
TOP_LOGPROBS: Final = 20


def sampling(body: Fields, **fixed: Any) -> dict[str, Any]:
    """The options of a chat or a completion, by their native names; None leaves one to the model."""
    temperature, top_p = body.number("temperature"), body.number("top_p")
    return {
        "temperature": TEMPERATURE if temperature is None else temperature,
        "top_p": TOP_P if top_p is None else top_p,
        "seed": body.integer("seed"),
        "frequency_penalty": body.number("frequency_penalty"),
        "presence_penalty": body.number("presence_penalty"),
        **fixed,
    }


def stop(body: Fields, *, strict: bool) -> list[str] | None:
    """A string or a list. A chat skips what is no string in it, a completion refuses it (contract, 13.2 and 13.3)."""
    given = body.given("stop")
    if given is None or isinstance(given, str):
        return None if given is None else [given]
    if not isinstance(given, list):
        raise body.wrong("stop", "a string or an array of strings")
    for word in given:
        if strict and not isinstance(word, str):
            raise Refusal(f"invalid type for 'stop' field: {go_type(word)}", param="stop", name="invalid_type")
    return [word for word in given if isinstance(word, str)]


def think(body: Fields) -> bool | str | None:
    """`reasoning.effort`, else `reasoning_effort`; None where neither is given."""
    reasoning = body.inner("reasoning")
    inner = reasoning.text("effort") if reasoning else ""
    value = inner or body.text("reasoning_effort")
    if not value:
        return None
    if value not in EFFORTS:
        param = "reasoning.effort" if inner else "reasoning_effort"
        raise Refusal(f'invalid reasoning value: "{value}" (must be {EFFORT_NAMES})', param=param)
    return EFFORTS[value]


def thinking(asked: bool | str | None, version: Version) -> bool | str | None:
    """Models that can think do so by default (contract, section 6.2)."""
    return True if asked is None and "thinking" in version.capabilities else asked


def answer_format(given: Fields | None, schema: Fields | None) -> Format | None:
    """`given` is the object with the type, `schema` the one that holds the schema."""
    kind = given.text("type") if given else ""
    if given is None or kind in {"", "text"}:
        return None
    if kind == "json_object":
        return Format("json")
    if kind != "json_schema":
        raise Refusal(
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            param=given.place("type"), name="invalid_value",
        )  # fmt: skip
    if schema is None:
        raise given.missing("json_schema")
    inner = schema.inner("schema")
    if inner is None:
        raise schema.missing("schema")
    return Format("schema", inner.data)


def refuse(body: Fields, reasons: Mapping[str, str]) -> None:
    """Fields that would change the answer and are not served; empty values count as absent."""
    for name, why in reasons.items():
        if body.given(name) not in (None, False, "", [], {}):
            raise Refusal(f"'{name}' is not supported: {why}", param=name, name="unsupported_parameter")
