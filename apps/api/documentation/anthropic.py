"""The Anthropic dialect (contract, section 14)."""

from typing import Any, Final

from apps.api.documentation.operations import EVENTS, JSON, STREAMED, Operation
from apps.api.documentation.shapes import (
    Shape,
    a_list,
    flag,
    mapping,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
    whole,
    words,
)

TAG: Final = "Anthropic"
ERRORS: Final = (400, 404, 413, 429, 499, 500, 503)
EXAMPLE: Final[dict[str, Any]] = {
    "model": "llama3.2",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}

_blocks = a_list(mapping(description="text, image (base64), thinking, tool_use and tool_result blocks."))
_conversation: dict[str, Shape] = {
    "model": text("A model's name."),
    "messages": a_list(
        record("role content", role=words("user", "assistant"), content=one_of(text(), _blocks)), minItems=1
    ),
    "system": one_of(text(), a_list(mapping())),
    "tools": a_list(record("name", name=text(), description=text(), input_schema=mapping())),
    "tool_choice": record("type", type=words("auto", "any", "tool", "none"), name=text()),
    "thinking": record("type", type=words("enabled", "disabled", "adaptive"), budget_tokens=whole()),
}

SCHEMAS: Final[dict[str, Shape]] = {
    "AnthropicError": record(
        "type error", type=words("error"), error=record("type message", type=text(), message=text()), request_id=text()
    ),
    "AnthropicMessage": record(
        "id type role content usage", id=text(), type=words("message"), role=words("assistant"), model=text(),
        content=a_list(mapping(description="thinking, text and tool_use blocks, in this order.")),
        stop_reason=nullable(words("end_turn", "max_tokens", "tool_use", "stop_sequence")),
        stop_sequence=nullable(text()), usage=record(input_tokens=whole(), output_tokens=whole()),
    ),
}  # fmt: skip

OPERATIONS: Final[dict[str, Operation]] = {
    "POST /v1/messages": Operation(
        "Answer a conversation",
        TAG,
        f"A stream is named events from `message_start` to `message_stop`. {STREAMED}",
        body=record(
            "model messages max_tokens",
            **_conversation,
            max_tokens=whole(minimum=1),
            temperature=number(),
            top_p=number(),
            top_k=whole(),
            stop_sequences=a_list(text()),
            stream=flag("false when absent."),
            metadata=mapping(),
        ),
        example=EXAMPLE,
        replies={200: {JSON: ref("AnthropicMessage"), EVENTS: record("type", type=text())}},
        errors=ERRORS,
        error="AnthropicError",
    ),
    "POST /v1/messages/count_tokens": Operation(
        "Count the tokens of a conversation",
        TAG,
        body=record("model messages", **_conversation),
        example={name: EXAMPLE[name] for name in ("model", "messages")},
        replies={200: {JSON: record("input_tokens", input_tokens=whole())}},
        errors=ERRORS,
        error="AnthropicError",
    ),
}
