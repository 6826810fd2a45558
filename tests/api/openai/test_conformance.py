"""Checks 97 to 109 of the contract, on a running server with the real model. Its words are nobody's promise."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from tests.api.ollama.checks import check
from tests.api.openai.recordings import body_of, data, holds, names
from tests.server import MODEL, Server

QUESTION = [{"role": "user", "content": "Count from 1 to 5, separated by spaces."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def live(server: Server) -> Iterator[httpx.Client]:
    """The admin's client to a whole running server that holds MODEL."""
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=120) as client:
        yield client


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": QUESTION, "max_tokens": 12, "temperature": 0, "seed": 1, **fields}


def answer(live: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = live.post(path, json=body)
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


def events(live: httpx.Client, path: str, body: dict[str, Any]) -> list[str]:
    """The lines of a stream; its status and content type are asserted."""
    reply = live.post(path, json={**body, "stream": True})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/event-stream"), reply.text
    return reply.text.split("\n")


@check(97)
def test_models_are_listed_with_their_tags(live: httpx.Client) -> None:
    said = live.get("/models").json()
    assert holds(said, body_of("openai-models"))
    assert MODEL in [row["id"] for row in said["data"]]


@check(97)
def test_no_models_are_an_empty_list(live: httpx.Client, server: Server) -> None:
    key = server.new_user("newcomer97")
    said = live.get("/models", headers={"Authorization": f"Bearer {key}"}).json()
    assert said["object"] == "list" and isinstance(said["data"], list)


@check(98)
def test_one_model_is_shown_and_an_unknown_one_is_not_found(live: httpx.Client) -> None:
    said = live.get(f"/models/{MODEL}").json()
    assert holds(said, body_of("openai-model")) and said["id"] == MODEL
    assert live.get(f"/models/library%2F{MODEL}").json()["id"] == f"library/{MODEL}"
    assert live.get(f"/models/library/{MODEL}").json()["owned_by"] == "library"
    unknown = live.get("/models/nope")
    assert (unknown.status_code, unknown.json()) == (404, body_of("openai-model-unknown"))


@check(99)
def test_a_chat_is_answered_in_one_piece(live: httpx.Client) -> None:
    said = answer(live, "/chat/completions", asked())
    assert holds(said, body_of("openai-chat"))
    assert said["id"].startswith("chatcmpl-") and said["system_fingerprint"] == "fp_ollama"
    usage = said["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > usage["prompt_tokens"] > 0
    assert said["choices"][0]["message"]["content"]


@check(100)
def test_a_chat_streams(live: httpx.Client) -> None:
    *chunks, done = data(events(live, "/chat/completions", asked()))
    assert done == "[DONE]" and len(chunks) > 3
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant" and not any("role" in delta for delta in deltas[1:])
    assert sum(chunk["choices"][0]["finish_reason"] is not None for chunk in chunks) == 1
    assert not any("usage" in chunk for chunk in chunks)
    whole = answer(live, "/chat/completions", asked())["choices"][0]["message"]["content"]
    assert "".join(delta.get("content", "") for delta in deltas) == whole


@check(101)
def test_usage_of_a_stream_is_asked_for(live: httpx.Client) -> None:
    *_, usage, done = data(events(live, "/chat/completions", asked(stream_options={"include_usage": True})))
    assert (usage["choices"], done) == ([], "[DONE]")
    assert usage["usage"]["completion_tokens"] > 0


@check(102)
def test_a_chat_without_messages_is_refused(live: httpx.Client) -> None:
    reply = live.post("/chat/completions", json={"model": MODEL, "messages": []})
    golden = body_of("openai-chat-no-messages")["error"]
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, golden["message"])
    assert reply.json()["error"]["type"] == golden["type"]


@check(103)
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_has_its_arguments_as_a_string(live: httpx.Client, choice: Any) -> None:
    body = asked(tools=[WEATHER], tool_choice=choice, max_tokens=60)
    body["messages"] = [{"role": "user", "content": "What is the weather in Paris?"}]
    said = answer(live, "/chat/completions", body)["choices"][0]
    call = said["message"]["tool_calls"][0]
    assert (call["function"]["name"], said["finish_reason"]) == ("get_weather", "tool_calls")
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER["function"]["parameters"])
    chunks = data(events(live, "/chat/completions", body))[:-1]
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls and all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "tool_calls"


