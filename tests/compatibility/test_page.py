"""docs/compatibility.md says what the marked tests carry, and only what passed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.ollama import checks
from tests.compatibility import page
from tests.compatibility.words import SECTIONS

pytest_plugins = ["pytester"]
AGAIN = "docs/compatibility.md is behind the tests: run `make compatibility`"


def test_the_page_shows_the_tests_that_are_marked_now() -> None:
    committed = page.PAGE.read_text(encoding="utf-8")
    assert page.with_table(committed, page.table(page.carried())) == committed, AGAIN


def test_every_check_has_a_line() -> None:
    assert [number for lines in SECTIONS.values() for number in lines] == list(checks.ALL)


def test_a_test_that_carries_a_check_cannot_be_skipped() -> None:
    """The page calls it served: it has to run wherever the tests run."""
    for module in checks.carriers():
        marks = list(getattr(module, "pytestmark", []))
        for test in vars(module).values():
            marks += getattr(test, "pytestmark", []) if getattr(test, "checks", ()) else []
        assert not {mark.name for mark in marks} & {"skip", "skipif", "xfail"}, module.__name__


def test_a_check_is_served_or_later_and_its_row_says_so() -> None:
    rows = page.table({1: ["ollama/test_x.py::test_y"]}).splitlines()
    (first,) = [row for row in rows if row.startswith("| 1 |")]
    assert first.endswith("| `ollama/test_x.py::test_y` | served |")
    (later,) = [row for row in rows if row.startswith("| 90 |")]
    assert later.endswith(f"|  | later, with {checks.LATER[90]} |")


def test_what_did_not_pass_keeps_the_page_from_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.PAGE.write_text(f"Before\n{page.BEGIN}What was there\n{page.END}Behind\n")
    results = tmp_path / "results.json"
    recorded: dict[str, dict[str, Any]] = {}
    for number, tests in page.carried().items():
        for test in tests:
            recorded.setdefault(test, {"outcome": "passed", "checks": []})["checks"].append(number)
    assert len(recorded) > 90
    one = min(recorded)
    results.write_text(json.dumps({**recorded, one: {"outcome": "skipped", "checks": [1]}}))
    with pytest.raises(SystemExit, match=f"did not pass.*\n  {one}$"):
        page.main(results)
    assert "What was there" in page.PAGE.read_text()
    results.write_text(json.dumps({one: recorded[one]}))
    with pytest.raises(SystemExit, match="No test was run for"):
        page.main(results)
    results.write_text(json.dumps(recorded))
    page.main(results)
    said = page.PAGE.read_text()
    assert (
        said.startswith("Before\n")
        and said.endswith("Behind\n")
        and "What was there" not in said
        and f"`{one}`" in said
    )


TRIED = """
import pytest

def check(test):
    test.checks = (1,)
    return test

@check
@pytest.mark.parametrize("good", [True, False, True])
def test_one_of_three(good): assert good

@check
def test_good(): pass

@check
def test_left_out(): pytest.skip("no reason")

@check
@pytest.mark.xfail
def test_not_expected(): assert False

def test_of_nothing(): assert False
"""


def test_the_worst_outcome_of_a_test_is_recorded(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "tests" / "api" / "ollama"
    folder.mkdir(parents=True)
    (folder / "test_tried.py").write_text(TRIED)
    pytester.runpytest_subprocess(
        "-p", "tests.compatibility.plugin", "-p", "no:cacheprovider", "--compatibility=r.json", "tests/api"
    )
    results = json.loads((pytester.path / "r.json").read_text())
    assert all(result["checks"] == [1] for result in results.values())
    outcomes = {name: result["outcome"] for name, result in results.items()}
    assert {name.rpartition("::")[2]: outcome for name, outcome in outcomes.items()} == {
        "test_one_of_three": "failed",
        "test_good": "passed",
        "test_left_out": "skipped",
        "test_not_expected": "expected to fail",
    }
    assert set(outcomes) == {f"ollama/test_tried.py::{name.rpartition('::')[2]}" for name in outcomes}
