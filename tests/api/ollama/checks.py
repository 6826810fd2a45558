"""The numbered conformance checks of the wire contract: which test carries which, and which issue serves the rest."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

ALL = range(1, 119)
INFERENCE = "the inference API: templates, tools, thinking, format, images, suffix, logprobs, embeddings"
DIALECTS = "the OpenAI and Anthropic dialects"
REGISTRY = "pull and push"

LATER: dict[int, str] = {
    **dict.fromkeys([27, 29, 34, 36, 46, 51, 52, 59, 60, 62, 63, 65, 66], INFERENCE),
    **dict.fromkeys([90, 92, 93, 94, 95, 96], REGISTRY),
    **dict.fromkeys(range(97, 115), DIALECTS),
}

F = TypeVar("F", bound=Callable[..., Any])


def check(*numbers: int) -> Callable[[F], F]:
    """Marks a test as the one that carries these checks, or a part of them."""

    def mark(test: F) -> F:
        test.__dict__["checks"] = numbers
        return test

    return mark


def carried_by(*modules: ModuleType) -> set[int]:
    return {
        number
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_")
        for number in getattr(test, "checks", ())
    }
