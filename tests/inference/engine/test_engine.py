"""A run from its arrival to its end, over the fake model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.errors import Problem
from apps.inference.engine.engine import Text
from apps.inference.types import Sampling
from tests.fakes import ANSWER, DecodeFailed, FakeBackend, NoRoom, answer
from tests.inference.engine.conftest import Bench, MakeBench


def prompt(number: int, letters: int, length: int = 5) -> list[int]:
    return [300 + number, *range(40, 40 + length - 2), ANSWER + letters]


def test_eight_sequences_come_to_eight_right_ends(make_bench: MakeBench) -> None:
    bench = make_bench(slots=8, context=128)
    asked = {f"run {number}": prompt(number, letters=3 + 2 * number, length=4 + 5 * number) for number in range(8)}
    for run, tokens in asked.items():
        bench.submit(run, tokens)
    bench.until(*asked)
    assert bench.texts == {run: answer(tokens, 999) for run, tokens in asked.items()}
    assert {end.reason for end in bench.ends.values()} == {"stop"}
    assert all(sampler.freed for sampler in bench.backend.samplers)


def test_counts_and_times_are_reported(bench: Bench) -> None:
    bench.run("a", prompt(1, letters=4))
    end = bench.ends["a"]
    assert (end.prompt_tokens, end.cached_tokens, end.output_tokens, len(end.output_ids)) == (5, 0, 5, 4)
    assert end.prompt_ns > 0 and end.eval_ns > 0


def test_a_run_ends_at_num_predict(bench: Bench) -> None:
    assert bench.run("a", prompt(1, letters=50), num_predict=3) == answer(prompt(1, letters=50), 3)
    assert bench.ends["a"].reason == "length"


def test_a_run_that_may_say_nothing_only_fills_its_slot(bench: Bench) -> None:
    assert bench.run("a", prompt(1, letters=5), num_predict=0) == ""
    assert (bench.ends["a"].reason, bench.ends["a"].output_tokens) == ("length", 0)


@pytest.mark.parametrize("asked", [-1, 10**9])
def test_an_unlimited_run_ends_after_ten_contexts(make_bench: MakeBench, asked: int) -> None:
    bench = make_bench(context=16)
    bench.run("a", [5, 6, 7], num_predict=asked)
    assert (bench.ends["a"].reason, bench.ends["a"].output_tokens) == ("length", 160)


def test_a_stop_string_ends_the_run_and_is_not_sent(bench: Bench) -> None:
    whole = answer(prompt(1, letters=30), 99)
    assert bench.run("a", prompt(1, letters=30), stop=(whole[5:8], "no such")) == whole[: whole.index(whole[5:8])]
    assert bench.ends["a"].reason == "stop"


def test_held_text_is_sent_when_the_end_comes_another_way(bench: Bench) -> None:
    whole = answer(prompt(1, letters=6), 99)
    assert bench.run("a", prompt(1, letters=6), stop=(whole[-2:] + "never",)) == whole


def test_one_token_over_and_over_ends_normally() -> None:
    class Stutterer(FakeBackend):
        def piece(self, token: int) -> bytes:
            return b" x " if token % 2 else b"x"

    bench = Bench(Stutterer(context=128))
    bench.run("a", prompt(1, letters=90))
    assert (bench.ends["a"].reason, bench.ends["a"].output_tokens) == ("stop", 32)


def test_a_cancel_in_prefill_takes_effect_before_the_next_chunk(make_bench: MakeBench) -> None:
    bench = make_bench(context=128)
    bench.submit("a", prompt(1, letters=5, length=100))
    bench.steps(2)
    bench.engine.cancel("a")
    bench.steps(3)
    assert len(bench.backend.steps) == 2
    assert bench.ends["a"].reason == "cancelled" and bench.backend.samplers[0].freed


def test_a_cancel_of_one_that_waits_for_a_slot(make_bench: MakeBench) -> None:
    bench = make_bench(slots=1)
    bench.submit("a", prompt(1, letters=9))
    bench.submit("b", prompt(2, letters=9))
    bench.steps()
    bench.engine.cancel("b")
    bench.until("a", "b")
    assert (bench.ends["b"].reason, bench.ends["b"].output_tokens, bench.started) == ("cancelled", 0, ["a"])


def test_a_cancel_of_a_run_that_is_over_is_let_drop(bench: Bench) -> None:
    bench.run("a", prompt(1, letters=2))
    bench.engine.cancel("a")
    bench.steps()
    assert bench.ends["a"].reason == "stop"


def test_a_full_context_shifts_and_goes_on(make_bench: MakeBench) -> None:
    bench = make_bench(context=32)
    bench.run("a", [5, 6, 7, 8, 9], num_predict=100, num_keep=3)
    assert bench.ends["a"].output_tokens == 100
    assert [cell.token for cell in bench.backend.memory[0]][:3] == [5, 6, 7]


@pytest.mark.parametrize(("shift", "can_shift"), [(False, True), (True, False)])
def test_a_full_context_that_may_not_shift_ends_the_run(make_bench: MakeBench, shift: bool, can_shift: bool) -> None:
    bench = make_bench(context=32, can_shift=can_shift)
    bench.run("a", [5, 6, 7, 8, 9], shift=shift)
    assert (bench.ends["a"].reason, bench.ends["a"].output_tokens) == ("length", 28)
    assert len(bench.texts["a"]) == 28


def test_a_shift_leaves_alone_the_cells_that_another_slot_shares(make_bench: MakeBench) -> None:
    bench = make_bench(context=64, slots=2, step_tokens=16)
    system = list(range(300, 350))
    bench.submit("a", [*system, 5], key="k", num_predict=40, num_keep=2)
    bench.submit("b", [*system, 6], key="k", num_predict=12, num_keep=2)
    bench.until("a", "b")
    assert bench.texts["b"] == answer([*system, 6], 12)
    assert bench.ends["a"].output_tokens == 40


def test_a_run_may_have_a_smaller_context_than_its_slot(bench: Bench) -> None:
    bench.run("a", [5, 6, 7], context=16, shift=False)
    assert bench.ends["a"].output_tokens == 14


def test_a_prompt_that_is_too_long_keeps_its_ends(make_bench: MakeBench) -> None:
    bench = make_bench(context=32)
    tokens = list(range(300, 400))
    bench.run("a", tokens, num_keep=4, num_predict=1)
    assert [cell.token for cell in bench.backend.memory[0]] == [*tokens[:4], *tokens[-14:]]
    assert bench.ends["a"].dropped_tokens == 82


@pytest.mark.parametrize("limits", [{"shift": False}, {"truncate": False}])
def test_a_prompt_that_is_too_long_and_may_not_be_cut_is_refused(
    make_bench: MakeBench, limits: dict[str, bool]
) -> None:
    bench = make_bench(context=32)
    bench.run("a", list(range(300, 400)), **limits)
    problem = bench.ends["a"].problem
    assert problem and problem.code == "invalid" and "longer than the context length" in problem.message


def test_a_prompt_without_tokens_is_refused(bench: Bench) -> None:
    bench.run("a", [])
    assert bench.ends["a"].problem and bench.ends["a"].problem.code == "invalid"


def test_penalties_know_the_last_tokens_of_the_prompt(bench: Bench) -> None:
    sampling = Sampling(repeat_penalty=1.1, repeat_last_n=3)
    bench.run("a", prompt(1, letters=2), sampling=sampling)
    assert bench.backend.samplers[0].recent == tuple(prompt(1, letters=2)[-3:])


def test_a_failed_step_ends_its_runs_and_the_engine_lives(bench: Bench) -> None:
    bench.submit("a", prompt(1, letters=5))
    bench.steps(2)
    bench.backend.failures.append(DecodeFailed("it broke"))
    bench.steps()
    assert bench.ends["a"].reason == "error" and bench.ends["a"].problem
    assert bench.run("b", prompt(2, letters=5)) == answer(prompt(2, letters=5), 99)


def test_a_model_that_fails_again_and_again_is_given_up(bench: Bench) -> None:
    bench.submit("a", prompt(1, letters=5))
    bench.submit("b", prompt(2, letters=5, length=30))
    bench.backend.failures.extend([DecodeFailed("it broke")] * 2)
    bench.submit("c", prompt(3, letters=5))
    bench.steps()
    bench.submit("d", prompt(4, letters=5))
    with pytest.raises(DecodeFailed):
        bench.steps()
    assert {end.reason for end in bench.ends.values()} == {"error"} and set(bench.ends) == set("abcd")


def test_full_memory_gives_up_idle_slots_first(make_bench: MakeBench) -> None:
    bench = make_bench(cells=60, slots=2)
    bench.run("old", prompt(1, letters=2, length=30))
    assert bench.run("new", prompt(2, letters=2, length=40)) == answer(prompt(2, letters=2, length=40), 99)


def test_full_memory_sends_the_last_comer_back_and_loses_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(cells=50, slots=2)
    bench.submit("first", prompt(1, letters=25, length=10))
    bench.submit("last", prompt(2, letters=25, length=10))
    bench.until("first", "last")
    assert bench.texts["first"] == answer(prompt(1, letters=25, length=10), 99)
    assert bench.texts["last"] == answer(prompt(2, letters=25, length=10), 99)


def test_memory_that_is_too_small_for_one_run_ends_it(bench: Bench) -> None:
    bench.backend.failures.append(NoRoom())
    bench.run("a", prompt(1, letters=5))
    assert bench.ends["a"].problem and bench.ends["a"].problem.code == "unavailable"


def test_a_stop_ends_what_runs(bench: Bench) -> None:
    bench.submit("a", prompt(1, letters=50))
    bench.engine.stop()
    bench.engine.run()
    problem = bench.ends["a"].problem
    assert isinstance(problem, Problem) and problem.code == "unavailable"


def test_what_a_step_says_is_delivered_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(slots=3)
    for number in range(3):
        bench.submit(str(number), prompt(number, letters=5))
    bench.steps(3)
    assert [len([event for event in batch if isinstance(event, Text)]) for batch in bench.batches[1:]] == [3, 3]


Plans = st.lists(
    st.tuples(
        st.integers(1, 50), st.integers(0, 12), st.integers(0, 6), st.sampled_from(["alice", "bob"]), st.booleans()
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=60)
@given(plans=Plans, slots=st.integers(1, 4), unified=st.booleans(), can_trim=st.booleans())
def test_whatever_comes_together_everybody_hears_what_they_would_hear_alone(
    plans: list[tuple[int, int, int, str, bool]], slots: int, unified: bool, can_trim: bool
) -> None:
    bench = Bench(FakeBackend(slots=slots, shares_cells=unified, can_trim=can_trim, context=128))
    system = list(range(300, 340))
    expected, cancelled = {}, set()
    for number, (own, letters, pause, key, leaves) in enumerate(plans):
        tokens = [*system, *([own] * (own % 7)), ANSWER + letters]
        bench.submit(str(number), tokens, key=key, public=len(system))
        expected[str(number)] = answer(tokens, 999)
        bench.steps(pause)
        if leaves:
            bench.engine.cancel(str(number))
            cancelled.add(str(number))
    bench.until(*expected)
    for run, text in expected.items():
        heard = bench.texts.get(run, "")
        assert text.startswith(heard) if run in cancelled else heard == text
    assert all(sampler.freed for sampler in bench.backend.samplers)
