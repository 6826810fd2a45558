"""The process that reads a user's files: how it is confined, and what its death looks like."""

from pathlib import Path
from typing import Any

import pytest

from apps.errors import Problem
from apps.registry import children

SILENT: dict[str, Any] = {"heard": lambda name: None, "check": lambda: None}


def run(tmp_path: Path, module: str, **how: Any) -> dict[str, Any]:
    limits = {"output_bytes": 2**20, "memory_bytes": 2**30, **how}
    with (tmp_path / "out").open("xb", buffering=0) as output:
        return children.run(f"tests.registry.{module}", files={}, output=output, **SILENT, **limits)


def test_what_it_says_at_its_end_comes_back(tmp_path: Path) -> None:
    assert run(tmp_path, "working_child", work="report") == {
        "core": 0,
        "no_new_privs": True,
        "secrets": [],
        "root": False,
    }


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("crash", "ended with signal 11"),
        ("leave", "ended with status 3"),
        ("raise", "ended with status 1"),
        ("fill", "became larger than it can be"),
        ("swell", "needs more memory"),
        ("refuse", "this cannot be"),
    ],
)
def test_an_end_that_is_none_is_a_sentence(work: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=why):
        run(tmp_path, "working_child", work=work)


def test_a_check_that_raises_ends_it_at_once(tmp_path: Path) -> None:
    def check() -> None:
        raise Problem("cancelled", "no more")

    with (tmp_path / "out").open("xb", buffering=0) as output, pytest.raises(Problem, match="no more"):
        children.run(
            "tests.registry.working_child", files={}, output=output, output_bytes=1, memory_bytes=2**30,
            heard=lambda name: None, check=check, work="sleep",
        )  # fmt: skip
