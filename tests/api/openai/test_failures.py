"""Every endpoint's failures through one assertion: status, envelope, type, the field that is wrong, the sentence."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import zstandard

from apps.accounts.models import User
from tests.api.openai.conftest import Caller

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather"}}
REASONING = (
    'invalid reasoning value: "weird" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none")'
)
HTTP_IMAGE = "image URLs are not currently supported, please use base64 encoded data instead"


@dataclass(frozen=True)
class Failure:
    path: str
    body: Any
    error: str
    param: str | None = None
    status: int = 400
    code: str | None = None


def chat(error: str, param: str | None = None, status: int = 400, code: str | None = None, **fields: Any) -> Failure:
    return Failure("chat/completions", {"model": "plain", "messages": HI, **fields}, error, param, status, code)


def said(content: Any, error: str, param: str, **fields: Any) -> Failure:
    return chat(error, param, messages=[{"role": "user", "content": content, **fields}])


def complete(error: str, param: str | None = None, status: int = 400, code: str | None = None, **kw: Any) -> Failure:
    return Failure("completions", {"model": "plain", "prompt": "hi", **kw}, error, param, status, code)


def embed(error: str, param: str | None = None, status: int = 400, code: str | None = None, **kw: Any) -> Failure:
    return Failure("embeddings", {"model": "emb", "input": "hi", **kw}, error, param, status, code)


def respond(error: str, param: str | None = None, status: int = 400, code: str | None = None, **kw: Any) -> Failure:
    return Failure("responses", {"model": "plain", "input": "hi", **kw}, error, param, status, code)


def of_type(place: str, expected: str, given: str) -> str:
    return f"Invalid type for '{place}': expected {expected}, but got {given} instead."


BODIES = [
    Failure(path, body, error, status=status)
    for path in ("chat/completions", "completions", "embeddings", "responses")
    for body, error, status in [
        (b"", "EOF", 400),
        (b" \r\n", "EOF", 400),
        (b"[]", "the request body must be a JSON object, not an array", 400),
        (b"null", "the request body must be a JSON object, not null", 400),
        (
            b'{"a":' + b"[" * 250 + b"]" * 250 + b"}",
            "We could not parse the JSON body of your request: it nests too deeply",
            400,
        ),
        (b'{"a":' + b"[" * 90_000, "We could not parse the JSON body of your request: it nests too deeply", 400),
        (b'{"a":1e999}', "We could not parse the JSON body of your request: a number is too large", 400),
        (b'{"a":NaN}', "We could not parse the JSON body of your request: NaN is not JSON", 400),
        (b'{"a":[' + b"0," * 500_001 + b"0]}", "the request body holds more than 500000 JSON values", 413),
    ]
]
CHAT = [
    chat("model is required", "model", model=""),
    chat("model is required", "model", model=" "),
    chat("model 'nope' not found", status=404, model="nope"),
    chat("invalid model name", model="a b"),
    chat(of_type("model", "a string", "an integer"), "model", code="invalid_type", model=5),
    chat("[] is too short - 'messages'", "messages", messages=[]),
    chat("[] is too short - 'messages'", "messages", messages=None),
    chat(of_type("messages", "an array", "a string"), "messages", code="invalid_type", messages="hi"),
    chat(of_type("messages[0]", "an object", "a string"), "messages[0]", code="invalid_type", messages=["hi"]),
    chat("Missing required parameter: 'messages[0].role'.", "messages[0].role", code="missing_required_parameter",
         messages=[{"content": "hi"}]),
    said(None, "invalid message content type: <nil>", "messages[0].content"),
    said(5, "invalid message content type: float64", "messages[0].content"),
    said({}, "invalid message content type: map[string]interface {}", "messages[0].content"),
    said([{"type": "video"}], "invalid message format", "messages[0].content[0].type"),
    said([{"type": "input_audio"}], "this server does not take audio", "messages[0].content[0].input_audio"),
    said([{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}], HTTP_IMAGE,
         "messages[0].content[0].image_url"),
    said([{"type": "image_url", "image_url": "http://[::1]/a.png"}], HTTP_IMAGE, "messages[0].content[0].image_url"),
    said([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "invalid image input",
         "messages[0].content[0].image_url"),
    said([{"type": "image_url"}], "invalid image input", "messages[0].content[0].image_url"),
    said(None, "invalid tool call arguments", "messages[0].tool_calls[0].function.arguments",
         tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{"}}]),
    said(None, "invalid tool call arguments", "messages[0].tool_calls[0].function.arguments",
         tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]),
    said(None, "invalid tool call arguments", "messages[0].tool_calls[0].function.arguments",
         tool_calls=[{"id": "c", "function": {"name": "f", "arguments": '{"a":' + "[" * 300 + "]" * 300 + "}"}}]),
    chat(REASONING, "reasoning_effort", reasoning_effort="weird"),
    chat(REASONING, "reasoning.effort", reasoning={"effort": "weird"}, reasoning_effort="low"),
    chat('"plain" does not support thinking', "model", reasoning_effort="low"),
    chat('"emb" does not support chat', "model", model="emb"),
    chat("registry.ollama.ai/alice/plain:latest does not support tools", "model", tools=[TOOL]),
    chat('"plain" does not support images', "model",
         messages=[{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,AAAA"}]}]),
    chat("an image could not be read: send a whole PNG, JPEG, WebP or GIF", model="seer",
         messages=[{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,AAAA"}]}]),
    chat("invalid image input", "messages", model="seer",
         messages=[{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,!"}]}]),
    chat("top_logprobs must be between 0 and 20", "top_logprobs", logprobs=True, top_logprobs=21),
    chat(of_type("temperature", "a number", "a string"), "temperature", code="invalid_type", temperature="hot"),
    chat(of_type("seed", "an integer", "a decimal number"), "seed", code="invalid_type", seed=1.5),
    chat(of_type("stream", "a boolean", "a string"), "stream", code="invalid_type", stream="true"),
    chat(of_type("stop", "a string or an array of strings", "an integer"), "stop", code="invalid_type", stop=5),
    chat("n must be between 1 and 16", "n", code="integer_out_of_range", n=0),
    chat("n must be between 1 and 16", "n", code="integer_out_of_range", n=17),
    chat("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice", tool_choice="required"),
    chat("Tool choice 'other' not found in 'tools' parameter.", "tool_choice", tools=[TOOL],
         tool_choice={"type": "function", "function": {"name": "other"}}),
    chat("Missing required parameter: 'tools[0].function'.", "tools[0].function", code="missing_required_parameter",
         tools=[{"type": "function"}]),
    chat("this server has no tool of type 'custom', only functions", "tools[0].type", tools=[{"type": "custom"}]),
    chat("Invalid value: 'xml'. Supported values are: 'json_object', 'json_schema', and 'text'.",
         "response_format.type", code="invalid_value", response_format={"type": "xml"}),
    chat("Missing required parameter: 'response_format.json_schema'.", "response_format.json_schema",
         code="missing_required_parameter", response_format={"type": "json_schema"}),
    chat("'logit_bias' is not supported: this server cannot weigh single tokens", "logit_bias",
         code="unsupported_parameter", logit_bias={"50256": -100}),
    chat("this server answers in text only", "modalities", code="unsupported_parameter", modalities=["text", "audio"]),
]  # fmt: skip
OTHERS = [
    complete("model '' not found", status=404, model=""),
    complete("model 'nope' not found", status=404, model="nope"),
    complete('"emb" does not support generate', "model", model="emb"),
    complete("registry.ollama.ai/alice/plain:latest does not support insert", "model", suffix="x"),
    complete(of_type("prompt", "a string or an array of strings", "an array"), "prompt", code="invalid_type",
             prompt=[1, 2]),
    complete("a prompt among several must not be empty", "prompt", prompt=["a", ""]),
    complete("a request may have 1 to 16 choices, over all its prompts", "prompt", prompt=["a"] * 5, n=4),
    complete("invalid type for 'stop' field: float64", "stop", code="invalid_type", stop=["a", 1]),
    complete("logprobs must be between 0 and 20", "logprobs", logprobs=21),
    complete("'best_of' is not supported beyond 'n'", "best_of", code="unsupported_parameter", best_of=3),
    embed("model '' not found", status=404, model=""),
    embed('model "nope" not found, try pulling it first', status=404, model="nope"),
    embed("invalid input", "input", input=None),
    embed("invalid input", "input", input=[]),
    embed("invalid input type: send text, or a list of texts, instead of tokens", "input", input=[1, 2]),
    embed("invalid input type: send text, or a list of texts, instead of tokens", "input", input=[[1, 2]]),
    embed("a request may have 2048 inputs at most", "input", input=["a"] * 2049),
    embed("Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].", "encoding_format",
          code="invalid_value", encoding_format="hex"),
    respond("model is required", "model", model=""),
    respond("model 'nope' not found", status=404, model="nope"),
    respond("input must be a string or array: it is null", "input", input=None),
    respond("input must be a string or array: it is an integer", "input", input=5),
    respond("[] is too short - 'input'", "input", input=[]),
    respond('input[0]: unknown input item type: "x"', "input[0].type", input=[{"type": "x"}]),
    respond("input[0]: input item missing required 'type' field", "input[0]", input=[{"text": "x"}]),
    respond("content[1]: unknown content type: x", "input[0].content[1].type",
            input=[{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "x"}]}]),
    respond("file inputs are not currently supported", "input[0].content[0]",
            input=[{"role": "user", "content": [{"type": "input_file"}]}]),
    respond("failed to parse function call arguments: they must be a JSON object in a string", "input[0].arguments",
            input=[{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]),
    respond("'previous_response_id' is not supported: this server stores no responses; send the whole conversation as "
            "'input'", "previous_response_id", code="unsupported_parameter", previous_response_id="resp_1"),
    respond("this server has no tool of type 'web_search', only functions", "tools[0].type",
            tools=[{"type": "web_search"}]),
    respond("Invalid value: 'x'. Supported values are: 'auto' and 'disabled'.", "truncation", code="invalid_value",
            truncation="x"),
]  # fmt: skip


def assert_fails(reply: httpx.Response, failure: Failure) -> None:
    kind = {404: "not_found_error"}.get(failure.status, "invalid_request_error")
    wanted = {"message": failure.error, "type": kind, "param": failure.param, "code": failure.code}
    assert (reply.status_code, reply.json()) == (failure.status, {"error": wanted})
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.text.endswith("}\n")


@pytest.mark.parametrize("failure", [*BODIES, *CHAT, *OTHERS])
def test_what_is_wrong_is_named(api: httpx.Client, failure: Failure) -> None:
    body = {"content": failure.body} if isinstance(failure.body, bytes) else {"json": failure.body}
    assert_fails(api.post(f"/v1/{failure.path}", **body), failure)


@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "responses"])
def test_who_has_no_key_is_told_how_to_get_one(caller: Caller, path: str) -> None:
    reply = caller().post(f"/v1/{path}", json={})
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["code"]) == (401, "invalid_request_error", "invalid_api_key")
    assert "create_key" in error["message"] and reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_that_may_not_infer_is_refused(caller: Caller, alice: User) -> None:
    reply = caller(alice, scopes=["models"]).post("/v1/chat/completions", json={})
    assert (reply.status_code, reply.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("path", ["", "nope", "chat", "chat/completions/x", "audio/transcriptions", "responses/resp_1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_address_is_answered_in_the_envelope(api: httpx.Client, method: str, path: str) -> None:
    failure = Failure(path, None, f"Invalid URL ({method} /v1/{path})", status=404, code="unknown_url")
    assert_fails(api.request(method, f"/v1/{path}"), failure)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "chat/completions", "POST"), ("DELETE", "models/plain", "GET"), ("HEAD", "models", "GET")],
)
def test_an_unknown_method_is_answered_in_the_envelope(caller: Caller, method: str, path: str, allowed: str) -> None:
    reply = caller().request(method, f"/v1/{path}")
    assert (reply.status_code, reply.headers["Allow"]) == (405, allowed)
    if method != "HEAD":
        assert reply.json()["error"]["message"] == f"Not allowed to {method} on /v1/{path}"


def test_a_compressed_body_is_read_as_a_plain_one(api: httpx.Client) -> None:
    body = zstandard.ZstdCompressor().compress(json.dumps({"model": "nope", "input": "hi"}).encode())
    reply = api.post("/v1/responses", content=body, headers={"Content-Encoding": "zstd"})
    assert (reply.status_code, reply.json()["error"]["message"]) == (404, "model 'nope' not found")


def test_a_body_in_an_unknown_encoding_is_refused_by_name(api: httpx.Client) -> None:
    reply = api.post("/v1/responses", content=b"x", headers={"Content-Encoding": "br"})
    assert (reply.status_code, "'br'" in reply.json()["error"]["message"]) == (415, True)
