"""Which slot a sequence gets, and what it need not compute."""

import pytest

from apps.inference.engine import slots
from tests.fakes import ANSWER, answer
from tests.inference.engine.conftest import Bench, MakeBench

SYSTEM = list(range(300, 340))


@pytest.fixture(autouse=True)
def room_to_park(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as small contexts like these may need."""
    monkeypatch.setattr(slots, "PARKED_SHARE", 1)


def ask(*words: int, letters: int = 4) -> list[int]:
    return [*SYSTEM, *words, ANSWER + letters]


def test_a_second_turn_computes_only_what_is_new(bench: Bench) -> None:
    first = ask(1)
    said = bench.run("first", first, key="alice")
    second = [*first, *said.encode(), 2, ANSWER + 3]
    assert bench.run("second", second, key="alice") == answer(second, 99)
    assert bench.ends["second"].cached_tokens == len(first) + len(said)


def test_the_last_token_is_always_computed(bench: Bench) -> None:
    prompt = ask(1)
    bench.run("first", prompt, key="alice")
    assert bench.run("again", prompt, key="alice") == answer(prompt, 99)
    assert bench.ends["again"].cached_tokens == len(prompt) - 1


def test_a_prefix_in_a_busy_slot_is_copied(bench: Bench) -> None:
    bench.submit("busy", ask(1, letters=20), key="alice")
    bench.steps(4)
    assert bench.run("other", ask(2), key="alice") == answer(ask(2), 99)
    assert bench.ends["other"].cached_tokens == len(SYSTEM)
    bench.until("busy")
    assert bench.texts["busy"] == answer(ask(1, letters=20), 99)


def test_a_prefix_that_is_being_computed_is_waited_for_and_copied(make_bench: MakeBench) -> None:
    bench = make_bench(slots=8)
    names = [f"user {number}" for number in range(8)]
    for number, name in enumerate(names):
        bench.submit(name, ask(number), key=name, public=len(SYSTEM))
    bench.until(*names)
    assert [bench.ends[name].cached_tokens for name in names] == [0] + [len(SYSTEM)] * 7
    assert [bench.texts[name] for name in names] == [answer(ask(number), 99) for number in range(8)]
    assert len(bench.backend.copies) == 7


def test_who_waits_for_a_prefix_has_started(make_bench: MakeBench) -> None:
    bench = make_bench(slots=2)
    bench.submit("leader", ask(1), key="k")
    bench.submit("follower", ask(2), key="k")
    bench.steps()
    assert bench.started == ["leader", "follower"]
    assert [slot for slot, _, _ in bench.backend.steps[0]] == [0]


def test_followers_go_on_when_their_leader_is_cancelled(make_bench: MakeBench) -> None:
    bench = make_bench(slots=3)
    for name in ("leader", "one", "two"):
        bench.submit(name, ask(len(name)), key="k")
    bench.steps()
    bench.engine.cancel("leader")
    bench.until("one", "two")
    assert bench.texts == {"one": answer(ask(3), 99), "two": answer(ask(3), 99)}
    assert bench.ends["one"].cached_tokens == 16  # what the leader had done
    assert bench.ends["two"].cached_tokens == len(ask(3)) - 1


@pytest.mark.parametrize(
    ("key", "public", "cached"), [("alice", 0, 40), ("bob", 0, 0), ("bob", 33, 33), ("bob", 90, 35), ("", 0, 0)]
)
def test_a_prefix_is_shared_under_one_key_or_as_far_as_it_is_public(
    key: str, public: int, cached: int, bench: Bench
) -> None:
    bench.run("first", ask(1), key="alice", public=35)
    bench.run("second", ask(2), key=key, public=public)
    assert bench.ends["second"].cached_tokens == cached


def test_two_runs_of_no_key_share_nothing(bench: Bench) -> None:
    for run in ("first", "second"):
        bench.run(run, ask(1), key="")
    assert bench.ends["second"].cached_tokens == 0


def test_an_empty_slot_is_taken_before_somebody_s_long_cache(bench: Bench) -> None:
    bench.run("alice's", ask(1, letters=10), key="alice")
    bench.run("bob's", [5, ANSWER + 2], key="bob")
    assert bench.run("alice's next", ask(1, letters=10), key="alice")
    assert bench.ends["alice's next"].cached_tokens == len(ask(1)) - 1


def words(name: str) -> list[int]:
    return [*(300 + byte for byte in 8 * name.encode())][:40] + [300] * (40 - 8 * len(name)) + [ANSWER + 1]


def test_of_full_slots_the_one_used_longest_ago_is_given_up(make_bench: MakeBench) -> None:
    bench = make_bench(slots=2)
    for name in ("old", "new", "third"):
        bench.run(name, words(name), key=name)
    bench.run("new again", words("new"), key="new")
    bench.run("old again", words("old"), key="old")
    assert (bench.ends["new again"].cached_tokens, bench.ends["old again"].cached_tokens) == (40, 0)


def test_a_model_that_cannot_trim_reuses_only_what_it_holds_wholly(make_bench: MakeBench) -> None:
    bench = make_bench(can_trim=False, can_shift=False)
    first = ask(1)
    said = bench.run("first", first, key="k")
    longer = [*first, *said.encode(), 7, ANSWER + 2]
    assert bench.run("longer", longer, key="k") == answer(longer, 99)
    assert bench.ends["longer"].cached_tokens == len(first) + len(said)
    assert bench.run("forked", ask(2), key="k") == answer(ask(2), 99)
    assert bench.ends["forked"].cached_tokens == 0


def test_what_was_shifted_is_not_reused_behind_the_gap(make_bench: MakeBench) -> None:
    bench = make_bench(context=32, slots=2)
    bench.run("long", [5, 6, 7, 8, 9], key="k", num_predict=60, num_keep=4)
    held = [cell.token for cell in bench.backend.memory[0]]
    bench.run("again", [*held, 1, ANSWER + 1], key="k", shift=False)
    assert bench.ends["again"].cached_tokens == 4


def test_who_shares_only_the_public_part_takes_the_slot_used_longest_ago(make_bench: MakeBench) -> None:
    """When every slot holds somebody's conversation, a stranger must not take the newest for the sake of a prefix that
    could be copied just as well."""
    bench = make_bench(slots=2, context=256)
    old, new, stranger = list(range(400, 480)), list(range(500, 580)), list(range(600, 680))
    bench.run("old", [*old, ANSWER + 4], key="old")  # of another version: nothing of it can be shared
    bench.run("new", ask(*new), key="new", public=len(SYSTEM))
    bench.run("stranger", ask(*stranger), key="stranger", public=len(SYSTEM))
    again = ask(*new)
    bench.run("again", again, key="new", public=len(SYSTEM))
    assert bench.ends["stranger"].cached_tokens == len(SYSTEM)
    assert bench.ends["again"].cached_tokens == len(again) - 1


def long(start: int) -> list[int]:
    return [*range(start, start + 50), ANSWER + 4]


@pytest.fixture
def few_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "IDLE", 20)


@pytest.mark.usefixtures("few_idle")
def test_a_long_idle_cache_is_parked_while_another_computes_and_comes_back(make_bench: MakeBench) -> None:
    bench = make_bench(context=256)
    said = bench.run("alice", long(300), key="alice")
    assert bench.backend.saved == []  # nobody else computes
    bench.run("bob", long(400), key="bob")
    assert bench.backend.saved == [0]
    assert bench.backend.memory[0] == []
    second = [*long(300), *said.encode(), 2, ANSWER + 3]
    assert bench.run("alice again", second, key="alice") == answer(second, 99)
    assert bench.ends["alice again"].cached_tokens == len(long(300)) + len(said)


@pytest.mark.usefixtures("few_idle")
def test_a_parked_prefix_can_be_copied_by_another(make_bench: MakeBench) -> None:
    bench = make_bench(context=256)
    bench.run("first", [*long(300)[:-1], 1, ANSWER + 2], key="k")
    bench.run("stranger", long(400), key="stranger")
    assert bench.backend.saved == [0]
    bench.submit("busy", [*long(300)[:-1], 2, ANSWER + 12], key="k")
    bench.steps(4)
    assert bench.run("other", [*long(300)[:-1], 3, ANSWER + 2], key="k") == answer([*long(300)[:-1], 3, ANSWER + 2], 99)
    assert bench.ends["other"].cached_tokens == 50


@pytest.mark.usefixtures("few_idle")
def test_what_there_is_no_room_to_park_stays_where_it_is(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "PARKED_SHARE", 8)
    bench = make_bench(slots=4, context=200)  # an eighth of it: 100 tokens, which is one of these caches
    for number, name in enumerate("abcd"):
        bench.run(name, long(300 + 100 * number), key=name)
    assert [slot.parked is not None for slot in bench.engine._slots.all] == [True, False, False, False]
    for number, name in enumerate("abcd"):
        bench.run(f"{name} again", long(300 + 100 * number), key=name)
    assert [bench.ends[f"{name} again"].cached_tokens for name in "abcd"] == [50] * 4


@pytest.mark.usefixtures("few_idle")
def test_a_prefix_that_a_running_sequence_shares_is_not_parked(bench: Bench) -> None:
    bench.run("first", long(300), key="k")
    bench.submit("second", [*long(300)[:-1], 7, ANSWER + 9], key="k")
    bench.steps(3)
    assert bench.backend.saved == []
    bench.until("second")
    assert bench.texts["second"] == answer([*long(300)[:-1], 7, ANSWER + 9], 99)


@pytest.mark.usefixtures("few_idle")
def test_what_was_parked_is_lent_and_goes_back_without_being_saved_again(make_bench: MakeBench) -> None:
    bench = make_bench(slots=3, context=256)
    first = [*long(300)[:-1], *range(600, 650), ANSWER + 4]
    bench.run("first", first, key="k")
    bench.run("stranger", long(400), key="stranger")
    assert bench.backend.saved == [0]
    bench.submit("other", [*long(300)[:-1], 7, ANSWER + 9], key="k")
    bench.steps(3)
    assert bench.backend.restored == [0] and bench.backend.memory[0] == []
    assert bench.backend.saved.count(0) == 1
    bench.steps(20)
    bench.run("first again", [*first, 5, ANSWER + 2], key="k")
    assert (bench.ends["other"].cached_tokens, bench.ends["first again"].cached_tokens) == (50, len(first))


@pytest.mark.usefixtures("few_idle")
@pytest.mark.parametrize("key", ["alice", "carol"])
def test_what_is_brought_back_lies_where_those_were_who_are_parked_for_it(make_bench: MakeBench, key: str) -> None:
    """A step looks at the memory up to the last cell in use, so it matters where a prefix comes to lie: the user's own,
    and one that is public."""
    bench = make_bench(context=256)
    bench.run("alice", long(300), key="alice", public=50)
    bench.run("bob", long(400), key="bob")
    bench.run("again", [*long(300)[:-1], 9, ANSWER + 4], key=key, public=50)
    assert bench.ends["again"].cached_tokens == 50 and bench.backend.saved[:2] == [0, 1]
    assert bench.backend.extents[-1] <= 60


@pytest.mark.usefixtures("few_idle")
def test_of_two_that_hold_a_prefix_the_one_in_place_is_copied(make_bench: MakeBench) -> None:
    bench = make_bench(slots=4, context=256)
    bench.run("parked", [*long(300)[:-1], *range(600, 650), ANSWER + 2], key="k")
    bench.run("stranger", long(400), key="stranger")
    bench.submit("in place", [*long(300)[:-1], *range(700, 750), ANSWER + 30], key="k")
    bench.steps(4)
    before = list(bench.backend.restored)
    bench.run("third", [*long(300)[:-1], *range(800, 850), ANSWER + 2], key="k")
    assert bench.ends["third"].cached_tokens == 50 and bench.backend.restored == before


@pytest.mark.usefixtures("few_idle")
def test_a_shared_system_is_kept_once(make_bench: MakeBench) -> None:
    bench = make_bench(slots=4, context=256)
    system = list(range(300, 400))
    for name in ("a", "b", "c"):
        bench.run(name, [*system, 5, ANSWER + 2], key=name, public=len(system))
    bench.run("stranger", long(500), key="stranger")
    held = [slot.length for slot in bench.engine._slots.all]
    assert sum(length >= len(system) for length in held) == 1
    for name in ("a", "b", "c"):
        bench.run(f"{name} again", [*system, 6, ANSWER + 2], key=name, public=len(system))
        assert bench.ends[f"{name} again"].cached_tokens == len(system)


@pytest.mark.usefixtures("few_idle")
def test_what_one_user_said_does_not_count_as_another_ones(make_bench: MakeBench) -> None:
    bench = make_bench(slots=4, context=256)
    for name in ("a", "b"):
        bench.run(name, long(300), key=name)
    bench.run("stranger", long(500), key="stranger")
    for name in ("a", "b"):
        bench.run(f"{name} again", [*long(300), 5, ANSWER + 2], key=name)
        assert bench.ends[f"{name} again"].cached_tokens >= 51
