"""What a run says, as frames."""

from typing import Any

from apps.inference.engine.engine import Text
from apps.inference.engine.logprobs import Logprob
from apps.inference.parsing import Parser, Reply
from apps.inference.runner.frames import Frames
from apps.inference.types import EMBEDDINGS, TEXT, THINKING, TOOL_CALLS

CALL = '<tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call>'
HERMES = Reply("hermes", ("now",), thinking=("<think>", "</think>"))


def hear(frames: Frames, *texts: str, weighed: bool = False) -> Frames:
    for text in texts:
        frames.hear(Text("r", text, (Logprob(text.encode(), -0.5),) if weighed else ()))
    return frames


def tokens(data: dict[str, Any]) -> list[str]:
    return [item["token"] for item in data["lp"]]


def test_texts_that_follow_each_other_are_one_frame() -> None:
    frames = hear(Frames(), "a", "b", "<think>")
    assert frames.take() == [(TEXT, {"t": "ab<think>"})]
    assert not frames and frames.size == 0


def test_thinking_text_and_calls_are_frames_in_order() -> None:
    frames = hear(Frames(Parser(HERMES)), *f"<think>hm</think>So. {CALL}\n{CALL}")
    frames.close()
    thinking, text, (kind, data) = frames.take()
    assert (thinking, text, kind) == ((THINKING, {"t": "hm"}), (TEXT, {"t": "So. "}), TOOL_CALLS)
    assert [(call["name"], call["arguments"]) for call in data["calls"]] == [("now", {"zone": "UTC"})] * 2
    assert len({call["id"] for call in data["calls"]}) == 2


def test_what_is_held_back_comes_at_the_end() -> None:
    frames = hear(Frames(Parser(Reply("json", ("now",)))), '{"name": "now", ', '"arguments": {}')
    assert not frames
    frames.close()
    assert frames.take() == [(TEXT, {"t": '{"name": "now", "arguments": {}'})]


def test_logprobs_stay_with_their_text() -> None:
    frames = hear(Frames(), "a", "b", weighed=True)
    [(kind, data)] = frames.take()
    assert (kind, data["t"], tokens(data)) == (TEXT, "ab", ["a", "b"])
    assert data["lp"][0] == {"token": "a", "logprob": -0.5, "bytes": [97]}


def test_logprobs_of_text_that_is_held_back_come_alone() -> None:
    frames = hear(Frames(Parser(HERMES)), "So ", weighed=True)
    assert [data["t"] for _, data in frames.take()] == ["So "]
    hear(frames, "<", weighed=True)
    [(kind, data)] = frames.take()
    assert (kind, data["t"], tokens(data)) == (TEXT, "", ["<"])
    hear(frames, "b>", weighed=True)
    [(kind, data)] = frames.take()
    assert (kind, data["t"], tokens(data)) == (TEXT, "<b>", ["b>"])


def test_logprobs_of_the_thinking_are_with_the_thinking() -> None:
    frames = hear(Frames(Parser(HERMES)), "<think>", "hm", "</thi", "nk>", "So", weighed=True)
    frames.close()
    found = frames.take()
    assert [(kind, data["t"]) for kind, data in found] == [(TEXT, ""), (THINKING, "hm"), (TEXT, "So")]
    assert [tokens(data) for _, data in found] == [["<think>"], ["hm", "</thi", "nk>"], ["So"]]


def test_the_logprobs_of_a_call_stand_before_it() -> None:
    frames = hear(Frames(Parser(HERMES)), *CALL.partition("now"), weighed=True)
    frames.close()
    (first, data), (second, _) = frames.take()
    assert (first, second, "".join(tokens(data))) == (TEXT, TOOL_CALLS, CALL)


def test_vectors_that_follow_each_other_are_one_frame() -> None:
    frames = Frames()
    frames.show([[1.0, 0.0]])
    frames.show([[0.0, 1.0]])
    assert frames.size > 0
    assert frames.take() == [(EMBEDDINGS, {"vectors": ["[1.0,0.0]", "[0.0,1.0]"]})]
