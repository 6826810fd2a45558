"""What a step costs by its rows: assumed at first, then as it was seen."""

import random

import pytest

from apps.inference.engine.costs import Costs


def ratio(costs: Costs, rows: int, other: int) -> float:
    return costs.of(rows) / costs.of(other)


def test_at_first_fours_of_rows_cost_the_same() -> None:
    costs = Costs()
    assert costs.of(1) < costs.of(2) < costs.of(4) < costs.of(5) == costs.of(8) < costs.of(9)


def test_ratios_are_learned_although_the_machine_changes_its_speed_and_is_held_up_now_and_then() -> None:
    costs, dice, truth = Costs(), random.Random(1), {1: 15.0, 2: 37.0, 5: 64.0, 8: 64.0}
    speed = 1.0
    for _ in range(400):
        speed *= dice.uniform(0.97, 1.03)
        rows = dice.choice([*truth])
        costs.note(rows, truth[rows] * speed * dice.uniform(0.95, 1.05) * (5 if dice.random() < 0.02 else 1))
    for rows in truth:
        assert ratio(costs, rows, 1) == pytest.approx(truth[rows] / truth[1], rel=0.15)


def test_a_step_that_was_held_up_is_outweighed_by_a_few_that_were_not() -> None:
    costs = Costs()
    for seconds in (1.0, 10.0, *(1.0, 2.0) * 10):
        costs.note(4 if seconds > 1 else 1, seconds)
    assert ratio(costs, 4, 1) == pytest.approx(2.0, rel=0.1)


def test_where_the_rows_tried_are_free_the_others_are_taken_to_be() -> None:
    costs = Costs()
    for rows in (1, 2, 3, 4) * 20:
        costs.note(rows, 1.0)
    assert all(0.9 < ratio(costs, rows, 1) < 1.4 for rows in range(2, 17))


def test_where_the_rows_tried_are_dear_the_others_are_still_to_be_tried() -> None:
    costs, assumed = Costs(), Costs()
    for rows in (1, 2, 3, 4) * 20:
        costs.note(rows, 1.0 if rows == 1 else 3.0)
    assert all(ratio(costs, rows, 1) == pytest.approx(3.0, rel=0.1) for rows in (2, 3, 4))
    assert all(ratio(costs, rows, 1) < 2 * ratio(assumed, rows, 1) for rows in range(5, 17))


def test_steps_of_one_size_and_steps_with_others_between_tell_nothing() -> None:
    costs = Costs()
    before = [costs.of(rows) for rows in range(1, 100)]
    for seconds in (1.0, 2.0, 8.0):
        costs.note(4, seconds)
    costs.pause()
    costs.note(1, 1.0)
    costs.note(2, 0.0)  # a clock that stands still
    costs.note(1, 1.0)
    costs.note(90, 5.0)  # of a size that is not told apart
    assert [costs.of(rows) for rows in range(1, 100)] == before


def test_what_was_learned_fades() -> None:
    costs = Costs()
    for _ in range(20):
        costs.note(1, 1.0)
        costs.note(4, 9.0)
    assert ratio(costs, 4, 1) == pytest.approx(9.0, rel=0.1)
    for _ in range(4000):
        costs.note(1, 1.0)
    assert ratio(Costs(), 4, 1) < ratio(costs, 4, 1) < 4.5
