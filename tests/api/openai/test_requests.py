"""Bodies of this dialect up to the run, and from its log to the reply: here the test writes what a runner would."""

import base64
import io
import json
import struct
from typing import Any

import httpx
import pytest
from PIL import Image

from apps.accounts.models import User
from apps.inference.models import Run
from apps.inference.types import EMBEDDINGS, END, ERROR, PROGRESS, TEXT, Format, Message, RunEnd, ToolCall
from tests.api.openai.conftest import Caller, MakeModel, only_request, request_of, runner

pytestmark = pytest.mark.django_db(transaction=True)  # a reply that waits for its log gives its connection back

ENDED = RunEnd("stop", prompt_tokens=7, output_tokens=2).as_data()
HELLO = [(TEXT, {"t": "Hel"}), (TEXT, {"t": "lo"}), (END, ENDED)]
HI = [{"role": "user", "content": "hi"}]
WEATHER = {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}}
TOOLS = [{"type": "function", "function": WEATHER}]


def png() -> str:
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def chat(api: httpx.Client, alice: User, **fields: Any) -> httpx.Response:
    with runner(alice, HELLO):
        reply = api.post("/v1/chat/completions", json={"model": "plain", "messages": HI, **fields})
    assert reply.status_code == 200, reply.text
    return reply


def respond(api: httpx.Client, alice: User, **fields: Any) -> httpx.Response:
    with runner(alice, HELLO):
        reply = api.post("/v1/responses", json={"model": "plain", "input": "hi", **fields})
    assert reply.status_code == 200, reply.text
    return reply


def test_the_log_becomes_the_reply(api: httpx.Client, alice: User) -> None:
    said = chat(api, alice).json()
    assert said["choices"][0]["message"]["content"] == "Hello"
    assert (said["model"], said["usage"]["total_tokens"]) == ("plain", 9)


def test_an_error_in_the_log_is_the_status(api: httpx.Client, alice: User) -> None:
    problem = {"code": "internal", "message": "model runner has unexpectedly stopped", "status": 500}
    with runner(alice, [(PROGRESS, {"stage": "loading"}), (ERROR, problem)]):
        reply = api.post("/v1/chat/completions", json={"model": "plain", "messages": HI, "stream": True})
    assert (reply.status_code, reply.json()["error"]["message"]) == (500, problem["message"])


def test_a_dropped_prompt_is_told_in_a_header(api: httpx.Client, alice: User) -> None:
    with runner(alice, [(PROGRESS, {"stage": "prompt", "dropped_tokens": 5}), *HELLO]):
        reply = api.post("/v1/chat/completions", json={"model": "plain", "messages": HI})
    assert reply.headers["X-Corral-Dropped-Tokens"] == "5"


def test_sampling_reaches_the_run(api: httpx.Client, alice: User, make_model: MakeModel) -> None:
    make_model("tuned", alice, params={"temperature": 0.3, "top_p": 0.2, "top_k": 3, "num_ctx": 2048})
    asked = {"seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.25, "max_tokens": 5, "stop": ["a", 1, "b"]}
    chat(api, alice, model="tuned", **asked)
    request = only_request()
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (1.0, 1.0, 3)
    assert (request.sampling.seed, request.sampling.frequency_penalty, request.sampling.presence_penalty) == (
        7,
        0.5,
        0.25,
    )
    assert (request.limits.num_predict, request.limits.stop, request.load.num_ctx) == (5, ("a", "b"), 2048)


def test_the_newer_name_of_the_limit_wins(api: httpx.Client, alice: User) -> None:
    chat(api, alice, max_tokens=5, max_completion_tokens=9, stop="x", temperature=0)
    request = only_request()
    assert (request.limits.num_predict, request.limits.stop, request.sampling.temperature) == (9, ("x",), 0.0)


@pytest.mark.parametrize("empty", [None, "absent"])
def test_null_counts_as_absent(api: httpx.Client, alice: User, empty: Any) -> None:
    names = [
        "stream",
        "n",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "logprobs",
        "top_logprobs",
        "seed",
        "user",
    ]
    chat(api, alice, **(dict.fromkeys(names) if empty is None else {}))
    request = only_request()
    assert (request.tools, request.format, request.logprobs, request.think) == ((), None, None, None)


def test_a_body_is_read_whatever_its_type_and_what_follows_it(api: httpx.Client, alice: User) -> None:
    body = b'\xef\xbb\xbf{"model":"plain","messages":[{"role":"user","content":"\\ud800"}],"nonsense":1} junk'
    with runner(alice, HELLO):
        reply = api.post("/v1/chat/completions", content=body, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 200, reply.text
    assert only_request().messages == (Message("user", "\ufffd"),)


def test_a_conversation_with_calls_reaches_the_run(api: httpx.Client, alice: User) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"b":1,"a":[2]}'}}
    messages = [
        {"role": "developer", "content": "Be kind"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "Hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c9", "name": "other", "content": "x"},
    ]
    chat(api, alice, messages=messages)
    assert only_request().messages == (
        Message("system", "Be kind"),
        Message("user", "one\ntwo"),
        Message("assistant", thinking="Hm", tool_calls=(ToolCall("weather", {"b": 1, "a": [2]}, "c1"),)),
        Message("tool", "sunny", tool_name="weather", tool_call_id="c1"),
        Message("tool", "x", tool_name="other", tool_call_id="c9"),
    )


def test_images_are_taken_from_data_urls_in_their_order(api: httpx.Client, alice: User) -> None:
    urls = [f"data:image/png;base64,{png()}", f"data:;base64,{png()}"]
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": urls[0], "detail": "low"}}]
    chat(
        api,
        alice,
        model="seer",
        messages=[{"role": "user", "content": [*parts, {"type": "image_url", "image_url": urls[1]}]}],
    )
    (message,) = only_request().messages
    assert (message.content, message.images) == ("look", (png(), png()))


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, "auto"), ("none", "none"), ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, "weather"),
    ],
)  # fmt: skip
def test_tools_and_their_choice_reach_the_run(api: httpx.Client, alice: User, choice: Any, told: str) -> None:
    chat(api, alice, model="able", tools=TOOLS, tool_choice=choice)
    request = only_request()
    assert (request.tools, request.tool_choice, request.strict_tools) == (tuple(TOOLS), told, False)
    assert list(request.tools[0]["function"]["parameters"]["properties"]) == ["b", "a"]


