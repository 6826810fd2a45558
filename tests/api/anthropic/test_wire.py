"""Frames to events and messages, against what was recorded and what was written by hand. No server, no database."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.anthropic import wire
from apps.api.anthropic.content import Style
from apps.api.anthropic.replies import CountRenderer, MessageRenderer
from apps.errors import Problem
from apps.inference.types import END, ERROR, PROGRESS, RENDERED, TEXT, THINKING, TOOL_CALLS, RunEnd
from apps.streams.log import Entry
from tests.api.anthropic.recordings import FRAMES, body_of, events, holds

REQUEST_ID = "req_0123456789abcdef01234567"
PROBLEM = {"code": "internal", "message": "model runner has unexpectedly stopped", "status": 500}


def renderer(**style: Any) -> MessageRenderer:
    return MessageRenderer(Style("m", estimate=3, **style), REQUEST_ID)


def entries(frames: Any) -> list[Entry]:
    return [Entry("1-0", kind, data) for kind, data in frames]


def stream(told: MessageRenderer, frames: Any) -> list[dict[str, Any]]:
    written = b"".join(line for entry in entries(frames) for line in told.lines(entry)).decode()
    return events(written.split("\n")[:-1])


def whole(told: MessageRenderer, frames: Any) -> Any:
    reply = told.whole(entries(frames))
    assert (reply.status_code, reply["Content-Type"]) == (200, "application/json")
    return json.loads(reply.content)


def ended(reason: Any = "stop", **counts: Any) -> tuple[str, dict[str, Any]]:
    return END, RunEnd(reason, **{"prompt_tokens": 31, "output_tokens": 8, **counts}).as_data()


def nameless(message: dict[str, Any]) -> dict[str, Any]:
    assert message["id"].startswith("msg_") and len(message["id"]) == 28
    return {**message, "id": "msg_…"}


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_frames_become_the_events_written_by_hand(name: str) -> None:
    golden = FRAMES[name]
    first, *rest = stream(renderer(**golden["style"]), golden["frames"])
    assert [{**first, "message": nameless(first["message"])}, *rest] == golden["events"]


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_frames_become_the_message_written_by_hand(name: str) -> None:
    golden = FRAMES[name]
    assert nameless(whole(renderer(**golden["style"]), golden["frames"])) == golden["whole"]


def test_a_message_has_all_that_was_recorded() -> None:
    golden = body_of("anthropic-messages")
    assert holds(whole(renderer(), [(TEXT, {"t": "Hello!"}), ended("length")]), golden)
    assert golden["stop_reason"] == "max_tokens"


def test_a_stream_has_all_that_was_recorded_in_its_order() -> None:
    golden = events(body_of("anthropic-messages-stream"))
    frames = [*((TEXT, {"t": text}) for text in ("Hello", "!", " How")), ended("length")]
    said = [event for event in stream(renderer(), frames) if event["type"] != "ping"]
    assert [event["type"] for event in said] == [event["type"] for event in golden]
    assert all(holds(ours, theirs) for ours, theirs in zip(said, golden, strict=True))
    assert said[0]["message"]["usage"]["input_tokens"] == golden[0]["message"]["usage"]["input_tokens"]


def test_nothing_is_written_before_something_is_said() -> None:
    assert stream(renderer(), [(PROGRESS, {"stage": "loading", "fraction": 0.1}), (TEXT, {"t": ""})]) == []


def test_an_error_in_mid_stream_is_an_event() -> None:
    *_, last = stream(renderer(), [(TEXT, {"t": "Hel"}), (ERROR, PROBLEM)])
    assert last == {
        "type": "error",
        "error": {"type": "api_error", "message": PROBLEM["message"]},
        "request_id": REQUEST_ID,
    }


def test_an_answer_broken_off_is_an_error() -> None:
    *_, last = stream(renderer(), [(TEXT, {"t": "Hel"}), ended("cancelled")])
    assert (last["type"], last["error"]["message"]) == ("error", "request canceled")
    with pytest.raises(Problem, match="broken off"):  # nothing was said: the reply gets a status
        stream(renderer(), [ended("error")])
    reply = renderer().whole(entries([(TEXT, {"t": "Hel"}), ended("error")]))
    assert (reply.status_code, json.loads(reply.content)["error"]["type"]) == (500, "api_error")


def test_a_failure_before_the_first_line_has_a_status_and_the_request_id() -> None:
    reply = renderer().failure(Problem("busy", "server busy", retry_after=1))
    assert (reply.status_code, reply["Retry-After"], reply["request-id"]) == (503, "1", REQUEST_ID)
    assert json.loads(reply.content) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "server busy"},
        "request_id": REQUEST_ID,
    }


def test_a_count_is_of_the_whole_prompt_whatever_was_dropped_of_it() -> None:
    frames = [(RENDERED, {"text": "…", "images": 0, "tokens": 40}), ended("stop", dropped_tokens=9)]
    assert json.loads(CountRenderer(REQUEST_ID).whole(entries(frames)).content) == {"input_tokens": 40}
    cancelled = CountRenderer(REQUEST_ID).whole(entries([ended("cancelled")]))
    assert (cancelled.status_code, cancelled["request-id"]) == (499, REQUEST_ID)


def test_a_line_of_a_stream_is_one_line_whatever_is_said() -> None:
    text = "a\u2028b\u2029c\x85d\ne\r\u0001\x7f</script>💡"
    written = b"".join(line for entry in entries([(TEXT, {"t": text})]) for line in renderer().lines(entry)).decode()
    assert len(written.splitlines()) == len(written.split("\n")[:-1])
    assert events(written.split("\n")[:-1])[-1]["delta"]["text"] == text


texts = st.text(max_size=6)
calls = st.lists(st.fixed_dictionaries({"id": texts, "name": texts, "arguments": st.dictionaries(texts, texts)}))
frames = st.lists(
    st.tuples(st.sampled_from([TEXT, THINKING]), st.fixed_dictionaries({"t": texts}))
    | st.tuples(st.just(TOOL_CALLS), st.fixed_dictionaries({"calls": calls})),
    max_size=8,
)


def put_together(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks of a stream as a client makes them."""
    blocks: list[dict[str, Any]] = []
    for event in said:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "json": ""})
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(blocks) - 1
            block, (kind, name) = blocks[-1], event["delta"]
            assert kind == "type"
            block["json" if name == "partial_json" else name] += event["delta"][name]
    for block in blocks:
        if read := block.pop("json"):
            block["input"] = json.loads(read)
    return blocks


@given(frames=frames, single=st.booleans(), shown=st.booleans())
def test_a_stream_put_together_is_the_whole(frames: Any, single: bool, shown: bool) -> None:
    style = {"single_call": single, "shows_thinking": shown}
    said = stream(renderer(**style), [*frames, ended()])
    content = whole(renderer(**style), [*frames, ended()])["content"]
    assert put_together(said) == content
    kept = [block for block in content if block["type"] == "tool_use"]
    offered = sum(len(data["calls"]) for kind, data in frames if kind == TOOL_CALLS)
    assert len(kept) == (min(offered, 1) if single else offered)
    assert "".join(block["text"] for block in content if block["type"] == "text") == "".join(
        data["t"] for kind, data in frames if kind == TEXT
    )


def test_a_signature_does_not_depend_on_how_the_thinking_was_cut() -> None:
    assert wire.signature(["Let me ", "see."]) == wire.signature(["Let me see."]) != wire.signature(["Let me"])
