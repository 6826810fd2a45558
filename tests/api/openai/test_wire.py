"""Frames to chunks, events and replies, against what was recorded. No server, no database."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.openai import wire
from apps.api.openai.chat_replies import ChatRenderer
from apps.api.openai.completion_replies import CompletionRenderer
from apps.api.openai.embedding_replies import EmbeddingRenderer, LoadRenderer, packed
from apps.api.openai.replies import Style
from apps.api.openai.response_replies import ResponseRenderer
from apps.errors import Problem
from apps.inference.types import EMBEDDINGS, END, ERROR, PROGRESS, TEXT, THINKING, TOOL_CALLS, RunEnd
from apps.streams.joined import PART, PART_END
from apps.streams.log import Entry
from tests.api.openai.recordings import body_of, data, holds, names

MODEL = "qwen2.5-coder:0.5b"
CALL = {"id": "call_1", "name": "weather", "arguments": {"city": "Köln", "days": 2}}
LP = {"token": "Hel", "logprob": -0.1, "bytes": [72, 101, 108]}
LP_TOP = {**LP, "top": [{"token": "Hi", "logprob": -2.0, "bytes": [72, 105]}]}
RESPONSE_ENDS = {"completed": "stop", "incomplete": "length"}


def ended(reason: Any = "stop", **kw: Any) -> tuple[str, dict[str, Any]]:
    return END, RunEnd(reason, prompt_tokens=31, cached_tokens=4, output_tokens=8, **kw).as_data()


def entries(*pairs: tuple[str, dict[str, Any]]) -> list[Entry]:
    return [Entry("1-0", kind, data) for kind, data in pairs]


def stream(renderer: Any, *pairs: tuple[str, dict[str, Any]]) -> list[str]:
    written = b"".join(piece for entry in entries(*pairs) for piece in renderer.lines(entry)).decode()
    assert not written or written.endswith("\n\n")
    return written.split("\n")


def whole(renderer: Any, *pairs: tuple[str, dict[str, Any]]) -> Any:
    reply = renderer.whole(entries(*pairs))
    assert (reply.status_code, reply["Content-Type"]) == (200, "application/json")
    return json.loads(reply.content)


def chat(**kw: Any) -> ChatRenderer:
    return ChatRenderer(Style(MODEL, **kw))


def completion(**kw: Any) -> CompletionRenderer:
    return CompletionRenderer(Style(MODEL, **kw))


def response(**kw: Any) -> ResponseRenderer:
    return ResponseRenderer(MODEL, {}, **{"logprobs": False, "single_call": False, **kw})


HELLO = [(TEXT, {"t": "Hel"}), (TEXT, {"t": "lo"})]


def test_a_chat_has_the_recorded_shape() -> None:
    said = whole(chat(), *HELLO, ended("length"))
    assert holds(said, body_of("openai-chat"))
    assert said["choices"][0] == {
        "index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length",
    }  # fmt: skip
    assert said["usage"] == {
        "prompt_tokens": 31, "completion_tokens": 8, "total_tokens": 39, "prompt_tokens_details": {"cached_tokens": 4},
    }  # fmt: skip


def test_a_chat_stream_has_the_recorded_chunks_in_their_order() -> None:
    said = data(stream(chat(include_usage=True), *HELLO, ended("length")))
    golden = data(body_of("openai-chat-stream"))
    first, second, finish, usage, done = said
    pairs = zip([first, second, finish, usage], [*golden[:2], *golden[-3:-1]], strict=True)
    assert all(holds(ours, theirs) for ours, theirs in pairs)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Hel"}
    assert second["choices"][0]["delta"] == {"content": "lo"}
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 39, "[DONE]")
    assert len({(chunk["id"], chunk["created"]) for chunk in said[:-1]}) == 1


def test_no_chunk_has_usage_unless_it_was_asked_for() -> None:
    said = data(stream(chat(), *HELLO, ended()))
    assert said[-1] == "[DONE]" and len(said) == 4
    assert all("usage" not in chunk for chunk in said[:-1])


def test_an_empty_answer_still_opens_with_a_role() -> None:
    opening, finish, done = data(stream(chat(), ended()))
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (finish["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


def test_thinking_is_reasoning() -> None:
    said = [(THINKING, {"t": "Hm"}), (TEXT, {"t": "Yes"}), ended()]
    assert whole(chat(), *said)["choices"][0]["message"] == {"role": "assistant", "content": "Yes", "reasoning": "Hm"}
    first, second, *_ = data(stream(chat(), *said))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "reasoning": "Hm"}
    assert second["choices"][0]["delta"] == {"content": "Yes"}


@pytest.mark.parametrize(("reason", "told"), [("stop", "tool_calls"), ("length", "length")])
def test_calls_carry_their_arguments_as_a_string(reason: str, told: str) -> None:
    said = [(TOOL_CALLS, {"calls": [CALL]}), (TOOL_CALLS, {"calls": [{**CALL, "id": "call_2"}]}), ended(reason)]
    choice = whole(chat(), *said)["choices"][0]
    first, second = choice["message"]["tool_calls"]
    assert first == {
        "id": "call_1", "index": 0, "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Köln","days":2}'},
    }  # fmt: skip
    assert (second["id"], second["index"], choice["finish_reason"]) == ("call_2", 1, told)
    assert choice["message"]["content"] == ""
    *chunks, finish, _ = data(stream(chat(), *said))
    assert [chunk["choices"][0]["delta"]["tool_calls"] for chunk in chunks] == [[first], [second]]
    assert finish["choices"][0]["finish_reason"] == told


def test_without_parallel_calls_only_the_first_goes_out() -> None:
    said = [(TOOL_CALLS, {"calls": [CALL, CALL]}), (TOOL_CALLS, {"calls": [CALL]}), ended()]
    assert len(whole(chat(single_call=True), *said)["choices"][0]["message"]["tool_calls"]) == 1
    assert (
        sum("tool_calls" in chunk["choices"][0]["delta"] for chunk in data(stream(chat(single_call=True), *said))[:-1])
        == 1
    )


def test_logprobs_stand_beside_the_text_they_belong_to() -> None:
    said = [(TEXT, {"t": "Hel", "lp": [LP_TOP]}), (TEXT, {"t": "lo", "lp": [LP]}), ended()]
    content = whole(chat(logprobs=True), *said)["choices"][0]["logprobs"]["content"]
    assert [item["token"] for item in content] == ["Hel", "Hel"]
    assert content[0] == {**LP, "top_logprobs": [{"token": "Hi", "logprob": -2.0, "bytes": [72, 105]}]}
    assert content[1] == {**LP, "top_logprobs": []}
    first = data(stream(chat(logprobs=True), *said))[0]["choices"][0]
    assert first["logprobs"] == {"content": content[:1], "refusal": None}
    assert "logprobs" not in data(stream(chat(), *said))[0]["choices"][0]


def test_several_choices_are_told_apart_by_index_and_their_prompt_counts_once() -> None:
    pieces = [(TEXT, {"t": "b", PART: 1}), (TEXT, {"t": "a", PART: 0}), (TEXT, {"t": "B", PART: 1})]
    ends = [(PART_END, {**ended()[1], PART: 1}), (PART_END, {**ended("length")[1], PART: 0}), (END, {})]
    said = whole(chat(choices=2, per_prompt=2), *pieces, *ends)
    assert [choice["message"]["content"] for choice in said["choices"]] == ["a", "bB"]
    assert [choice["finish_reason"] for choice in said["choices"]] == ["length", "stop"]
    assert (said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"]) == (31, 16)
    *chunks, done = data(stream(chat(choices=2, per_prompt=2), *pieces, *ends))
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [1, 0, 1, 1, 0]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks] == [
        "assistant",
        "assistant",
        None,
        None,
        None,
    ]
    assert done == "[DONE]"


def test_what_was_dropped_of_the_prompt_is_told_at_the_end() -> None:
    assert whole(chat(), *HELLO, ended(dropped_tokens=7))["prompt_dropped_count"] == 7
    assert data(stream(chat(), *HELLO, ended(dropped_tokens=7)))[-2]["prompt_dropped_count"] == 7
    assert "prompt_dropped_count" not in whole(chat(), *HELLO, ended())
    assert whole(completion(), *HELLO, ended(dropped_tokens=7))["prompt_dropped_count"] == 7
    assert data(stream(completion(), *HELLO, ended(dropped_tokens=7)))[-2]["prompt_dropped_count"] == 7
    assert whole(response(), *HELLO, ended(dropped_tokens=7))["prompt_dropped_count"] == 7


def test_an_error_in_mid_stream_is_an_event_and_nothing_follows() -> None:
    problem = Problem("internal", "the runner has stopped")
    last = data(stream(chat(), *HELLO, (ERROR, problem.as_data())))[-1]
    assert last == {"error": {"message": problem.message, "type": "api_error", "param": None, "code": None}}
    assert data(stream(completion(), *HELLO, (ERROR, problem.as_data())))[-1] == last


@pytest.mark.parametrize("make", [chat, completion, response])
@pytest.mark.parametrize(("reason", "status"), [("cancelled", 499), ("error", 500)])
def test_a_run_that_was_broken_off_is_an_error(make: Any, reason: str, status: int) -> None:
    with pytest.raises(Problem) as caught:
        stream(make(), ended(reason))
    assert caught.value.status == status
    assert make().whole(entries(ended(reason))).status_code == status


def test_progress_is_no_part_of_a_reply() -> None:
    loading = (PROGRESS, {"stage": "loading", "fraction": 0.5})
    assert all(stream(make(), loading) == [""] for make in (chat, completion, response))
    assert whole(chat(), loading, *HELLO, ended())["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize("text", ["a\u2028b", "x\u2029", "\x85", 'é"\\\n\x01 😀', "</a>&"])
def test_every_text_comes_back_from_one_line(text: str) -> None:
    assert_comes_back(text)


@given(text=st.text(max_size=30))
def test_any_text_comes_back_from_one_line(text: str) -> None:
    assert_comes_back(text)


def assert_comes_back(text: str) -> None:
    (line,) = chat().lines(Entry("1-0", TEXT, {"t": text}))
    assert len(line.decode().splitlines()) == 2
    assert json.loads(line.decode()[6:])["choices"][0]["delta"]["content"] == text.encode("utf-8", "replace").decode()


def test_a_chunk_costs_less_than_a_hundredth_of_a_millisecond() -> None:
    renderer, entry = chat(), Entry("1-0", TEXT, {"t": " token"})
    best = min(_microseconds_a_chunk(renderer, entry) for _ in range(20))
    assert best < 10, f"{best:.1f} us a chunk"


def _microseconds_a_chunk(renderer: ChatRenderer, entry: Entry) -> float:
    started = time.perf_counter()
    for _ in range(200):
        list(renderer.lines(entry))
    return (time.perf_counter() - started) / 200 * 1e6


# --- completions --------------------------------------------------------------------------------------------------


def test_a_completion_has_the_recorded_shape() -> None:
    said = whole(completion(), *HELLO, ended("length"))
    assert holds(said, body_of("openai-completions"))
    assert said["choices"] == [{"text": "Hello", "index": 0, "finish_reason": "length"}]


def test_a_completion_stream_ends_with_an_empty_text_and_its_reason() -> None:
    said = data(stream(completion(), *HELLO, ended("length")))
    golden = data(body_of("openai-completions-stream"))
    assert said[-1] == golden[-1] == "[DONE]"
    assert all(holds(ours, golden[0]) for ours in said[:2])
    assert holds(said[2], golden[-2]) and said[2]["choices"][0] == golden[-2]["choices"][0]
    assert [chunk["choices"][0]["text"] for chunk in said[:-1]] == ["Hel", "lo", ""]


def test_usage_of_a_completion_comes_in_a_last_chunk() -> None:
    *chunks, usage, _ = data(stream(completion(include_usage=True), *HELLO, ended()))
    assert all(chunk["usage"] is None for chunk in chunks) and len(chunks) == 3
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 8)


def test_the_prompt_is_echoed_once() -> None:
    assert whole(completion(prefixes=("P: ",)), *HELLO, ended())["choices"][0]["text"] == "P: Hello"
    said = data(stream(completion(prefixes=("P: ",)), *HELLO, ended()))
    assert [chunk["choices"][0]["text"] for chunk in said[:-1]] == ["P: Hel", "lo", ""]


def test_logprobs_of_a_completion_are_lists_side_by_side() -> None:
    said = [(TEXT, {"t": "Hel", "lp": [LP_TOP]}), (TEXT, {"t": "Hel", "lp": [LP]}), ended()]
    golden = {
        "tokens": ["Hel", "Hel"], "token_logprobs": [-0.1, -0.1], "top_logprobs": [{"Hi": -2.0}, {}],
        "text_offset": [0, 3],
    }  # fmt: skip
    assert whole(completion(logprobs=True), *said)["choices"][0]["logprobs"] == golden
    chunks = data(stream(completion(logprobs=True), *said))[:2]
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks] == [[0], [3]]


def test_a_load_is_one_chunk_of_a_stream() -> None:
    (said, done) = data(stream(LoadRenderer("m"), (PROGRESS, {"stage": "loading"}), ended()))
    assert (said["choices"], done) == ([{"text": "", "index": 0, "finish_reason": "load"}], "[DONE]")


# --- embeddings ---------------------------------------------------------------------------------------------------


def test_embeddings_come_in_parts_and_leave_in_order() -> None:
    parts = [(EMBEDDINGS, {"vectors": ["[0.5,0.25]"]}), (EMBEDDINGS, {"vectors": ["[1.0,-2.0]"]}), ended()]
    said = whole(EmbeddingRenderer("m", as_base64=False), *parts)
    assert said["data"] == [
        {"object": "embedding", "embedding": [0.5, 0.25], "index": 0},
        {"object": "embedding", "embedding": [1.0, -2.0], "index": 1},
    ]
    assert (said["object"], said["model"], said["usage"]) == ("list", "m", {"prompt_tokens": 31, "total_tokens": 31})


def test_base64_is_little_endian_float32() -> None:
    assert packed([1.0, -2.0]) == "AACAPwAAAMA="
    said = whole(EmbeddingRenderer("m", as_base64=True), (EMBEDDINGS, {"vectors": ["[1.0,-2.0]"]}), ended())
    assert said["data"][0]["embedding"] == "AACAPwAAAMA="


# --- responses ----------------------------------------------------------------------------------------------------


def test_a_response_adds_up_to_what_its_events_told() -> None:
    said = [(THINKING, {"t": "Hm"}), (TEXT, {"t": "Let me see"}), (TOOL_CALLS, {"calls": [CALL]}), ended()]
    assert output_of(whole(response(), *said)) == output_of(data(stream(response(), *said))[-1]["response"])


def output_of(response: dict[str, Any]) -> Any:
    """Without the ids: each reply has its own."""
    return [{key: value for key, value in item.items() if key != "id"} for item in response["output"]]


def test_a_response_holds_reasoning_text_and_calls() -> None:
    said = [
        (THINKING, {"t": "H"}),
        (THINKING, {"t": "m"}),
        (TEXT, {"t": "See"}),
        (TOOL_CALLS, {"calls": [CALL]}),
        ended(),
    ]
    reasoning, message, call = output_of(whole(response(), *said))
    assert reasoning == {
        "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "Hm",
    }  # fmt: skip
    assert message["content"] == [{"type": "output_text", "text": "See", "annotations": [], "logprobs": []}]
    assert (message["role"], message["status"]) == ("assistant", "completed")
    assert call == {
        "type": "function_call", "status": "completed", "call_id": "call_1", "name": "weather",
        "arguments": '{"city":"Köln","days":2}',
    }  # fmt: skip


def test_the_events_of_a_text_come_in_the_recorded_order() -> None:
    lines = stream(response(), *HELLO, ended())
    golden = names(body_of("openai-responses-stream"))
    assert names(lines) == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert list(dict.fromkeys(names(lines))) == list(dict.fromkeys(golden))
    events = data(lines)
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert [event["type"] for event in events] == names(lines)
    assert "[DONE]" not in events


def test_every_recorded_event_is_matched_by_ours() -> None:
    ours = {event["type"]: event for event in data(stream(response(), *HELLO, ended()))}
    known = {event["type"]: event for event in data(body_of("openai-responses-stream"))}
    assert len(known) >= 8
    echoed = {"instructions", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p", "metadata",
              "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "max_output_tokens",
              "max_tool_calls", "safety_identifier", "prompt_cache_key", "completed_at"}  # fmt: skip
    for kind, golden in known.items():
        golden = {**golden, **({"response": without(golden["response"], echoed)} if "response" in golden else {})}
        assert holds(ours[kind], golden), kind


def without(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in names}


def test_the_events_of_thinking_and_calls_come_in_openais_order() -> None:
    said = [(THINKING, {"t": "Hm"}), (TOOL_CALLS, {"calls": [CALL]}), ended()]
    assert names(stream(response(), *said))[2:] == [
        "response.output_item.added", "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "response.output_item.done",
        "response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip


def test_an_empty_response_is_one_empty_message() -> None:
    (message,) = whole(response(), ended())["output"]
    assert message["content"][0]["text"] == ""


@pytest.mark.parametrize(("status", "reason"), RESPONSE_ENDS.items())
def test_a_response_cut_at_its_limit_is_incomplete(status: str, reason: str) -> None:
    assert names(stream(response(), *HELLO, ended(reason)))[-1] == f"response.{status}"
    said = whole(response(), *HELLO, ended(reason))
    details = {"reason": "max_output_tokens"} if status == "incomplete" else None
    assert (said["status"], said["incomplete_details"]) == (status, details)
    assert said["usage"] == {
        "input_tokens": 31, "output_tokens": 8, "total_tokens": 39, "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip


def test_a_response_that_fails_in_mid_stream_says_so() -> None:
    problem = Problem("internal", "the runner has stopped")
    lines = stream(response(), *HELLO, (ERROR, problem.as_data()))
    last = data(lines)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": problem.message}


def test_logprobs_of_a_response_stand_in_its_deltas_and_its_text() -> None:
    events = data(stream(response(logprobs=True), (TEXT, {"t": "Hel", "lp": [LP]}), ended()))
    token = {**LP, "top_logprobs": []}
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == [[token]]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [token]


def test_ids_are_told_apart() -> None:
    assert len({wire.new_id("x_") for _ in range(50)}) == 50
