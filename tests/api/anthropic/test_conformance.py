"""Checks 110 to 114 of the contract, on a running server with the real model. Its words are nobody's promise."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.anthropic.recordings import body_of, events, holds
from tests.api.ollama.checks import check
from tests.server import MODEL, Server

QUESTION = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALLING = {
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": [WEATHER],
    "tool_choice": {"type": "tool", "name": "get_weather"},
    "max_tokens": 60,
}


@pytest.fixture(scope="module")
def live(server: Server) -> Iterator[httpx.Client]:
    """The admin's client to a whole running server that holds MODEL; its key goes as Anthropic's clients send it."""
    headers = {"x-api-key": server.admin_key, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=120) as client:
        yield client


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": QUESTION, "max_tokens": 8, "temperature": 0, **fields}


def answer(live: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = live.post("/messages", json=asked(**fields))
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


def streamed(live: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    reply = live.post("/messages", json=asked(stream=True, **fields))
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/event-stream"), reply.text
    return events(reply.text.split("\n")[:-1])


def shown(said: list[dict[str, Any]]) -> list[str]:
    """The events' names; deltas of one block in a row as one, pings left out."""
    names = [event["type"] for event in said if event["type"] != "ping"]
    return [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]]


@check(110)
def test_max_tokens_must_be_there(live: httpx.Client) -> None:
    reply = live.post("/messages", json={"model": MODEL, "messages": QUESTION})
    said = reply.json()
    assert (reply.status_code, said["type"]) == (400, "error")
    assert said["error"] == {
        "type": "invalid_request_error",
        "message": "max_tokens is required and must be positive",
    }


@check(111)
def test_a_message_has_the_recorded_shape(live: httpx.Client) -> None:
    said = answer(live, max_tokens=3)
    assert holds(said, body_of("anthropic-messages"))
    assert (said["type"], said["content"][0]["type"], said["stop_reason"]) == ("message", "text", "max_tokens")
    assert said["usage"]["output_tokens"] == 3 and said["content"][0]["text"]


@check(111)
def test_a_message_that_ends_by_itself_says_so(live: httpx.Client) -> None:
    said = answer(live, max_tokens=100, system="Answer with the word yes and nothing else.")
    assert (said["type"], said["content"][0]["type"], said["stop_reason"]) == ("message", "text", "end_turn")


@check(112)
def test_a_stream_has_the_recorded_events(live: httpx.Client) -> None:
    golden = events(body_of("anthropic-messages-stream"))
    said = streamed(live, max_tokens=3)
    assert shown(said) == shown(golden)
    assert {event["index"] for event in said if "index" in event} == {0}
    delta = next(event for event in said if event["type"] == "message_delta")
    assert (delta["delta"]["stop_reason"], delta["usage"]["output_tokens"]) == ("max_tokens", 3)
    assert (
        delta["usage"]["input_tokens"] + delta["usage"]["cache_read_input_tokens"]
        == golden[-2]["usage"]["input_tokens"]
    )


@check(113)
def test_a_call_is_an_object(live: httpx.Client) -> None:
    said = answer(live, **CALLING)
    call = said["content"][-1]
    assert (said["stop_reason"], call["type"], call["name"]) == ("tool_use", "tool_use", "get_weather")
    assert isinstance(call["input"]["city"], str)


@check(113)
def test_a_call_is_one_delta_in_a_stream(live: httpx.Client) -> None:
    said = streamed(live, **CALLING)
    (delta,) = [event["delta"] for event in said if event.get("delta", {}).get("type") == "input_json_delta"]
    assert isinstance(json.loads(delta["partial_json"])["city"], str)
    assert said[-2]["delta"]["stop_reason"] == "tool_use"


@check(114)
def test_an_unknown_model_is_not_found(live: httpx.Client) -> None:
    reply = live.post("/messages", json=asked(model="nope"))
    golden = body_of("anthropic-unknown")
    assert reply.status_code == 404 and holds(reply.json(), golden)
    assert (reply.json()["type"], reply.json()["error"]) == (golden["type"], golden["error"])
    assert reply.json()["request_id"].startswith("req_")


@check(114)
def test_thinking_is_dropped_where_a_model_cannot(live: httpx.Client) -> None:
    said = answer(live, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block["type"] for block in said["content"]] == ["text"]
