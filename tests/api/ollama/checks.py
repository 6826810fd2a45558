"""The numbered conformance checks of the wire contract: which test carries which, and which issue serves the rest."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

ALL = range(1, 119)
REGISTRY = "pull and push"

LATER: dict[int, str] = dict.fromkeys([90, 92, 93, 94, 95, 96], REGISTRY)

F = TypeVar("F", bound=Callable[..., Any])


def check(*numbers: int) -> Callable[[F], F]:
    """Marks a test as the one that carries these checks, or a part of them."""

    def mark(test: F) -> F:
        test.__dict__["checks"] = numbers
        return test

    return mark


def carriers() -> Iterator[ModuleType]:
    """All modules of conformance tests, of every dialect."""
    tests = Path(__file__).parents[2]
    for path in sorted(tests.rglob("test_conformance*.py")):
        yield import_module(".".join(("tests", *path.relative_to(tests).with_suffix("").parts)))


def carried_by(*modules: ModuleType) -> set[int]:
    return {
        number
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_")
        for number in getattr(test, "checks", ())
    }