def test_allowed_tools_are_a_subset_with_a_mode(api: httpx.Client, alice: User) -> None:
    others = [*TOOLS, {"type": "function", "function": {"name": "other", "strict": True}}]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "other"}}]}
    chat(api, alice, model="able", tools=others, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    request = only_request()
    assert ([tool["function"]["name"] for tool in request.tools], request.tool_choice) == (["other"], "required")
    assert request.strict_tools


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Format("json")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            Format("schema", {"type": "object"}),
        ),
    ],
)
def test_the_form_of_the_answer_reaches_the_run(api: httpx.Client, alice: User, given: Any, told: Any) -> None:
    chat(api, alice, response_format=given)
    assert only_request().format == told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, True), ({"reasoning_effort": "none"}, False), ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "low", "reasoning": {"effort": "xhigh"}}, "max"),
        ({"reasoning": {"summary": "auto"}}, True),
    ],
)  # fmt: skip
def test_effort_is_how_much_to_think(api: httpx.Client, alice: User, asked: Any, told: Any) -> None:
    chat(api, alice, model="think", **asked)
    assert only_request().think == told


@pytest.mark.parametrize(("asked", "told"), [({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 3}, 3)])
def test_logprobs_reach_the_run(api: httpx.Client, alice: User, asked: Any, told: int) -> None:
    said = chat(api, alice, **asked).json()
    assert only_request().logprobs == told
    assert said["choices"][0]["logprobs"] == {"content": [], "refusal": None}


