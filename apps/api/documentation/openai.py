"""The OpenAI dialect (contract, section 13)."""

from typing import Any, Final

from apps.api.documentation.operations import EVENTS, JSON, STREAMED, Operation
from apps.api.documentation.shapes import (
    Shape,
    a_list,
    anything,
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

TAG: Final = "OpenAI"
ERRORS: Final = (400, 404, 413, 429, 499, 500, 503)
DONE: Final = f"A stream is chunks as `data:` events and ends with `data: [DONE]`. {STREAMED}"

_model = text("A model's name, as /v1/models lists it.")
_effort = words("none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max")
_stream_options = record(include_usage=flag("A last chunk holds the usage."))
_sampling = {
    "temperature": number("1 when absent."), "top_p": number(), "seed": whole(), "frequency_penalty": number(),
    "presence_penalty": number(), "stop": one_of(text(), a_list(text())), "stream": flag("false when absent."),
    "stream_options": _stream_options, "n": whole("How many answers.", minimum=1, maximum=16),
}  # fmt: skip
_format = one_of(
    record("type", type=words("text", "json_object")),
    record(
        "type json_schema",
        type=words("json_schema"),
        json_schema=record("schema", name=text(), schema=mapping(), strict=flag()),
    ),
)
_choice = one_of(
    words("auto", "none", "required"), mapping(description='{"type": "function", …} or {"type": "allowed_tools", …}')
)
_part = record(
    "type", type=words("text", "image_url"), text=text(),
    image_url=one_of(text(), record("url", url=text("A data: URL; nothing is fetched."))),
)  # fmt: skip
_call = record(
    "function", id=text(), index=whole(), type=words("function"),
    function=record("name arguments", name=text(), arguments=text("A JSON object, as a string.")),
)  # fmt: skip
_finish = nullable(words("stop", "length", "tool_calls", "load"))
_head = {
    "id": text(),
    "object": text(),
    "created": whole("Seconds since 1970."),
    "model": text(),
    "system_fingerprint": text(),
}

SCHEMAS: Final[dict[str, Shape]] = {
    "OpenAIError": record(
        "error", error=record(
            "message type param code", message=text(), type=text(), param=nullable(text("Which field is wrong.")),
            code=nullable(text()),
        ),
    ),
    "OpenAIUsage": record(
        prompt_tokens=whole(), completion_tokens=whole(), total_tokens=whole(),
        prompt_tokens_details=record(cached_tokens=whole()),
    ),
    "OpenAIMessage": record(
        "role", role=text("system, developer, user, assistant or tool."),
        content=nullable(one_of(text(), a_list(_part))),
        reasoning=text("What was thought."), name=text(), tool_calls=a_list(_call), tool_call_id=text(),
    ),
    "OpenAITool": record(
        "type function", type=words("function"),
        function=record("name", name=text(), description=text(), parameters=mapping(), strict=flag()),
    ),
    "OpenAILogprobs": record(content=a_list(ref("Logprob"))),
    "ChatCompletion": record(
        "id object created model choices", **_head, usage=ref("OpenAIUsage"), prompt_dropped_count=whole(),
        choices=a_list(record(
            "index message finish_reason", index=whole(), message=ref("OpenAIMessage"), finish_reason=_finish,
            logprobs=ref("OpenAILogprobs"),
        )),
    ),
    "ChatCompletionChunk": record(
        "id object created model choices", **_head, usage=ref("OpenAIUsage"), prompt_dropped_count=whole(),
        choices=a_list(record(
            "index delta finish_reason", index=whole(), finish_reason=_finish, logprobs=ref("OpenAILogprobs"),
            delta=record(role=text(), content=text(), reasoning=text(), tool_calls=a_list(_call)),
        )),
    ),
    "Completion": record(
        "id object created model choices", **_head, usage=nullable(ref("OpenAIUsage")), prompt_dropped_count=whole(),
        choices=a_list(record(
            "text index finish_reason", text=text(), index=whole(), finish_reason=_finish, logprobs=mapping()
        )),
    ),
    "OpenAIModel": record("id object created owned_by", id=text(), object=text(), created=whole(), owned_by=text()),
    "Response": record(
        "id object status output", id=text(), object=words("response"), created_at=whole(),
        completed_at=nullable(whole()), status=words("in_progress", "completed", "incomplete", "failed"),
        incomplete_details=nullable(mapping()), error=nullable(mapping()), model=text(),
        output=a_list(mapping(description="reasoning, message and function_call items.")), usage=nullable(mapping()),
        instructions=anything(), tools=a_list(mapping()), tool_choice=anything(), text=mapping(), temperature=number(),
        top_p=number(), truncation=words("auto", "disabled"), parallel_tool_calls=flag(), reasoning=nullable(mapping()),
        max_output_tokens=nullable(whole()), metadata=mapping(), store=flag(), background=flag(),
    ),
}  # fmt: skip


def _operation(summary: str, description: str, body: Shape, example: Any, replies: dict[str, Shape]) -> Operation:
    return Operation(
        summary, TAG, description, body=body, example=example, replies={200: replies}, errors=(*ERRORS, 415),
        error="OpenAIError",
    )  # fmt: skip


OPERATIONS: Final[dict[str, Operation]] = {
    "POST /v1/chat/completions": _operation(
        "Answer a conversation", DONE,
        record(
            "model messages", model=_model, messages=a_list(ref("OpenAIMessage"), minItems=1), **_sampling,
            max_tokens=whole("Older name of max_completion_tokens."), max_completion_tokens=whole(),
            tools=a_list(ref("OpenAITool")), tool_choice=_choice,
            parallel_tool_calls=flag("false: one call at most."), response_format=_format, reasoning_effort=_effort,
            reasoning=record(effort=_effort), logprobs=flag(), top_logprobs=whole(minimum=0, maximum=20),
        ),
        {"model": "llama3.2", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
        {JSON: ref("ChatCompletion"), EVENTS: ref("ChatCompletionChunk")},
    ),
    "POST /v1/completions": _operation(
        "Complete a prompt", f"The prompt goes through the model's template. {DONE}",
        record(
            "model", model=_model, prompt=one_of(text(), a_list(text(), minItems=1)), suffix=text(), **_sampling,
            max_tokens=whole(), echo=flag("The prompt before the answer."), logprobs=whole(minimum=0, maximum=20),
        ),
        {"model": "llama3.2", "prompt": "1, 2, 3,", "max_tokens": 8},
        {JSON: ref("Completion"), EVENTS: ref("Completion")},
    ),
    "POST /v1/embeddings": _operation(
        "Embed texts", "",
        record(
            "model input", model=_model, input=one_of(text(), a_list(text(), minItems=1, maxItems=2048)),
            dimensions=whole(minimum=0), encoding_format=words("float", "base64"),
        ),
        {"model": "all-minilm", "input": ["Why is the sky blue?"]},
        {JSON: record(
            "object data model usage", object=words("list"), model=text(), usage=mapping(whole()),
            data=a_list(record(
                "index embedding", index=whole(), object=text(), embedding=one_of(text(), a_list(number()))
            )),
        )},
    ),
    "POST /v1/responses": _operation(
        "Make a response", "Nothing is stored: send the whole conversation. A stream is named events from "
        f"`response.created` to `response.completed`, `.incomplete` or `.failed`, without `[DONE]`. {STREAMED}",
        record(
            "model input", model=_model, input=one_of(text(), a_list(mapping(), minItems=1)), instructions=text(),
            max_output_tokens=whole(), temperature=number(), top_p=number(), tools=a_list(mapping()),
            tool_choice=_choice, parallel_tool_calls=flag(), text=record(format=mapping()),
            reasoning=record(effort=_effort, summary=text()),
            truncation=words("auto", "disabled"), include=a_list(text()), top_logprobs=whole(minimum=0, maximum=20),
            stream=flag(), metadata=mapping(),
        ),
        {"model": "llama3.2", "input": "Why is the sky blue?"},
        {JSON: ref("Response"), EVENTS: record("type sequence_number", type=text(), sequence_number=whole())},
    ),
    "GET /v1/models": Operation(
        "The models I may use", TAG, replies={200: {JSON: record(
            "object data", object=words("list"), data=a_list(ref("OpenAIModel"))
        )}}, errors=(503,), error="OpenAIError",
    ),
    "GET /v1/models/{name}": Operation(
        "One model", TAG, replies={200: {JSON: ref("OpenAIModel")}}, errors=(400, 404, 503), error="OpenAIError",
        parts={"name": "May hold slashes, encoded or not."},
    ),
}  # fmt: skip
