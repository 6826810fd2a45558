"""Every endpoint's failures through one assertion: status, envelope, type, the sentence, the request's id."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from apps.accounts.models import User
from apps.api.anthropic.errors import type_of
from tests.api.anthropic.conftest import Caller
from tests.api.ollama.recordings import PICTURE

HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": "weather", "input_schema": {"type": "object"}}
SOURCE = {"type": "base64", "media_type": "image/png", "data": PICTURE}
PATHS = ("messages", "messages/count_tokens")


@dataclass(frozen=True)
class Failure:
    body: Any
    error: str
    status: int = 400
    path: str = "messages"


def failing(error: str, status: int = 400, **fields: Any) -> Failure:
    return Failure({"model": "plain", "max_tokens": 5, "messages": HI, **fields}, error, status)


def said(content: Any, error: str, **fields: Any) -> Failure:
    return failing(error, messages=[{"role": "user", "content": content}], **fields)


def block(error: str, model: str = "plain", **fields: Any) -> Failure:
    return said([fields], error, model=model)


INVALID = "The request body is not valid JSON: "
BODIES = [
    Failure(body, error, status, path)
    for path in PATHS
    for body, error, status in [
        (b"", "EOF", 400),
        (b" \r\n", "EOF", 400),
        (b"[]", "the request body must be a JSON object, not an array", 400),
        (b"null", "the request body must be a JSON object, not null", 400),
        (b'{"a":' + b"[" * 250 + b"]" * 250 + b"}", f"{INVALID}it nests too deeply", 400),
        (b'{"a":' + b"[" * 90_000, f"{INVALID}it nests too deeply", 400),
        (b'{"a":1e999}', f"{INVALID}a number is too large", 400),
        (b'{"a":NaN}', f"{INVALID}NaN is not JSON", 400),
        (b'{"a":[' + b"0," * 500_001 + b"0]}", "the request body holds more than 500000 JSON values", 413),
    ]
]
FIELDS = [
    failing("model is required", model=""),
    failing("model is required", model=" "),
    failing("model is required", model=None),
    failing("model: Input should be a valid string", model=5),
    failing("invalid model name", model="a b"),
    failing("model 'nope' not found", 404, model="nope"),
    failing("max_tokens is required and must be positive", max_tokens=None),
    failing("max_tokens is required and must be positive", max_tokens=0),
    failing("max_tokens is required and must be positive", max_tokens=-1),
    failing("max_tokens: Input should be a valid integer", max_tokens="5"),
    failing("max_tokens: Input should be a valid integer", max_tokens=True),
    failing("messages is required", messages=None),
    failing("messages is required", messages=[]),
    failing("messages: Input should be a valid list", messages="hi"),
    failing("messages.0: Input should be an object", messages=["hi"]),
    failing("messages.0.role: Field required", messages=[{"content": "hi"}]),
    failing("messages.0.role: Input should be 'user' or 'assistant'", messages=[{"role": "x", "content": "hi"}]),
    failing("messages.1.content: Field required", messages=[*HI, {"role": "user"}]),
    failing("temperature: Input should be a valid number", temperature="hot"),
    failing("top_k: Input should be a valid integer", top_k=1.5),
    failing("stream: Input should be a valid boolean", stream="true"),
    failing("stop_sequences: Input should be a list of strings", stop_sequences=["a", 1]),
    failing("stop_sequences: Input should be a valid list", stop_sequences="a"),
    failing("metadata: Input should be an object", metadata="a"),
    failing("system: Input should be a string or a list of text blocks", system=5),
    failing("system.0.type: Input should be 'text'", system=[{"type": "image"}]),
    failing("mcp_servers: this server calls no other servers", mcp_servers=[{"type": "url"}]),
    failing("thinking.type: Field required", thinking={}),
    failing("thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'", thinking={"type": "x"}),
    failing("thinking.budget_tokens: Input should be a valid integer",
            thinking={"type": "enabled", "budget_tokens": "a"}),
    failing("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
            output_config={"effort": "weird"}),
    failing("output_config.format.type: Input should be 'json_schema'", output_config={"format": {"type": "json"}}),
    failing("output_config.format.schema: Field required", output_config={"format": {"type": "json_schema"}}),
    failing('"emb" does not support chat', model="emb"),
    failing("registry.ollama.ai/alice/plain:latest does not support tools", tools=[TOOL]),
    failing("tools.0.name: Field required", tools=[{}]),
    failing('invalid input_schema for tool "weather": it must be a JSON Schema object',
            tools=[{**TOOL, "input_schema": "x"}]),
    failing("tools.0.type: this server has no tool of type 'web_search_20250305', only those with an input_schema",
            tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    failing("tool_choice: may only be specified while providing tools", tool_choice={"type": "any"}),
    failing("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'", tool_choice={"type": "x"}),
    failing("tool_choice: Input should be an object", tool_choice="any"),
    failing("tool_choice.name: Field required", tools=[TOOL], tool_choice={"type": "tool"}),
    failing("tool_choice: Tool 'other' not found in provided tools", tools=[TOOL],
            tool_choice={"type": "tool", "name": "other"}),
    failing("tool_choice: Tool 'auto' not found in provided tools", tools=[{"name": "auto"}],
            tool_choice={"type": "tool", "name": "auto"}),
]  # fmt: skip
BLOCKS = [
    said(5, "messages.0.content: Input should be a string or a list of blocks"),
    said(["hi"], "messages.0.content.0: Input should be an object"),
    block("messages.0.content.0.type: Field required", text="hi"),
    block("messages.0.content.0.text: Field required", type="text"),
    block("messages.0.content.0.text: Input should be a valid string", type="text", text=5),
    block("invalid image source", type="image"),
    block("invalid image source", type="image", source={"type": "base64"}),
    block("invalid image source type: url. Only base64 images are supported.", type="image",
          source={"type": "url", "url": "https://x.example/a.png"}),
    block("invalid base64 image data: Only base64 data is allowed", type="image", source={**SOURCE, "data": "!!!!"}),
    block('"plain" does not support images', type="image", source=SOURCE),
    block("an image could not be read: send a whole PNG, JPEG, WebP or GIF", model="seer", type="image",
          source={**SOURCE, "data": "AAAA"}),
    block("tool_use block missing required 'id' field", type="tool_use", name="f"),
    block("tool_use block missing required 'name' field", type="tool_use", id="a"),
    block("messages.0.content.0.input: Input should be an object", type="tool_use", id="a", name="f", input="{}"),
    block("tool_result block missing required 'tool_use_id' field", type="tool_result", content="a"),
    block("messages.0.content.0.content.0.type: Field required", type="tool_result", tool_use_id="a", content=[{}]),
    block("messages.0.content.0.source: this server reads documents of plain text only", type="document",
          source={"type": "base64", "media_type": "application/pdf", "data": "AAAA"}),
    block("messages.0.content.0.type: this server keeps no files", type="container_upload", file_id="f"),
]  # fmt: skip


def assert_fails(reply: httpx.Response, status: int, error: str) -> None:
    said = reply.json()
    assert (reply.status_code, said["error"]) == (status, {"type": type_of(status), "message": error})
    assert said["type"] == "error" and said["request_id"] == reply.headers["request-id"]
    assert said["request_id"].startswith("req_") and len(said["request_id"]) == 28
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("failure", [*BODIES, *FIELDS, *BLOCKS])
def test_what_is_wrong_is_named(api: httpx.Client, failure: Failure) -> None:
    body = {"content": failure.body} if isinstance(failure.body, bytes) else {"json": failure.body}
    assert_fails(api.post(f"/v1/{failure.path}", **body), failure.status, failure.error)


def test_a_count_fails_in_the_same_words_but_needs_no_limit(api: httpx.Client) -> None:
    reply = api.post("/v1/messages/count_tokens", json={"model": "plain", "messages": []})
    assert_fails(reply, 400, "messages is required")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "not_found_error"), (413, "request_too_large"), (429, "rate_limit_error"), (503, "overloaded_error"),
        (529, "overloaded_error"), (405, "invalid_request_error"), (499, "api_error"), (500, "api_error"),
        (501, "api_error"), (507, "api_error"),
    ],
)  # fmt: skip
def test_a_status_has_its_type(status: int, kind: str) -> None:
    assert type_of(status) == kind


@pytest.mark.parametrize("path", PATHS)
def test_who_has_no_key_is_told_how_to_get_one(caller: Caller, path: str) -> None:
    reply = caller().post(f"/v1/{path}", json={})
    assert_fails(reply, 401, reply.json()["error"]["message"])
    assert "create_key" in reply.json()["error"]["message"] and reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", [{"x-api-key": "corral_wrong"}, {"Authorization": "Bearer corral_wrong"}])
def test_a_wrong_key_is_refused(caller: Caller, header: dict[str, str]) -> None:
    reply = caller().post("/v1/messages", json={}, headers=header)
    assert_fails(reply, 401, reply.json()["error"]["message"])
    assert "unknown, expired or revoked" in reply.json()["error"]["message"]


def test_a_key_that_may_not_infer_is_refused(caller: Caller, alice: User) -> None:
    reply = caller(alice, scopes=["models"]).post("/v1/messages", json={})
    assert_fails(reply, 403, "this needs the scope 'infer', which your key does not have")


def test_anothers_model_reads_like_one_that_is_not_there(api: httpx.Client, caller: Caller, charlie: User) -> None:
    body = {"model": "alice/plain", "max_tokens": 5, "messages": HI}
    assert_fails(caller(charlie).post("/v1/messages", json=body), 404, "model 'alice/plain' not found")


@pytest.mark.parametrize("path", ["messages/", "messages/batches", "messages/batches/x", "messages/count_tokens/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_address_is_answered_in_the_envelope(api: httpx.Client, method: str, path: str) -> None:
    assert_fails(api.request(method, f"/v1/{path}"), 404, f"there is no {method} /v1/{path}")


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_method_is_answered_in_the_envelope(caller: Caller, path: str) -> None:
    reply = caller().get(f"/v1/{path}")
    assert_fails(reply, 405, f"/v1/{path} does not take GET")
    assert reply.headers["Allow"] == "POST"


def test_a_body_in_an_unknown_encoding_is_refused_by_name(api: httpx.Client) -> None:
    reply = api.post("/v1/messages", content=b"x", headers={"Content-Encoding": "br"})
    assert_fails(reply, 415, "this server does not read bodies in Content-Encoding 'br'")
