"""The native API, as Ollama's clients speak it (contract, sections 3 to 12)."""

from typing import Any, Final

from apps.api.documentation.operations import JSON, NDJSON, PLAIN, STREAMED, Operation
from apps.api.documentation.shapes import (
    Shape,
    a_list,
    anything,
    flag,
    mapping,
    moment,
    number,
    one_of,
    record,
    ref,
    text,
    whole,
    words,
)

INFERENCE: Final = "Ollama: inference"
MODELS: Final = "Ollama: models"
SERVER: Final = "Server"
RUN_ERRORS: Final = (400, 404, 413, 429, 499, 500, 503)
MODEL_ERRORS: Final = (400, 404, 409, 413, 499, 500, 503, 507)
MESSAGE: Final = [{"role": "user", "content": "Why is the sky blue?"}]

_model = text("A model's name, `[host/][namespace/]model[:tag]`.")
_stream = flag("Absent or null is true.")
_keep_alive = one_of(text("A duration: `5m`, `1h30m`, `-1m` for ever."), number("Seconds; negative is for ever."))
_think = one_of(flag(), words("low", "medium", "high", "max"), description="Only for models that can think.")
_format = one_of(words("json", ""), mapping(description="A JSON Schema."), description="What the answer must be.")
_options = mapping(description="Options of this request; see the Options schema. Unknown names are ignored.")
_logprobs = flag("Whether to tell how likely each token was.")
_top_logprobs = whole("How many likelier tokens to name beside each.", minimum=0, maximum=20)
_images = a_list(text("Base64.", contentEncoding="base64"))
_counts = {
    "total_duration": whole("Nanoseconds, as all durations."),
    "load_duration": whole(),
    "prompt_eval_count": whole("Tokens of the prompt."),
    "prompt_eval_duration": whole(),
    "eval_count": whole("Tokens of the answer."),
    "eval_duration": whole(),
    "prompt_dropped_count": whole("Tokens of the prompt that did not fit; absent where all did."),
}
_answer = {
    "model": text("As typed."),
    "created_at": moment(),
    "done": flag(),
    "done_reason": words("stop", "length", "load", "unload"),
    "logprobs": a_list(ref("Logprob")),
    **_counts,
}

SCHEMAS: Final[dict[str, Shape]] = {
    "Error": record("error", "The error of the native API and of Corral's own.", error=text()),
    "Options": record(
        "", "null leaves an option to the model.",
        num_ctx=whole(), num_predict=whole(), num_keep=whole(), num_batch=whole(), num_gpu=whole(), main_gpu=whole(),
        use_mmap=flag(), num_thread=whole(), seed=whole(), temperature=number(), top_k=whole(), top_p=number(),
        min_p=number(), typical_p=number(), repeat_last_n=whole(), repeat_penalty=number(), presence_penalty=number(),
        frequency_penalty=number(), stop=a_list(text()),
    ),
    "Logprob": record(
        "token logprob", token=text(), logprob=number(), bytes=a_list(whole()),
        top_logprobs=a_list(record("token logprob", token=text(), logprob=number(), bytes=a_list(whole()))),
    ),
    "ToolCall": record(
        "function", id=text(), function=record("name", name=text(), arguments=mapping(), index=whole())
    ),
    "Message": record(
        "role", role=text("system, user, assistant or tool."), content=text(), thinking=text(), images=_images,
        tool_calls=a_list(ref("ToolCall")), tool_name=text(), tool_call_id=text(),
    ),
    "Tool": record(
        "type function", type=words("function"),
        function=record("name", name=text(), description=text(), parameters=mapping(description="A JSON Schema.")),
    ),
    "GenerateAnswer": record(
        "model created_at done", response=text(), thinking=text(), context=a_list(whole()), **_answer
    ),
    "ChatAnswer": record("model created_at done", message=ref("Message"), **_answer),
    "Progress": record(
        status=text(), digest=text(), total=whole(), completed=whole(), error=text("What went wrong: the last line.")
    ),
    "ModelDetails": record(
        parent_model=text(), format=text(), family=text(), families={"type": ["array", "null"], "items": text()},
        parameter_size=text(), quantization_level=text(),
    ),
}  # fmt: skip


def _streaming(shape: Shape) -> dict[int, dict[str, Shape]]:
    """One object a line, or one object where the request says `"stream": false`."""
    return {200: {NDJSON: shape, JSON: shape}}


def _job(summary: str, body: Shape, example: Any) -> Operation:
    return Operation(
        summary, MODELS, STREAMED, body=body, example=example, replies=_streaming(ref("Progress")), errors=MODEL_ERRORS
    )


