"""Who computes what in a step."""

from hypothesis import given
from hypothesis import strategies as st

from apps.inference.engine.costs import TILE
from apps.inference.engine.scheduler import EVEN, divide
from tests.fakes import ANSWER, answer
from tests.inference.engine.conftest import Bench, MakeBench


def long_prompt(length: int, letters: int = 5, first: int = 50) -> list[int]:
    return [first, *range(60, 60 + length - 2), ANSWER + letters]


def tokens_of(step: list[tuple[int, int, int]]) -> int:
    return sum(length for _, _, length in step)


def test_a_prompt_alone_uses_the_whole_batch(bench: Bench) -> None:
    bench.run("a", long_prompt(40))
    assert [tokens_of(step) for step in bench.backend.steps[:3]] == [16, 16, 8]


def test_beside_a_stream_a_prompt_gets_what_the_step_budget_leaves(bench: Bench) -> None:
    bench.submit("stream", long_prompt(4, letters=30))
    bench.steps(2)
    bench.submit("prompt", long_prompt(40))
    before = len(bench.backend.steps)
    bench.steps(5)
    assert [sorted(length for _, _, length in step) for step in bench.backend.steps[before:]] == [[1, 7]] * 5


def test_a_step_has_fewer_tokens_where_its_prompt_is_very_deep(make_bench: MakeBench) -> None:
    """At `reach` a token costs twice as much as at the beginning, at three times that four times as much: there half as
    many fit into the same time."""
    bench = make_bench(context=8192, slots=2, batch=256, step_tokens=64, reach=EVEN)
    bench.submit("stream", long_prompt(4, letters=400))
    bench.steps(2)
    before = len(bench.backend.steps)
    bench.submit("prompt", long_prompt(3 * EVEN))
    bench.until("prompt", most=200)
    sizes = [tokens_of(step) for step in bench.backend.steps[before:] if tokens_of(step) > 2][:-1]
    whole = EVEN // 63
    assert sizes[:whole] == [64] * whole
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] in range(32, 40)
    assert not any(size % TILE for size in sizes)


def test_a_stream_takes_a_token_in_every_step_while_others_are_prefilled(bench: Bench) -> None:
    bench.submit("stream", long_prompt(4, letters=40))
    bench.steps(2)
    said = len(bench.texts["stream"])
    bench.submit("prompt", long_prompt(40))
    bench.steps(6)
    assert len(bench.texts["stream"]) == said + 6


def test_prompts_do_not_starve_beside_more_streams_than_the_budget(make_bench: MakeBench) -> None:
    bench = make_bench(slots=12, step_tokens=8)
    for number in range(10):
        bench.submit(f"stream {number}", [40 + number, ANSWER + 60])
    bench.steps(2)
    bench.submit("prompt", long_prompt(20))
    bench.until("prompt", most=20)
    assert "stream 0" not in bench.ends


def test_a_short_prompt_is_not_stuck_behind_a_long_one(make_bench: MakeBench) -> None:
    bench = make_bench(context=512)
    bench.submit("stream", long_prompt(4, letters=200))
    bench.steps(2)
    bench.submit("long", long_prompt(300))
    bench.steps(2)
    bench.submit("short", long_prompt(6, first=55))
    bench.until("short")
    assert "long" not in bench.texts


def test_sequences_join_and_leave_between_steps(bench: Bench) -> None:
    bench.submit("a", long_prompt(4, letters=3))
    bench.steps(2)
    bench.submit("b", long_prompt(5, letters=6, first=51))
    bench.until("a", "b")
    assert bench.texts == {"a": answer(long_prompt(4, letters=3), 99), "b": answer(long_prompt(5, 6, first=51), 99)}


def test_more_runs_than_slots_wait_their_turn(make_bench: MakeBench) -> None:
    bench = make_bench(slots=2)
    for number in range(5):
        bench.submit(str(number), long_prompt(4, letters=3, first=50 + number))
    bench.steps()
    assert bench.started == ["0", "1"]
    bench.until(*"01234")
    assert bench.started == list("01234")


@given(room=st.integers(0, 200), needs=st.lists(st.integers(1, 100), max_size=8))
def test_a_division_uses_all_the_room_and_gives_nobody_too_much(room: int, needs: list[int]) -> None:
    shares = divide(room, needs)
    assert sum(shares) == min(room, sum(needs))
    assert all(0 <= share <= need for share, need in zip(shares, needs, strict=True))
    if needs:
        assert shares[0] >= min(needs[0], room // 2)
