"""Guesses at what comes next: they change how many steps an answer takes, and nothing else."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.inference.engine import drafting, llama
from apps.inference.engine.costs import Costs
from apps.inference.engine.drafting import Drafter, look_back
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.loading import Load, outputs
from tests.fakes import ANSWER, END, FakeBackend, say
from tests.inference.engine import tiny
from tests.inference.engine.conftest import Bench
from tests.inference.engine.sighted import Recorder

NUMBERS = "10, 11, 12, 13, 14, 15,"


class Parrot(FakeBackend):
    """It says four letters in turn, and one of its own now and then."""

    def say(self, held: Sequence[int]) -> int:
        own = say(held)
        if own == END or zlib.crc32(repr(list(held)).encode()) % 12 == 0:
            return own
        return b"wxyz"[len(held) % 4]


def parrots(*, drafts: int = 4, step_tokens: int = 8, **backend: Any) -> Bench:
    return Bench(Parrot(**{"context": 128, "drafts": drafts, **backend}), step_tokens=step_tokens)


def prompt(number: int, letters: int, length: int = 5) -> list[int]:
    return [300 + number, *range(40, 40 + length - 2), ANSWER + letters]


def alone(tokens: list[int], **options: Any) -> Bench:
    """A run without guesses and without neighbours."""
    bench = parrots(drafts=0)
    bench.run("a", tokens, **options)
    return bench


def check_memory(bench: Bench) -> None:
    """What the slots count is what the model holds."""
    for slot in bench.engine._slots.all:
        if slot.parked is None:
            held = [cell.token for cell in bench.backend.memory[slot.index]]
            assert held == slot.tokens[: slot.length].tolist()


def test_a_guess_saves_steps_and_changes_no_word() -> None:
    bench, before = parrots(), alone(prompt(1, letters=60))
    assert bench.run("a", prompt(1, letters=60)) == before.texts["a"]
    assert len(bench.backend.steps) < 0.7 * len(before.backend.steps)
    assert bench.ends["a"].output_ids == before.ends["a"].output_ids
    assert bench.ends["a"].output_tokens == before.ends["a"].output_tokens
    check_memory(bench)


@settings(max_examples=60, deadline=None)
@given(
    drafts=st.integers(0, 6),
    spare=st.integers(0, 12),
    runs=st.lists(
        st.tuples(st.integers(1, 40), st.integers(3, 20), st.integers(1, 45), st.integers(0, 9)), min_size=1, max_size=6
    ),
)
def test_whoever_comes_when_gets_the_words_it_would_get_alone(
    drafts: int, spare: int, runs: list[tuple[int, int, int, int]]
) -> None:
    bench = parrots(drafts=drafts, slots=3, outputs=3 + spare, context=64)
    for number, (letters, length, most, pause) in enumerate(runs):
        bench.submit(str(number), prompt(number, letters, length), num_predict=most)
        bench.steps(pause)
    bench.until(*map(str, range(len(runs))))
    check_memory(bench)
    for number, (letters, length, most, _) in enumerate(runs):
        before = alone(prompt(number, letters, length), num_predict=most)
        assert bench.texts[str(number)] == before.texts["a"]
        assert bench.ends[str(number)].reason == before.ends["a"].reason


@pytest.mark.parametrize("limits", [{"num_predict": most} for most in range(18, 26)] + [{"stop": ("yzwx",)}])
def test_an_end_in_the_middle_of_a_guess_is_the_end(limits: dict[str, Any]) -> None:
    bench, before = parrots(), alone(prompt(2, letters=90), **limits)
    assert bench.run("a", prompt(2, letters=90), **limits) == before.texts["a"] != ""
    assert len(bench.backend.steps) < len(before.backend.steps)
    assert bench.ends["a"].output_ids == before.ends["a"].output_ids
    check_memory(bench)


def test_what_was_said_after_a_wrong_guess_is_reused() -> None:
    bench = parrots()
    said = bench.run("a", prompt(1, letters=40), key="k")
    more = [*prompt(1, letters=40), *said.encode(), 50, ANSWER + 5]
    bench.run("b", more, key="k")
    assert bench.ends["b"].cached_tokens == len(more) - 2
    assert bench.texts["b"] == alone(more).texts["a"]


def test_a_full_context_shifts_as_ever() -> None:
    bench, before = parrots(context=32), Bench(Parrot(context=32))
    for one in (bench, before):
        one.run("a", [5, 6, 7], num_predict=100)
    assert bench.texts["a"] == before.texts["a"] and len(bench.texts["a"]) == 100
    assert len(bench.backend.steps) < len(before.backend.steps)


def test_nobody_guesses_while_a_prompt_is_read() -> None:
    bench = parrots(batch=64, context=256, step_tokens=16)
    bench.submit("stream", prompt(1, letters=200))
    bench.steps(40)
    assert any(length > 1 for step in bench.backend.steps[1:] for _, _, length in step)
    seen = len(bench.backend.steps)
    bench.submit("long", prompt(2, letters=3, length=100))
    bench.steps(5)
    lengths = [{slot: length for slot, _, length in step} for step in bench.backend.steps[seen : seen + 5]]
    assert [step[0] for step in lengths] == [1] * 5 and all(step[1] > 4 for step in lengths)


def test_guesses_fill_the_rows_that_there_are() -> None:
    bench = parrots(slots=4, outputs=8, batch=64, context=256)
    for number in range(4):
        bench.submit(str(number), prompt(number, letters=100 if number else 200))
    bench.until(*map(str, range(4)))
    rows = {len(step): set() for step in bench.backend.steps}
    for step in bench.backend.steps[4:]:
        rows[len(step)].add(sum(length for _, _, length in step))
    assert {4, 8} <= rows[4] and max(rows[4]) == 8
    assert 4 in rows[1] and max(rows[1]) <= 5


def lengths_of(bench: Bench) -> list[int]:
    return [sum(length for _, _, length in step) for step in bench.backend.steps]


def test_guesses_that_do_not_pay_on_this_processor_are_given_up() -> None:
    """Beside no guesses at all, what is tried costs next to nothing."""
    bench, before = (parrots(context=1024, takes=lambda rows: 1.2 * rows - 0.2, drafts=drafts) for drafts in (4, 0))
    for one in (bench, before):
        one.run("a", prompt(1, letters=900))
    assert bench.texts["a"] == before.texts["a"] and len(bench.texts["a"]) == 900
    tried = [length > 1 for length in lengths_of(bench)[1:]]
    assert any(tried) and sum(tried[-300:]) < 10
    assert bench.backend.now < 1.05 * before.backend.now


def test_where_rows_are_free_every_guess_is_computed() -> None:
    bench, assuming = parrots(context=1024, takes=lambda rows: 1.0), parrots(context=1024)
    for one in (bench, assuming):
        one.run("a", prompt(1, letters=900))
    assert bench.texts["a"] == assuming.texts["a"]
    assert len(bench.backend.steps) < len(assuming.backend.steps)
    assert lengths_of(bench)[-100:].count(5) > 40 > lengths_of(assuming)[-100:].count(5)


def test_logprobs_are_those_of_the_tokens() -> None:
    bench, before = parrots(), alone(prompt(3, letters=40), logprobs=2)
    bench.run("a", prompt(3, letters=40), logprobs=2)
    assert bench.logprobs["a"] == before.logprobs["a"] and len(bench.logprobs["a"]) == 40
    assert len(bench.backend.steps) < len(before.backend.steps)


class Repeater(FakeBackend):
    """Under a grammar it says the first letter that is allowed."""

    def say_of(self, held: Sequence[int], mask: Any) -> int:
        allowed = np.unpackbits(mask, bitorder="little").nonzero()[0].tolist()
        return END if END in allowed else int(allowed[0])


def test_a_grammar_that_forces_tokens_agrees_with_the_guess_or_overrules_it() -> None:
    people = {"type": "array", "minItems": 6, "maxItems": 6, "items": {"enum": ["an apple", "a pear"]}}
    told, steps = [], []
    for drafts in (0, 4):
        bench = Bench(Repeater(context=256, batch=64, drafts=drafts))
        bench.run("a", prompt(1, letters=999), grammar=Grammar("schema", people))
        told.append(bench.texts["a"])
        steps.append(len(bench.backend.steps))
        check_memory(bench)
    assert told[0] == told[1] and told[0].count("pear") + told[0].count("apple") == 6
    assert steps[1] < steps[0]


def test_what_a_guess_costs_is_not_learned_from_rows_that_nobody_samples() -> None:
    people = {"type": "array", "minItems": 6, "maxItems": 6, "items": {"enum": ["an apple", "a pear"]}}
    bench = Bench(Repeater(context=256, batch=64, takes=lambda rows: 1.0))
    bench.run("a", prompt(1, letters=999), grammar=Grammar("schema", people))
    sizes = set(lengths_of(bench))
    assert 1 in sizes and len(sizes) > 2  # forced tokens are computed together
    costs = bench.engine._scheduler._costs
    assert all(costs.of(size) == Costs().of(size) for size in sizes)


# --- the guess itself -------------------------------------------------------------------------------------------------


def tokens(*numbers: int) -> Any:
    return np.asarray(numbers, dtype=np.int32)


@pytest.mark.parametrize(
    ("told", "kind", "guess"),
    [
        ((1, 2, 3, 4, 9, 1, 2, 3), "long", (4, 9, 1)),
        ((7, 2, 3, 4, 9, 1, 2, 3), "short", (4, 9, 1)),
        ((1, 2, 3, 4, 7, 2, 3, 5, 1, 2, 3), "long", (4, 7, 2)),  # three tokens say more than two
        ((1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 7, 1, 2, 3), "agreed", (4, 5)),  # as far as both times agree
        ((1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3), "", ()),
        ((8, 8, 8, 8, 8), "agreed", (8,)),
        ((1, 2, 3), "", ()),
        ((1,), "", ()),
        ((), "", ()),
        ((4, 5, -1, -1, 6, 4, 5), "", ()),  # an image is no guess
        ((4, 5, 6, -1, 6, 4, 5), "short", (6,)),
    ],
)
def test_a_guess_is_what_followed_before(told: tuple[int, ...], kind: str, guess: tuple[int, ...]) -> None:
    found = look_back(tokens(*told), most=3)
    assert (found.kind, tuple(found.tokens)) == (kind, guess) if found else (kind, guess) == ("", ())


def test_the_odds_are_how_often_a_kind_came_true() -> None:
    drafter, text = Drafter(), tokens(*range(20), 0, 1, 2)
    guessed, odds = drafter.guess(text, most=4)
    assert tuple(guessed) == (3, 4, 5, 6) and odds == pytest.approx([0.7, 0.7**2, 0.7**3, 0.7**4])
    for _ in range(50):
        drafter.guess(text, most=4)
        drafter.learn(tokens(3, 4, 5, 6, 7))
    assert drafter.guess(text, most=2)[1] == pytest.approx([0.98, 0.98**2])
    drafter.learn(tokens(3, 9))  # one right, one wrong
    assert drafter.odds["long"] == pytest.approx(0.9, abs=0.01)
    drafter.learn(tokens(9))  # nothing was guessed
    assert drafter.odds["long"] == pytest.approx(0.9, abs=0.01)
    assert drafter.odds["agreed"] == drafting.ODDS["agreed"]


@pytest.mark.parametrize(
    ("odds", "rows", "most", "lengths"),
    [
        ([[0.9, 0.81, 0.73]], 1, 15, [3]),
        ([[0.9, 0.81, 0.73, 0.66]], 1, 15, [3]),  # a fifth row would begin another tile
        ([[0.9, 0.81, 0.73]], 1, 1, [1]),
        ([[0.2, 0.04]], 1, 15, [0]),
        ([[0.3], [], [0.1], [], [0.1], [], []], 7, 15, [1, 0, 0, 0, 0, 0, 0]),  # the eighth row is free
        ([[0.9]] * 2 + [[]] * 6, 8, 15, [0] * 8),  # two do not pay for four rows
        ([[0.95]] * 4 + [[]] * 4, 8, 15, [1, 1, 1, 1, 0, 0, 0, 0]),
        ([[0.98, 0.96, 0.94, 0.92]] + [[]] * 7, 8, 15, [4] + [0] * 7),
        ([], 0, 8, []),
    ],
)
def test_a_step_takes_the_guesses_that_pay(odds: list[list[float]], rows: int, most: int, lengths: list[int]) -> None:
    assert drafting.choose(odds, rows=rows, most=most, cost=Costs().of) == lengths


# --- the real model ---------------------------------------------------------------------------------------------------


def test_the_real_model_counts_on_in_fewer_steps(model: llama.Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (model.drafts, model.outputs) == (4, outputs(3, drafts=4))
    prompt, said, steps = model.tokenise(NUMBERS).tolist(), [], []
    for drafts in (0, 4):
        monkeypatch.setattr(model, "drafts", drafts)
        for slot in range(model.slots):
            model.clear(slot)
        recorder = Recorder(model)
        bench = Bench(recorder, step_tokens=64)
        said.append(bench.run("a", prompt, num_predict=40))
        steps.append(len(recorder.chunks))
    assert said[0] == said[1] and "16, 17, 18" in said[0]
    assert steps[0] == 40 and steps[1] < 32


@pytest.mark.parametrize(
    ("load", "drafts"),
    [
        ({"slots": 2}, 4),
        ({"slots": 2, "drafts": 0}, 0),
        ({"slots": 2, "kv_unified": False}, 0),  # unequal sequences would be computed one after the other
        ({"slots": 1, "kv_unified": False}, 4),
    ],
)
def test_guesses_are_made_where_they_may_pay(load: dict[str, Any], drafts: int, tmp_path: Path) -> None:
    llama.log_to(lambda level, text: None)
    file = os.open(tiny.write_model(tmp_path / "model.gguf", kind="llama"), os.O_RDONLY)
    made = llama.Llama(Load(file, context=64, threads=1, gpu_layers=0, **load), progress=lambda fraction: None)
    assert (made.drafts, made.outputs) == (drafts, outputs(load["slots"], drafts=load.get("drafts", 4)))
    bench = Bench(made)
    bench.run("a", [1, *range(3, 9)] * 4, num_predict=20)
    assert bench.ends["a"].output_tokens == 20
