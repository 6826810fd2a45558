"""Frames to lines: shapes and key order as recorded, bytes as Go writes them, and quick enough for every token."""

import json
import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.ollama import wire
from apps.api.ollama.renderers import DebugRenderer, GenerationRenderer, JobRenderer, LoadRenderer
from apps.errors import Problem
from apps.inference.types import END, ERROR, PROGRESS, RENDERED, TEXT, TOOL_CALLS, RunEnd
from apps.streams.log import Entry
from tests.api.ollama.recordings import FRAMES, body_of, shape

ENDED = RunEnd(
    "length", prompt_tokens=31, output_tokens=8, load_ns=5, prompt_ns=23_452_000, eval_ns=732_318_000, context=(1, 2)
).as_data()


def a_reply(*, chat: bool = False, model: str = "qwen2.5-coder:0.5b") -> wire.Reply:
    return wire.Reply(model, chat=chat, started_ns=time.perf_counter_ns())


def entry(kind: str, data: dict[str, Any]) -> Entry:
    return Entry("1-0", kind, data)


def lines(renderer: Any, *entries: Entry) -> list[Any]:
    written = b"".join(piece for each in entries for piece in renderer.lines(each))
    assert written.endswith(b"\n")
    return [json.loads(line) for line in written.decode().splitlines()]


@pytest.mark.parametrize(("chat", "recorded"), [(False, "generate-stream"), (True, "chat-stream")])
def test_a_stream_has_the_recorded_shape(chat: bool, recorded: str) -> None:
    golden = body_of(recorded)
    said = lines(GenerationRenderer(a_reply(chat=chat)), entry(TEXT, {"t": "Hello"}), entry(END, ENDED))
    assert [shape(line) for line in said] == [shape(golden[0]), shape(golden[-1])]


@pytest.mark.parametrize(("chat", "recorded"), [(False, "generate-nostream"), (True, "chat-nostream-history")])
def test_a_whole_reply_has_the_recorded_shape_and_all_the_text(chat: bool, recorded: str) -> None:
    entries = [entry(TEXT, {"t": "Hel"}), entry(TEXT, {"t": "lo"}), entry(END, ENDED)]
    reply = GenerationRenderer(a_reply(chat=chat)).whole(entries)
    said = json.loads(reply.content)
    assert shape(said) == shape(body_of(recorded))
    assert (said["message"]["content"] if chat else said["response"]) == "Hello"
    assert reply["Content-Type"] == "application/json; charset=utf-8"


def ordered(said: Any) -> str:
    """The bytes of an object, order and all, without what is another each time."""
    return wire.dumps(
        {key: value for key, value in said.items() if key not in ("model", "created_at", "total_duration")}
    )


@pytest.mark.parametrize("name", FRAMES)
def test_the_golden_frames_become_the_golden_lines(name: str) -> None:
    golden = FRAMES[name]
    frames = [entry(*frame) for frame in golden["frames"]]
    said = lines(GenerationRenderer(a_reply(chat=golden["chat"])), *frames)
    assert list(map(ordered, said)) == list(map(wire.dumps, golden["lines"]))
    assert all(list(line)[:2] == ["model", "created_at"] for line in said)
    whole = GenerationRenderer(a_reply(chat=golden["chat"])).whole(frames)
    assert ordered(json.loads(whole.content)) == wire.dumps(golden["whole"])


@pytest.mark.parametrize(("chat", "recorded"), [(False, "generate-render-only"), (True, "chat-render-only")])
def test_a_prompt_to_be_shown_has_the_recorded_shape(chat: bool, recorded: str) -> None:
    frames = [entry(PROGRESS, {"stage": "loading"}), entry(RENDERED, {"text": "<a>", "images": 0}), entry(END, ENDED)]
    said = json.loads(DebugRenderer(a_reply(chat=chat)).whole(frames).content)
    golden = body_of(recorded)
    assert shape(said) == shape(golden)
    assert said["_debug_info"] == {"rendered_template": "<a>"}
    assert (said["done"], said.get("message")) == (False, golden.get("message"))


def test_a_prompt_to_be_shown_says_how_many_images_it_has() -> None:
    renderer = DebugRenderer(a_reply())
    said = json.loads(renderer.whole([entry(RENDERED, {"text": "x", "images": 2}), entry(END, ENDED)]).content)
    assert said["_debug_info"] == {"rendered_template": "x", "image_count": 2}
    assert renderer.whole([entry(END, {"reason": "cancelled"})]).status_code == 499
    assert renderer.whole([entry(END, {"reason": "stop"})]).status_code == 500


def test_what_json_cannot_say_never_breaks_a_reply() -> None:
    infinite = [
        {"token": "a", "logprob": float("-inf"), "bytes": [97], "top": [{"token": "b", "logprob": float("nan")}]}
    ]
    call = {"id": "call_1", "name": "f", "arguments": {"a": [1e999, {"b": -1e999}], "c": 1.5}}
    said = lines(
        GenerationRenderer(a_reply(chat=True)),
        entry(TEXT, {"t": "a", "lp": infinite}),
        entry(TOOL_CALLS, {"calls": [call]}),
    )
    assert said[0]["logprobs"][0]["logprob"] == said[0]["logprobs"][0]["top_logprobs"][0]["logprob"] == -9999.0
    assert said[1]["message"]["tool_calls"][0]["function"]["arguments"] == {"a": [None, {"b": None}], "c": 1.5}