def test_n_answers_are_as_many_runs_with_seeds_of_their_own(api: httpx.Client, alice: User) -> None:
    said = [[(TEXT, {"t": text}), (END, ENDED)] for text in ("a", "b", "c")]
    with runner(alice, *said):
        reply = api.post("/v1/chat/completions", json={"model": "plain", "messages": HI, "n": 3, "seed": 5})
    assert reply.status_code == 200, reply.text
    choices = reply.json()["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "a"), (1, "b"), (2, "c")]
    assert sorted(request_of(run).sampling.seed for run in Run.objects.all()) == [5, 6, 7]
    assert reply.json()["usage"] == {
        "prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 0},
    }  # fmt: skip


def test_the_failure_of_one_of_n_is_the_reply_and_stops_the_others(api: httpx.Client, alice: User) -> None:
    problem = {"code": "busy", "message": "no room", "status": 503}
    with runner(alice, [(ERROR, problem)]):
        reply = api.post("/v1/chat/completions", json={"model": "plain", "messages": HI, "n": 2})
    assert (reply.status_code, reply.json()["error"]["message"]) == (503, "no room")
    assert set(Run.objects.values_list("outcome", flat=True)) == {"cancelled"}


# --- completions --------------------------------------------------------------------------------------------------


def test_a_completion_reaches_the_run(api: httpx.Client, alice: User) -> None:
    with runner(alice, HELLO):
        reply = api.post(
            "/v1/completions", json={"model": "able", "prompt": "P", "suffix": "S", "echo": True, "max_tokens": 4}
        )
    assert reply.json()["choices"] == [{"text": "PHello", "index": 0, "finish_reason": "stop"}]
    request = only_request()
    assert (request.kind, request.prompt, request.suffix, request.raw) == ("generate", "P", "S", False)
    assert (request.limits.num_predict, request.sampling.temperature) == (4, 1.0)


def test_each_prompt_of_a_list_has_its_choices(api: httpx.Client, alice: User) -> None:
    said = [[(TEXT, {"t": text}), (END, ENDED)] for text in "abcd"]
    with runner(alice, *said):
        reply = api.post("/v1/completions", json={"model": "plain", "prompt": ["x", "y"], "n": 2, "echo": True})
    assert [choice["text"] for choice in reply.json()["choices"]] == ["xa", "xb", "yc", "yd"]
    assert reply.json()["usage"]["prompt_tokens"] == 14


def test_a_completion_never_thinks_out_of_sight(api: httpx.Client, alice: User) -> None:
    with runner(alice, HELLO):
        assert api.post("/v1/completions", json={"model": "think", "prompt": "P"}).status_code == 200
    assert only_request().think is False


def test_an_empty_prompt_only_loads(api: httpx.Client, alice: User) -> None:
    with runner(alice, [(END, RunEnd("stop").as_data())]):
        said = api.post("/v1/completions", json={"model": "plain", "prompt": ""}).json()
    assert said["choices"] == [{"text": "", "index": 0, "finish_reason": "load"}]
    assert Run.objects.get().kind == "load"


# --- embeddings ---------------------------------------------------------------------------------------------------


def test_inputs_reach_the_run_and_vectors_come_back(api: httpx.Client, alice: User) -> None:
    vectors = [[0.6, 0.8], [1.0, 0.0]]
    with runner(alice, [(EMBEDDINGS, {"vectors": [json.dumps(vector) for vector in vectors]}), (END, ENDED)]):
        reply = api.post("/v1/embeddings", json={"model": "emb", "input": ["a", ""], "dimensions": 2})
    assert [row["embedding"] for row in reply.json()["data"]] == vectors
    request = only_request()
    assert (request.kind, request.inputs, request.dimensions) == ("embed", ("a", ""), 2)


def test_base64_holds_the_same_numbers(api: httpx.Client, alice: User) -> None:
    with runner(alice, [(EMBEDDINGS, {"vectors": ["[0.5,-0.25]"]}), (END, ENDED)]):
        reply = api.post("/v1/embeddings", json={"model": "emb", "input": "a", "encoding_format": "BASE64"})
    assert struct.unpack("<2f", base64.b64decode(reply.json()["data"][0]["embedding"])) == (0.5, -0.25)


# --- responses ----------------------------------------------------------------------------------------------------


def test_items_become_a_conversation(api: httpx.Client, alice: User) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Hm"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"b":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "sunny"}]},
        {"type": "web_search_call", "id": "ws_1"},
    ]
    respond(api, alice, instructions="Be kind", input=items)
    assert only_request().messages == (
        Message("system", "Be kind"),
        Message("user", "weather?"),
        Message("assistant", "I look", thinking="Hm", tool_calls=(ToolCall("weather", {"b": 1}, "c1"),)),
        Message("tool", "sunny", tool_name="weather", tool_call_id="c1"),
    )


def test_a_response_reaches_the_run_and_echoes_what_was_asked(api: httpx.Client, alice: User) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    tools = [
        {"type": "function", **WEATHER, "strict": True},
        {"type": "namespace", "name": "home", "tools": [{"type": "function", "name": "lamp"}]},
    ]
    asked = {"tools": tools, "tool_choice": {"type": "function", "name": "weather"}, "text": text, "top_p": 0.5}
    asked |= {"max_output_tokens": 9, "temperature": 0, "metadata": {"k": "v"}, "parallel_tool_calls": False}
    said = respond(api, alice, model="able", **asked).json()
    assert {name: said[name] for name in asked} == asked
    assert (said["object"], said["status"], said["store"]) == ("response", "completed", False)
    request = only_request()
    assert [tool["function"]["name"] for tool in request.tools] == ["weather", "home.lamp"]
    assert (request.tool_choice, request.strict_tools, request.format) == ("weather", True, Format("schema", schema))
    assert (request.sampling.top_p, request.limits.num_predict, request.limits.truncate) == (0.5, 9, False)


def test_a_response_leaves_top_p_to_the_model(api: httpx.Client, alice: User, make_model: MakeModel) -> None:
    make_model("tuned", alice, params={"temperature": 0.3, "top_p": 0.2})
    respond(api, alice, model="tuned", truncation="auto", include=["message.output_text.logprobs"])
    request = only_request()
    assert (request.sampling.top_p, request.sampling.temperature) == (0.2, 1.0)
    assert (request.limits.truncate, request.logprobs) == (True, 0)


def test_a_model_of_the_library_is_for_all_and_anothers_for_nobody(
    caller: Caller, alice: User, charlie: User, make_model: MakeModel
) -> None:
    make_model("shared", None)
    make_model("hers", alice)
    with runner(charlie, HELLO):
        reply = caller(charlie).post("/v1/chat/completions", json={"model": "shared", "messages": HI})
        assert reply.status_code == 200
    for path, rest in (
        ("chat/completions", {"messages": HI}),
        ("completions", {"prompt": "x"}),
        ("responses", {"input": "x"}),
    ):
        reply = caller(charlie).post(f"/v1/{path}", json={"model": "alice/hers", **rest})
        assert (reply.status_code, reply.json()["error"]["message"]) == (404, "model 'alice/hers' not found")
    assert [row["id"] for row in caller(charlie).get("/v1/models").json()["data"]] == ["shared:latest"]
    assert caller(charlie).get("/v1/models/alice/hers").status_code == 404
