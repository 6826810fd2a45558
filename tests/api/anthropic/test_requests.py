"""Bodies of this dialect up to the run, and from its log to the reply: here the test writes what a runner would."""

from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, override_settings

from apps.accounts.models import User
from apps.inference.types import END, ERROR, PROGRESS, RENDERED, TEXT, Format, Message, RunEnd, ToolCall
from tests.api.anthropic.conftest import Caller, MakeModel, only_request, runner
from tests.api.anthropic.recordings import events
from tests.api.ollama.recordings import PICTURE

pytestmark = pytest.mark.django_db(transaction=True)  # a reply that waits for its log gives its connection back

ENDED = RunEnd("stop", prompt_tokens=7, cached_tokens=3, output_tokens=2).as_data()
HELLO = [(TEXT, {"t": "Hel"}), (TEXT, {"t": "lo"}), (END, ENDED)]
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
WEATHER = {"name": "weather", "description": "d", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"b": 1, "a": 2}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}


def ask(api: httpx.Client, alice: User, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    with runner(alice, HELLO):
        reply = api.post(path, json={"model": "plain", "max_tokens": 5, "messages": HI, **fields})
    assert reply.status_code == 200, reply.text
    return reply


def streamed(api: httpx.Client, alice: User, frames: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The reply and its events, as an ASGI server sends them."""

    async def post() -> tuple[Any, str]:
        body = {"model": "plain", "max_tokens": 5, "messages": HI, "stream": True}
        headers = {"Authorization": api.headers["Authorization"]}
        reply: Any = await AsyncClient().post("/v1/messages", body, "application/json", headers=headers)
        return reply, b"".join([chunk async for chunk in reply.streaming_content]).decode()

    with runner(alice, frames), override_settings(HOSTS=["testserver"]):
        reply, text = async_to_sync(post)()
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/event-stream")
    return reply, events(text.split("\n")[:-1])


def messages_of(api: httpx.Client, alice: User, *said: dict[str, Any], **fields: Any) -> tuple[Message, ...]:
    ask(api, alice, messages=list(said), **fields)
    return only_request().messages


def test_the_log_becomes_the_message(api: httpx.Client, alice: User) -> None:
    reply = ask(api, alice)
    said = reply.json()
    assert (said["model"], said["content"]) == ("plain", [{"type": "text", "text": "Hello"}])
    assert (said["usage"]["input_tokens"], said["usage"]["cache_read_input_tokens"]) == (4, 3)
    assert reply.headers["request-id"].startswith("req_")


def test_the_log_becomes_the_stream(api: httpx.Client, alice: User) -> None:
    reply, said = streamed(api, alice, HELLO)
    assert (said[0]["type"], said[-1]["type"]) == ("message_start", "message_stop")
    deltas = [event["delta"]["text"] for event in said if event["type"] == "content_block_delta"]
    assert "".join(deltas) == "Hello"
    assert reply.headers["request-id"].startswith("req_")


def test_an_error_in_the_log_is_the_status(api: httpx.Client, alice: User) -> None:
    problem = {"code": "internal", "message": "model runner has unexpectedly stopped", "status": 500}
    with runner(alice, [(PROGRESS, {"stage": "loading"}), (ERROR, problem)]):
        reply = api.post("/v1/messages", json={"model": "plain", "max_tokens": 5, "messages": HI, "stream": True})
    assert (reply.status_code, reply.json()["error"]["message"]) == (500, problem["message"])
    assert reply.json()["request_id"] == reply.headers["request-id"]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ((ERROR, {"code": "internal", "message": "gone", "status": 500}), "gone"),
        ((END, RunEnd("cancelled").as_data()), "request canceled"),
    ],
)
def test_what_goes_wrong_behind_the_first_event_is_an_event(
    api: httpx.Client, alice: User, last: Any, told: str
) -> None:
    reply, said = streamed(api, alice, [HELLO[0], (TEXT, {"t": "lo" * 9}), last])
    assert [event["type"] for event in said[:2]] == ["message_start", "content_block_start"]
    assert said[-1]["type"] == "error"
    assert said[-1]["error"] == {"type": "api_error", "message": told}
    assert said[-1]["request_id"] == reply.headers["request-id"]


def test_a_dropped_prompt_is_told_in_a_header(api: httpx.Client, alice: User) -> None:
    with runner(alice, [(PROGRESS, {"stage": "prompt", "dropped_tokens": 5}), *HELLO]):
        reply = api.post("/v1/messages", json={"model": "plain", "max_tokens": 5, "messages": HI})
    assert reply.headers["X-Corral-Dropped-Tokens"] == "5"


def test_sampling_reaches_the_run(api: httpx.Client, alice: User) -> None:
    asked = {"temperature": 0.5, "top_p": 0.25, "top_k": 3, "stop_sequences": ["a", "b"], "max_tokens": 9}
    ask(api, alice, metadata={"user_id": "u"}, service_tier="auto", **asked)
    request = only_request()
    sampling, limits = request.sampling, request.limits
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.25, 3)
    assert (limits.num_predict, limits.stop, request.kind) == (9, ("a", "b"), "chat")


def test_what_is_not_given_is_left_to_the_model(api: httpx.Client, alice: User, make_model: MakeModel) -> None:
    make_model("tuned", alice, params={"temperature": 0.3, "top_p": 0.2, "num_ctx": 2048, "stop": ["END"]})
    ask(api, alice, model="tuned", stop_sequences=[])
    request = only_request()
    assert (request.sampling.temperature, request.sampling.top_p, request.load.num_ctx) == (0.3, 0.2, 2048)
    assert (request.limits.stop, request.limits.num_predict) == (("END",), 5)


@pytest.mark.parametrize("system", ["Be brief.", [text("Be "), text("brief.")]])
def test_the_system_is_the_first_message(api: httpx.Client, alice: User, system: Any) -> None:
    assert messages_of(api, alice, *HI, system=system) == (Message("system", "Be brief."), Message("user", "hi"))


def test_blocks_become_one_message(api: httpx.Client, alice: User) -> None:
    blocks = [text("What "), IMAGE, text("is it?"), {"type": "something_new"}]
    (said,) = messages_of(api, alice, {"role": "user", "content": blocks}, model="seer")
    assert said == Message("user", "What is it?", images=(PICTURE,))


def test_thinking_is_replayed_and_what_is_redacted_is_not(api: httpx.Client, alice: User) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    blocks = [thought, {"type": "redacted_thinking", "data": "zzz"}, text("Yes")]
    said = messages_of(api, alice, *HI, {"role": "assistant", "content": blocks}, *HI)
    assert said[1] == Message("assistant", "Yes", thinking="Hm.")


def test_a_call_and_its_results_keep_names_ids_and_order(api: httpx.Client, alice: User) -> None:
    other = {**CALL, "id": "toolu_2", "name": "time", "input": {}}
    results = [
        text("and now?"),
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [text("9 "), text("h"), IMAGE]},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such city", "is_error": True},
    ]
    turns = [{"role": "assistant", "content": [text("I look."), CALL, other]}, {"role": "user", "content": results}]
    said = messages_of(api, alice, *HI, *turns, model="seer")
    calls = (ToolCall("weather", {"b": 1, "a": 2}, "toolu_1"), ToolCall("time", {}, "toolu_2"))
    assert list(said[1].tool_calls[0].arguments) == ["b", "a"]
    assert said[1:] == (
        Message("assistant", "I look.", tool_calls=calls),
        Message("tool", "9 h", images=(PICTURE,), tool_name="time", tool_call_id="toolu_2"),
        Message("tool", "Error: no such city", tool_name="weather", tool_call_id="toolu_1"),
        Message("user", "and now?"),
    )


def test_results_alone_are_no_empty_message(api: httpx.Client, alice: User) -> None:
    turns = [
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]},
    ]
    said = messages_of(api, alice, *HI, *turns)
    assert said[2:] == (Message("tool", "", tool_name="weather", tool_call_id="toolu_1"),)


def test_documents_and_search_results_of_text_are_read(api: httpx.Client, alice: User) -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "one"}
    blocks = [
        {"type": "document", "title": "T", "context": "C", "source": plain},
        {"type": "document", "source": {"type": "content", "content": [text("two")]}},
        {"type": "search_result", "title": "S", "source": "s.example", "content": [text("three")]},
    ]
    (said,) = messages_of(api, alice, {"role": "user", "content": blocks})
    assert said.content == "T\nC\nonetwoS\ns.example\nthree"


def test_tools_become_functions(api: httpx.Client, alice: User) -> None:
    ask(api, alice, model="able", tools=[WEATHER, {"type": "custom", "name": "time", "strict": True}])
    request = only_request()
    weather = {"name": "weather", "description": "d", "parameters": SCHEMA}
    time = {"name": "time", "strict": True, "parameters": {"type": "object", "properties": {}}}
    assert request.tools == ({"type": "function", "function": weather}, {"type": "function", "function": time})
    assert (request.tool_choice, request.strict_tools) == ("auto", True)


@pytest.mark.parametrize(
    ("choice", "meant"),
    [("auto", "auto"), ("any", "required"), ("none", "none"), ("tool", "weather")],
)
def test_the_choice_of_a_tool(api: httpx.Client, alice: User, choice: str, meant: str) -> None:
    named = {"type": choice, **({"name": "weather"} if choice == "tool" else {})}
    ask(api, alice, model="able", tools=[WEATHER], tool_choice=named)
    assert (only_request().tool_choice, only_request().strict_tools) == (meant, False)


def test_parallel_calls_can_be_disabled(api: httpx.Client, alice: User) -> None:
    calls = [{"id": f"call_{name}", "name": "weather", "arguments": {}} for name in "ab"]
    with runner(alice, [("tool_calls", {"calls": calls}), (END, ENDED)]):
        said = api.post(
            "/v1/messages",
            json={"model": "able", "max_tokens": 5, "messages": HI, "tools": [WEATHER],
                  "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ).json()  # fmt: skip
    assert [block["id"] for block in said["content"]] == ["toolu_a"]
    assert said["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("fields", "model", "think"),
    [
        ({}, "think", True),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "think", True),
        ({"thinking": {"type": "enabled"}, "output_config": {"effort": "low"}}, "think", True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "think", False),
        ({"thinking": {"type": "adaptive"}}, "think", True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, "think", "medium"),
        ({"output_config": {"effort": "xhigh"}}, "think", "high"),
        ({"output_config": {"effort": "max"}}, "think", "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "plain", None),
        ({"output_config": {"effort": "max"}}, "plain", None),
        ({}, "plain", None),
    ],
)
def test_how_much_is_thought(api: httpx.Client, alice: User, fields: Any, model: str, think: Any) -> None:
    ask(api, alice, model=model, **fields)
    assert only_request().think is think if isinstance(think, bool | None) else only_request().think == think


def test_thinking_that_is_not_wanted_shown_is_left_out(api: httpx.Client, alice: User) -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    with runner(alice, [("thinking", {"t": "Hm"}), *HELLO]):
        body = {"model": "think", "max_tokens": 5, "messages": HI, "thinking": thinking}
        said = api.post("/v1/messages", json=body).json()["content"]
    assert [(block["type"], block.get("thinking")) for block in said] == [("thinking", ""), ("text", None)]
    assert said[0]["signature"]


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_is_the_format(api: httpx.Client, alice: User, place: str) -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    ask(api, alice, **{place: {"format": form} if place == "output_config" else form})
    assert only_request().format == Format("schema", SCHEMA)


@pytest.mark.parametrize(("choice", "meant"), [("any", "required"), ("none", "none")])
def test_tokens_are_counted_without_an_answer(api: httpx.Client, alice: User, choice: str, meant: str) -> None:
    body = {
        "model": "able", "system": "Be brief.", "messages": HI, "tools": [WEATHER], "tool_choice": {"type": choice},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }  # fmt: skip
    with runner(alice, [(RENDERED, {"text": "…", "images": 0, "tokens": 37}), (END, ENDED)]):
        reply = api.post("/v1/messages/count_tokens", json=body)
    assert (reply.status_code, reply.json()) == (200, {"input_tokens": 37})
    assert reply.headers["request-id"].startswith("req_")
    request = only_request()
    assert request.messages == (Message("system", "Be brief."), Message("user", "hi"))
    assert (request.render_only, request.tool_choice) == (True, meant)
    assert len(request.tools) == 1


def test_query_strings_and_beta_headers_are_taken(caller: Caller, alice: User, api: httpx.Client) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "x-2025-01-01", "Content-Type": "text/plain"}
    with runner(alice, HELLO):
        reply = api.post(
            "/v1/messages?beta=true", headers=headers, json={"model": "plain", "max_tokens": 5, "messages": HI}
        )
    assert reply.status_code == 200


def test_a_key_may_come_as_x_api_key(api: httpx.Client, alice: User) -> None:
    secret = api.headers.pop("Authorization").removeprefix("Bearer ")
    api.headers["x-api-key"] = secret
    assert ask(api, alice).json()["content"]