def test_a_raw_reply_and_a_chat_carry_no_context() -> None:
    raw = json.loads(GenerationRenderer(a_reply()).whole([entry(END, {**ENDED, "context": []})]).content)
    assert shape(raw) == shape(body_of("generate-raw"))
    assert "context" not in json.loads(GenerationRenderer(a_reply(chat=True)).whole([entry(END, ENDED)]).content)


@pytest.mark.parametrize(
    ("chat", "reason", "recorded"),
    [
        (False, "load", "generate-load"),
        (False, "unload", "generate-unload"),
        (True, "load", "chat-load"),
        (True, "unload", "chat-unload"),
    ],
)
def test_an_empty_prompt_is_answered_with_the_recorded_object(chat: bool, reason: str, recorded: str) -> None:
    idle, golden = a_reply(chat=chat).idle(reason), body_of(recorded)
    assert shape(idle) == shape(golden)
    assert {**idle, "created_at": 0} == {**golden, "created_at": 0}


def test_loading_answers_one_object_once_the_model_is_there() -> None:
    renderer = LoadRenderer(a_reply().idle("load"))
    assert list(renderer.lines(entry(PROGRESS, {"stage": "loading", "fraction": 0.5}))) == []
    reply = renderer.whole([entry(PROGRESS, {"stage": "loading"}), entry(END, ENDED)])
    assert (reply.status_code, json.loads(reply.content)["done_reason"]) == (200, "load")


def test_durations_count_from_the_arrival_and_zero_counters_are_left_out() -> None:
    reply = wire.Reply("m", chat=True, started_ns=time.perf_counter_ns() - 10**9)
    last = reply.last(RunEnd("stop", prompt_tokens=3).as_data())
    assert last["total_duration"] >= 10**9
    assert list(last)[-2:] == ["total_duration", "prompt_eval_count"]


def test_the_model_is_echoed_as_typed_and_markup_is_escaped_as_go_does() -> None:
    line = a_reply(model="<M>\u2028é").text('</a>&"\\\n\x01\x7f 😀')
    assert b'"model":"\\u003cM\\u003e\\u2028\xc3\xa9"' in line
    assert b'"response":"\\u003c/a\\u003e\\u0026\\"\\\\\\n\\u0001\x7f \xf0\x9f\x98\x80"' in line
    assert json.loads(line)["response"] == '</a>&"\\\n\x01\x7f 😀'


@given(text=st.text(alphabet=st.characters(), max_size=30))
def test_every_text_comes_back_from_its_line(text: str) -> None:
    said = json.loads(a_reply(chat=True).text(text))["message"]["content"]
    assert said == text.encode("utf-8", "replace").decode()


def test_progress_frames_of_a_run_are_not_lines() -> None:
    assert list(GenerationRenderer(a_reply()).lines(entry(PROGRESS, {"stage": "loading", "fraction": 1.0}))) == []


def test_an_error_in_mid_stream_is_one_more_line() -> None:
    problem = Problem("internal", "an error was encountered while running the model: <x>")
    (said,) = lines(GenerationRenderer(a_reply()), entry(ERROR, problem.as_data()))
    assert said == {"error": problem.message}


@pytest.mark.parametrize(("reason", "status"), [("cancelled", 499), ("error", 500)])
def test_a_run_that_was_broken_off_ends_with_an_error_instead_of_done(reason: str, status: int) -> None:
    renderer = GenerationRenderer(a_reply())
    (said,) = lines(renderer, entry(END, RunEnd(reason).as_data()))  # type: ignore[arg-type]
    assert list(said) == ["error"]
    assert renderer.whole([entry(END, {"reason": reason})]).status_code == status


def test_an_error_before_the_first_line_is_a_status() -> None:
    reply = GenerationRenderer(a_reply()).failure(Problem("busy", "server busy", retry_after=3))
    assert (reply.status_code, reply["Retry-After"], reply["Content-Type"]) == (
        503, "3", "application/json; charset=utf-8",
    )  # fmt: skip
    assert json.loads(reply.content) == {"error": "server busy"}


def test_a_job_is_its_progress_line_by_line_or_the_last_of_them() -> None:
    entries = [entry(PROGRESS, {"status": "writing manifest"}), entry(PROGRESS, {"status": "success"}), entry(END, {})]
    assert lines(JobRenderer(), *entries) == [{"status": "writing manifest"}, {"status": "success"}]
    whole = JobRenderer().whole(entries)
    assert (whole.content, whole["Content-Type"]) == (b'{"status":"success"}', "application/json")


def test_a_failed_job_says_why() -> None:
    problem = Problem("invalid", "unknown type")
    assert lines(JobRenderer(), entry(ERROR, problem.as_data())) == [{"error": "unknown type"}]
    assert JobRenderer().failure(problem)["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("now_ns", "stamp"),
    [
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        (1_700_000_010_000_000_000, "2023-11-14T22:13:30Z"),
    ],
)
def test_times_are_utc_with_nanoseconds_and_no_trailing_zeros(now_ns: int, stamp: str) -> None:
    assert wire.Clock().stamp(now_ns) == stamp


def test_times_are_now() -> None:
    said = datetime.fromisoformat(json.loads(a_reply().text("x"))["created_at"][:26].rstrip("Z") + "+00:00")
    assert abs(said.timestamp() - time.time()) < 5


def test_a_line_costs_less_than_a_hundredth_of_a_millisecond() -> None:
    reply = a_reply(chat=True)
    best = min(_microseconds_a_line(reply) for _ in range(20))
    assert best < 10, f"{best:.1f} us a line"


def _microseconds_a_line(reply: wire.Reply) -> float:
    started = time.perf_counter()
    for _ in range(200):
        reply.text(" token")
    return (time.perf_counter() - started) / 200 * 1e6
