"""What a host does with a run before its runner has it, with the real render child and no runner at all."""

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.errors import Problem
from apps.inference import commands
from apps.inference.host import Host, Seat
from apps.inference.types import PROGRESS, RENDERED, Limits, LoadOptions, Message, Request, RunEnd
from tests.inference.test_runs import version
from tests.server import wait_for

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


def seat_for(request: Request, *, context: int = 512) -> Seat:
    payload = json.loads(json.dumps(commands.stored(request, version())))
    return Seat("run", 1, 2, request.kind, 0, payload, 7, context)


def seat(host: Host, request: Request, *, context: int = 512) -> Seat:
    taken = seat_for(request, context=context)
    taken.settle(ours=True)
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


@pytest.fixture
def sent(host: Host, monkeypatch: pytest.MonkeyPatch, services: None) -> Iterator["queue.SimpleQueue[dict[str, Any]]"]:
    """What the feeder hands to a runner that is ready."""
    found: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    monkeypatch.setattr(host, "_send", found.put)
    host._ready.set()
    feeder = threading.Thread(target=host._feed, daemon=True)
    feeder.start()
    yield found
    host._inbox.put(None)
    feeder.join(10)
    assert not feeder.is_alive()
    host._login.close()


HELLO = Request(kind="chat", messages=(Message("user", "hello"),))


def test_a_prompt_is_prepared_but_not_handed_over_before_row_and_log_are_ours(
    host: Host, notes: Notes, sent: "queue.SimpleQueue[dict[str, Any]]"
) -> None:
    early = seat_for(HELLO)
    assert host.take(early)
    wait_for(lambda: early.allowed)
    assert host.waiting() == []  # nothing is written of it yet
    with pytest.raises(queue.Empty):
        sent.get(timeout=0.5)
    early.settle(ours=True)
    assert sent.get(timeout=10)["do"] == "run"
    assert early.handed and notes.ends == []


def test_a_run_that_turns_out_not_to_be_ours_leaves_without_a_word(
    host: Host, notes: Notes, sent: "queue.SimpleQueue[dict[str, Any]]"
) -> None:
    lost, broken = (
        seat_for(HELLO),
        seat_for(Request(kind="embed", inputs=("word " * 400,), limits=Limits(truncate=False))),
    )
    for each in (lost, broken):
        host.take(each)
        each.settle(ours=False)
        wait_for(lambda: not host.seats)
    again = seat_for(HELLO)
    again.settle(ours=True)
    host.take(again)
    assert sent.get(timeout=10)["do"] == "run" and sent.empty()
    assert notes.ends == [] and notes.frames == []


def test_an_older_attempt_does_not_take_the_seat_of_the_next(host: Host, notes: Notes) -> None:
    older, newer = seat_for(HELLO), seat_for(HELLO)
    for each in (older, newer):
        each.settle(ours=True)
        host.take(each)
    host._ended(older, RunEnd("stop"), None)
    assert host.seats == {"run": newer} and notes.ends == []


def test_a_message_that_comes_late_does_not_displace_the_next_attempt(host: Host) -> None:
    older, newer = seat_for(HELLO), replace(seat_for(HELLO), attempt=2)
    assert host.take(newer) and not host.take(older)
    assert host.seats == {"run": newer}


def test_a_host_that_has_gone_takes_nobody(host: Host) -> None:
    host.state = "gone"
    assert not host.take(seat_for(HELLO)) and not host.seats