@check(104)
def test_an_image_by_address_is_refused(live: httpx.Client) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}]
    reply = live.post("/chat/completions", json=asked(messages=[{"role": "user", "content": parts}]))
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("image URLs are not currently supported, please use base64")


@check(105)
def test_an_effort_that_is_none_is_refused(live: httpx.Client) -> None:
    reply = live.post("/chat/completions", json=asked(reasoning_effort="weird"))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "reasoning_effort")
    said = answer(live, "/chat/completions", asked(reasoning_effort="none"))["choices"][0]["message"]
    assert "reasoning" not in said and said["content"]


@check(106)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_by_schema_holds_to_it(live: httpx.Client, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    body = asked(messages=[{"role": "user", "content": "Ada is 36. As JSON."}], response_format=form, max_tokens=80)
    if stream:
        chunks = data(events(live, "/chat/completions", body))[:-1]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    else:
        text = answer(live, "/chat/completions", body)["choices"][0]["message"]["content"]
    jsonschema.validate(json.loads(text), PERSON)


@check(107)
def test_a_completion_is_answered_and_streams(live: httpx.Client) -> None:
    body = {"model": MODEL, "prompt": "1, 2, 3,", "max_tokens": 4, "temperature": 0}
    said = answer(live, "/completions", body)
    assert holds(said, body_of("openai-completions")) and said["object"] == "text_completion"
    *chunks, done = data(events(live, "/completions", body))
    assert done == "[DONE]"
    assert [chunk["choices"][0]["finish_reason"] is not None for chunk in chunks][-2:] == [False, True]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == said["choices"][0]["text"] != ""


@check(108)
def test_an_embedding_as_base64_holds_the_same_numbers(live: httpx.Client) -> None:
    body = {"model": MODEL, "input": ["a cat", "a dog"]}
    plain = answer(live, "/embeddings", body)["data"]
    packed = answer(live, "/embeddings", {**body, "encoding_format": "base64"})["data"]
    for number, (row, other) in enumerate(zip(plain, packed, strict=True)):
        assert row["index"] == other["index"] == number
        raw = base64.b64decode(other["embedding"])
        assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(row["embedding"], abs=1e-6)
        assert sum(value * value for value in row["embedding"]) == pytest.approx(1, abs=1e-3)
    assert plain[0]["embedding"] != plain[1]["embedding"]
    assert live.post("/embeddings", json={**body, "encoding_format": "hex"}).status_code == 400


@check(109)
def test_a_response_is_answered_and_streams(live: httpx.Client) -> None:
    body = {"model": MODEL, "input": "Reply with the single word: yes", "max_output_tokens": 60, "temperature": 0}
    said = answer(live, "/responses", body)
    golden = body_of("openai-responses")
    assert holds({**said, "max_output_tokens": 60}, {**golden, "completed_at": 1})
    assert (said["object"], said["status"], said["output"][0]["type"]) == ("response", "completed", "message")
    lines = events(live, "/responses", body)
    assert list(dict.fromkeys(names(lines))) == list(dict.fromkeys(names(body_of("openai-responses-stream"))))
    told = data(lines)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert "[DONE]" not in told
    text = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    assert text == told[-1]["response"]["output"][0]["content"][0]["text"] != ""


def test_several_choices_stream_side_by_side(live: httpx.Client) -> None:
    *chunks, done = data(events(live, "/chat/completions", asked(n=3, temperature=1)))
    assert done == "[DONE]"
    ended = [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["finish_reason"]]
    assert sorted(ended) == [0, 1, 2]
    order = [chunk["choices"][0]["index"] for chunk in chunks]
    assert order != sorted(order), "one choice after the other"


def test_logprobs_are_those_of_the_text(live: httpx.Client) -> None:
    choice = answer(live, "/chat/completions", asked(logprobs=True, top_logprobs=2))["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(item["token"] for item in content).startswith(choice["message"]["content"])
    assert all(len(item["top_logprobs"]) == 2 and item["logprob"] <= 0 for item in content)
