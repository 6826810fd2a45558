"""The desk that takes embedding runs in turn, over a fake embedding context."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from apps.errors import Problem
from apps.inference.engine.engine import Ended, Started
from apps.inference.runner.embedding import Desk, EmbedJob, SharedEngine, Vectors, Work
from tests.fakes import ANSWER, FakeBackend
from tests.inference.engine.conftest import Bench
from tests.inference.runner.fake_embedder import NAN_TOKEN, NOTHING, FakeEmbedder


class Office:
    """A desk whose loop the test turns by hand."""

    def __init__(self, **embedder: Any) -> None:
        self.embedder = FakeEmbedder(**embedder)
        self.works: deque[Work] = deque()
        self.events: list[Any] = []
        self.desk = Desk(self.embedder, call=self.works.append, deliver=self.events.extend)

    def submit(self, run: str, *inputs: Sequence[int], dimensions: int = 0) -> None:
        tokens = tuple(np.asarray(each, dtype=np.int32) for each in inputs)
        self.desk.submit(EmbedJob(run, tokens, dimensions))

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.works.popleft()()

    def finish(self) -> None:
        while self.works:
            self.turn()

    def vectors(self, run: str) -> list[list[float]]:
        return [
            each for event in self.events if isinstance(event, Vectors) and event.run == run for each in event.vectors
        ]

    def end(self, run: str) -> Ended:
        (end,) = (event for event in self.events if isinstance(event, Ended) and event.run == run)
        return end


def expected(tokens: Sequence[int]) -> list[float]:
    vector = np.asarray([tokens[0], len(tokens), 0, 0], dtype=np.float64)
    return [round(float(number), 9) for number in vector / np.linalg.norm(vector)]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 8, 100])
@pytest.mark.parametrize("sequences", [1, 2, 64])
def test_whatever_the_batches_the_vectors_are_those_of_the_texts_in_order(
    whole: bool, batch: int, sequences: int
) -> None:
    office = Office(whole=whole, batch=batch, sequences=sequences)
    texts = [[number + 1] * (1 + number * 5 % 12) for number in range(20)]
    office.submit("a", *texts[:13])
    office.submit("b", *texts[13:])
    office.finish()
    assert office.vectors("a") == [expected(text) for text in texts[:13]]
    assert office.vectors("b") == [expected(text) for text in texts[13:]]
    assert office.end("a").prompt_tokens == sum(map(len, texts[:13]))
    assert (office.end("b").reason, office.end("b").problem) == ("stop", None)
    assert office.end("b").prompt_ns > 0


def test_many_texts_share_a_batch() -> None:
    office = Office(batch=8)
    office.submit("a", [1], [2, 2], [3], [4, 4, 4, 4])
    office.finish()
    assert office.embedder.steps == [[(0, 0, 1), (1, 0, 2), (2, 0, 1), (3, 0, 4)]]


def test_runs_take_turns_text_by_text() -> None:
    office = Office(batch=4)
    office.submit("long", *[[1, 1]] * 50)
    office.turn()
    office.submit("short", [2, 2])
    office.turn(3)
    assert office.end("short").reason == "stop"
    assert len(office.vectors("long")) < 10


def test_no_batch_is_larger_than_it_may_be_and_a_long_text_takes_several() -> None:
    office = Office(batch=8)
    office.submit("a", [7] * 20, [8])
    office.finish()
    assert office.embedder.steps == [[(0, 0, 8)], [(0, 8, 8)], [(0, 16, 4), (1, 0, 1)]]
    assert office.vectors("a") == [expected([7] * 20), expected([8])]


def test_a_model_that_needs_whole_texts_gets_a_larger_batch_for_a_longer_one() -> None:
    office = Office(whole=True, batch=4)
    office.submit("a", [1, 1], [2] * 9, [3])
    office.finish()
    assert [sum(length for _, _, length in step) for step in office.embedder.steps] == [2, 9, 1]
    assert office.vectors("a") == [expected([1, 1]), expected([2] * 9), expected([3])]


def test_dimensions_cut_and_make_the_length_one_again() -> None:
    office = Office()
    office.submit("a", [3, 1, 1, 1], dimensions=1)
    office.submit("b", [3, 1, 1, 1], dimensions=99)
    office.finish()
    assert office.vectors("a") == [[1.0]]
    assert office.vectors("b") == [[0.6, 0.8, 0.0, 0.0]]


def test_a_cancel_takes_effect_between_two_batches_even_in_the_middle_of_a_text() -> None:
    office = Office(batch=4)
    office.submit("a", [1] * 100)
    office.submit("b", [2] * 6)
    office.turn(3)
    office.desk.cancel("a")
    office.finish()
    assert (office.end("a").reason, office.end("a").prompt_tokens) == ("cancelled", 0)
    assert office.vectors("b") == [expected([2] * 6)]
    assert sum(len(step) for step in office.embedder.steps) < 6


def test_a_cancel_with_a_problem_is_an_error_and_one_of_nobody_is_nothing() -> None:
    office = Office()
    office.submit("a", [1])
    office.desk.cancel("a", Problem("conflict", "taken over"))
    office.desk.cancel("nobody")
    office.finish()
    assert office.events[0] == Started("a")
    assert (office.end("a").reason, str(office.end("a").problem)) == ("error", "taken over")
    assert len(office.events) == 2 and not office.embedder.steps


def test_a_text_of_no_tokens_is_embedded_as_what_stands_for_nothing() -> None:
    office = Office()
    office.submit("a", [], [4])
    office.finish()
    assert office.vectors("a") == [expected([NOTHING]), expected([4])]
    assert office.end("a").prompt_tokens == 2


def test_numbers_that_are_none_end_their_run_alone() -> None:
    office = Office(batch=8)
    office.submit("a", [1], [NAN_TOKEN], [3], [4])
    office.submit("b", [5], [6])
    office.finish()
    problem = office.end("a").problem
    assert problem and (problem.status, problem.message) == (400, "embedding contains NaN or Inf values")
    assert office.vectors("b") == [expected([5]), expected([6])]


def test_a_failed_batch_ends_its_runs_and_the_next_one_begins_anew() -> None:
    office = Office(batch=4, failures=1)
    office.submit("a", [1] * 6)
    office.finish()
    office.submit("b", [2])
    office.finish()
    problem = office.end("a").problem
    assert problem and problem.code == "internal"
    assert office.vectors("b") == [expected([2])]


def test_a_text_that_there_is_no_memory_for_ends_its_run_alone() -> None:
    office = Office(most=20)
    office.submit("a", [1] * 30)
    office.submit("b", [2])
    office.finish()
    problem = office.end("a").problem
    assert problem and problem.code == "unavailable"
    assert office.vectors("b") == [expected([2])]


def test_vectors_come_in_parts_of_bounded_size() -> None:
    office = Office(width=5000, sequences=64, batch=64)
    office.submit("a", *[[number + 1] for number in range(10)])
    office.finish()
    parts = [len(event.vectors) for event in office.events if isinstance(event, Vectors)]
    assert parts == [4, 4, 2]


def test_what_is_left_at_the_end_of_the_process_ends_with_a_sentence() -> None:
    office = Office(batch=2)
    office.submit("a", [1] * 50)
    office.turn(3)
    office.desk.close()
    problem = office.end("a").problem
    assert problem and problem.code == "unavailable"


def test_a_running_stream_makes_a_step_between_any_two_batches() -> None:
    bench = Bench(FakeBackend(context=64))
    shared = SharedEngine(bench.backend, step_tokens=8, deliver=bench._note)
    bench.engine = shared
    embedder = FakeEmbedder(batch=8)
    events: list[Any] = []
    desk = Desk(embedder, call=shared.call, deliver=events.extend)
    bench.submit("talk", [1, ANSWER + 30])
    bench.steps(2)
    desk.submit(EmbedJob("a", (np.ones(800, dtype=np.int32),)))
    for _ in range(20):
        said, batches = len(bench.texts.get("talk", "")), len(embedder.steps)
        bench.steps()
        assert len(bench.texts["talk"]) == said + 1
        assert len(embedder.steps) <= batches + 1
    assert len(embedder.steps) >= 18
