"""What a host does with a run before its runner has it, with the real render child and no runner at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.errors import Problem
from apps.inference import commands
from apps.inference.host import Host, Seat
from apps.inference.types import PROGRESS, RENDERED, Limits, LoadOptions, Message, Request, RunEnd
from tests.inference.test_runs import version

LONG = tuple(Message("user" if at % 2 == 0 else "assistant", "word " * 40) for at in range(21))


class Notes:
    """The agent, as far as a host reports to it here."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, dict[str, Any]]] = []
        self.ends: list[tuple[RunEnd, Problem | None]] = []

    def ready(self, host: Host, event: dict[str, Any]) -> None: ...

    def progress(self, host: Host, fraction: float) -> None: ...

    def gone(self, host: Host, why: str) -> None: ...

    def note(self, seat: Seat, kind: str, data: dict[str, Any]) -> None:
        assert not self.ends, "a frame behind the end"
        self.frames.append((kind, data))

    def ended(self, host: Host, seat: Seat, end: RunEnd, problem: Problem | None) -> None:
        self.ends.append((end, problem))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def host(gguf_path: Path, notes: Notes) -> Iterator[Host]:
    host = Host("replica", {"model_path": str(gguf_path)}, notes)
    yield host
    host.renderer.close()


def seat(host: Host, request: Request, *, context: int = 512) -> Seat:
    payload = json.loads(json.dumps(commands.stored(request, version())))
    taken = Seat("run", 1, 2, request.kind, 0, payload, 7, context)
    host.seats[taken.run_id] = taken
    return taken


def test_a_prompt_that_is_only_shown_never_reaches_the_runner(host: Host, notes: Notes) -> None:
    request = Request(kind="chat", messages=(Message("user", "hello"),), render_only=True)
    assert host._prepare(seat(host, request)) is None
    ((kind, shown),) = notes.frames
    assert kind == RENDERED and "hello" in shown["text"] and shown["images"] == 0
    assert [(end.reason, problem) for end, problem in notes.ends] == [("stop", None)]
    assert not host.seats


def test_what_was_dropped_is_told_before_the_runner_begins(host: Host, notes: Notes) -> None:
    told = host._prepare(seat(host, Request(kind="chat", messages=LONG), context=256))
    assert told is not None and told["do"] == "run" and len(told["tokens"]) <= 256
    ((kind, said),) = notes.frames
    assert (kind, said["stage"]) == (PROGRESS, "prompt") and said["dropped_tokens"] > 200


def test_nothing_is_told_of_a_prompt_that_fits(host: Host, notes: Notes) -> None:
    taken = seat(host, Request(kind="chat", messages=(Message("user", "hello"),)))
    told = host._prepare(taken)
    assert told is not None and (told["run"], told["log"], told["fence"]) == ("run", "run-run", 2)
    assert (told["share_key"], told["num_ctx"]) == ("user-7", 512)
    assert told["tokens"] and notes.frames == []


def test_texts_to_embed_come_as_tokens_each_cut_to_the_context(host: Host) -> None:
    request = Request(kind="embed", inputs=("a horse", "", "word " * 400), dimensions=3, load=LoadOptions())
    told = host._prepare(seat(host, request, context=64))
    assert told is not None and (told["do"], told["dimensions"]) == ("embed", 3)
    assert [len(tokens) for tokens in told["inputs"]] == [2, 0, 64]


def test_a_text_that_may_not_be_cut_is_refused_in_the_contracts_words(host: Host) -> None:
    request = Request(kind="embed", inputs=("word " * 400,), limits=Limits(truncate=False))
    with pytest.raises(Problem) as refused:
        host._prepare(seat(host, request, context=64))
    assert (refused.value.status, refused.value.message) == (400, "the input length exceeds the context length")
