"""What is left out of a prompt that is too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.inference.prompt import fitting
from apps.inference.prompt.sandbox import TemplateError


def search(sizes: list[int], room: int) -> tuple[tuple[int, int], int]:
    """The outcome for messages of these sizes, and how often the conversation was rendered."""
    attempts = []

    def attempt(start: int) -> int:
        attempts.append(start)
        return sum(sizes[start:])

    found = fitting.Search(attempt, lambda size: size <= room, last=len(sizes) - 1).run()
    return found, len(attempts)


def test_as_few_messages_as_possible_are_dropped() -> None:
    assert search([5, 5, 5, 5], 10)[0] == (2, 10)


def test_the_last_message_is_kept_even_if_it_is_too_long() -> None:
    assert search([5, 5, 50], 10)[0] == (2, 50)


def test_a_thousand_messages_are_searched_in_few_attempts() -> None:
    found, attempts = search([1] * 1000, 100)
    assert found == (900, 100)
    assert attempts <= 12


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40), st.integers(0, 400))
def test_the_search_finds_what_dropping_one_by_one_finds(sizes: list[int], room: int) -> None:
    last = len(sizes) - 1
    slow = next((start for start in range(1, last) if sum(sizes[start:]) <= room), last)
    assert search(sizes, room)[0] == (slow, sum(sizes[slow:]))


@given(st.integers(3, 60), st.integers(1, 60))
def test_a_template_that_wants_a_user_first_loses_no_more_than_that_message(count: int, room: int) -> None:
    def attempt(start: int) -> int:
        if start % 2:
            raise TemplateError("a user must begin")
        return count - start

    last = (count - 1) // 2 * 2
    start, size = fitting.Search(attempt, lambda size: size <= room, last=last).run()
    slow = next((start for start in range(2, last, 2) if count - start <= room), last)
    assert (start, size) == (slow, count - slow)


def test_a_template_that_takes_nothing_says_so() -> None:
    def attempt(start: int) -> int:
        raise TemplateError("no")

    with pytest.raises(TemplateError):
        fitting.Search(attempt, lambda size: True, last=9).run()


def test_a_cut_keeps_the_front_and_leaves_half_of_the_rest_free() -> None:
    assert fitting.cut_middle(range(100), num_ctx=24, num_keep=4) == [0, 1, 2, 3, *range(90, 100)]


def test_a_prompt_that_leaves_room_for_a_reply_is_not_cut() -> None:
    assert fitting.cut_middle(range(23), num_ctx=24, num_keep=4) == list(range(23))


@given(st.integers(1, 300), st.integers(4, 200), st.integers(-1, 400))
def test_a_cut_prompt_always_leaves_room_for_a_reply(length: int, num_ctx: int, num_keep: int) -> None:
    kept = fitting.cut_middle(range(length), num_ctx=num_ctx, num_keep=num_keep)
    assert 0 < len(kept) < num_ctx
    assert kept[-1] == length - 1
    assert kept == sorted(set(kept))


@pytest.mark.parametrize(("truncate", "shift"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_prompt_below_the_context_is_never_refused(truncate: bool, shift: bool) -> None:
    fitting.refuse_if_over(63, num_ctx=64, truncate=truncate, shift=shift)


def test_a_prompt_that_may_not_shift_is_refused_in_the_contract_s_words() -> None:
    with pytest.raises(Problem) as caught:
        fitting.refuse_if_over(64, num_ctx=64, truncate=True, shift=False)
    assert caught.value.status == 400
    assert caught.value.message == (
        "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust "
        "the context length in settings, or use a model with a longer context length"
    )


@pytest.mark.parametrize("shift", [True, False])
def test_a_prompt_that_may_not_be_truncated_is_refused_with_its_size(shift: bool) -> None:
    with pytest.raises(Problem, match=r"request \(70 tokens\) exceeds the available context size \(64 tokens\)"):
        fitting.refuse_if_over(70, num_ctx=64, truncate=False, shift=shift)