OPERATIONS: Final[dict[str, Operation]] = {
    "GET /": Operation("Alive", SERVER, replies={200: {PLAIN: text()}}, open_=True),
    "GET /api/version": Operation(
        "Version", SERVER, replies={200: {JSON: record("version", version=text())}}, open_=True
    ),
    "GET /api/status": Operation(
        "Whether models run in a cloud: never", SERVER, replies={200: {JSON: record("cloud", cloud=mapping())}},
        open_=True,
    ),
    "POST /api/me": Operation(
        "Who I am", SERVER, replies={200: {JSON: record("id name", id=text(), email=text(), name=text(), plan=text())}}
    ),
    "POST /api/generate": Operation(
        "Complete a prompt", INFERENCE,
        f"An empty prompt loads the model, with `keep_alive` 0 it unloads it. {STREAMED}",
        body=record(
            "model", model=_model, prompt=text(), suffix=text("What comes after the answer."), system=text(),
            template=text(), context=a_list(whole(), "Of an earlier answer."), stream=_stream,
            raw=flag("Send the prompt to the model as it is."), format=_format, keep_alive=_keep_alive, images=_images,
            options=_options, think=_think, truncate=flag("false refuses a prompt that does not fit."), shift=flag(),
            logprobs=_logprobs, top_logprobs=_top_logprobs,
        ),
        example={"model": "llama3.2", "prompt": "Why is the sky blue?", "stream": False},
        replies=_streaming(ref("GenerateAnswer")), errors=RUN_ERRORS,
    ),
    "POST /api/chat": Operation(
        "Answer a conversation", INFERENCE, f"No messages load the model. {STREAMED}",
        body=record(
            "model", model=_model, messages=a_list(ref("Message")), tools=a_list(ref("Tool")), stream=_stream,
            format=_format, keep_alive=_keep_alive, options=_options, think=_think, truncate=flag(), shift=flag(),
            logprobs=_logprobs, top_logprobs=_top_logprobs,
        ),
        example={"model": "llama3.2", "messages": MESSAGE, "stream": False},
        replies=_streaming(ref("ChatAnswer")), errors=RUN_ERRORS,
    ),
    "POST /api/embed": Operation(
        "Embed texts", INFERENCE,
        body=record(
            "model", model=_model, input=one_of(text(), a_list(text())), truncate=flag(), dimensions=whole(minimum=0),
            options=_options, keep_alive=_keep_alive,
        ),
        example={"model": "all-minilm", "input": ["Why is the sky blue?", "Why is the grass green?"]},
        replies={200: {JSON: record(
            "model embeddings", model=text(), embeddings=a_list(a_list(number())), total_duration=whole(),
            load_duration=whole(), prompt_eval_count=whole(),
        )}},
        errors=RUN_ERRORS,
    ),
    "POST /api/embeddings": Operation(
        "Embed one text (older form)", INFERENCE,
        body=record("model", model=_model, prompt=text(), options=_options, keep_alive=_keep_alive),
        example={"model": "all-minilm", "prompt": "Why is the sky blue?"},
        replies={200: {JSON: record("embedding", embedding=a_list(number()))}}, errors=RUN_ERRORS,
    ),
    "GET /api/tags": Operation(
        "The models I may use", MODELS,
        replies={200: {JSON: record("models", models=a_list(record(
            "name model", name=text(), model=text(), modified_at=moment(), size=whole("Bytes."), digest=text(),
            details=ref("ModelDetails"), capabilities=a_list(text()),
        )))}},
        errors=(503,),
    ),
    "GET /api/ps": Operation(
        "The models that are loaded", MODELS,
        replies={200: {JSON: record("models", models=a_list(record(
            "name model", name=text(), model=text(), size=whole(), digest=text(), details=ref("ModelDetails"),
            expires_at=moment(), size_vram=whole(), context_length=whole(),
        )))}},
        errors=(503,),
    ),
    "POST /api/show": Operation(
        "All about a model", MODELS,
        body=record("model", model=_model, system=text(), verbose=flag(), options=_options),
        example={"model": "llama3.2"},
        replies={200: {JSON: record(
            "model_info", license=text(), modelfile=text(), parameters=text(), template=text(), system=text(),
            details=ref("ModelDetails"), messages=a_list(ref("Message")), model_info=mapping(),
            capabilities=a_list(text()), modified_at=moment(), tensors=anything(), projector_info=mapping(),
        )}},
        errors=(400, 404, 413, 500, 503),
    ),
    "POST /api/create": _job(
        "Make a model",
        record(
            model=text(), name=text("Older name of `model`."), from_=text(), modelfile=text("Older form."),
            files=mapping(text()), adapters=mapping(text()), template=text(), system=text(),
            license=one_of(text(), a_list(text())), parameters=mapping(), messages=a_list(ref("Message")),
            quantize=text(), requires=text(), stream=_stream,
        ),
        {"model": "mario", "from": "llama3.2", "system": "You are Mario from Super Mario Bros."},
    ),
    "POST /api/pull": _job(
        "Get a model from a registry", record("model", model=_model, insecure=flag(), stream=_stream),
        {"model": "llama3.2"},
    ),
    "POST /api/push": _job(
        "Send a model to a registry", record("model", model=_model, insecure=flag(), stream=_stream),
        {"model": "alice/mario"},
    ),
    "POST /api/copy": Operation(
        "Give a model a second name", MODELS,
        body=record("source destination", source=_model, destination=_model),
        example={"source": "llama3.2", "destination": "llama3-backup"}, replies={200: {}}, errors=MODEL_ERRORS,
    ),
    "DELETE /api/delete": Operation(
        "Delete a model", MODELS, body=record("model", model=_model), example={"model": "llama3-backup"},
        replies={200: {}}, errors=MODEL_ERRORS,
    ),
    "HEAD /api/blobs/{digest}": Operation(
        "Whether I may name a blob", MODELS, replies={200: {}}, errors=(400, 404),
        parts={"digest": "`sha256:` and 64 hex digits."},
    ),
    "POST /api/blobs/{digest}": Operation(
        "Upload a blob", MODELS, body={"type": "string", "format": "binary"}, body_type="application/octet-stream",
        replies={200: {}, 201: {}}, errors=(400, 499, 503, 507), parts={"digest": "`sha256:` and 64 hex digits."},
    ),
}  # fmt: skip
