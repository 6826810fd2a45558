"""A typed model name -> what the caller may see under it, with each endpoint's own words when there is nothing.

A model that exists and is not the caller's to see reads exactly like one that does not exist.
"""

from collections.abc import Callable

from rest_framework.request import Request

from apps.api.ollama.quoting import quoted
from apps.api.ollama.views.door import user_of
from apps.errors import Problem
from apps.registry import names, resolve
from apps.registry.models import Model
from apps.registry.names import ModelName

Words = Callable[[str], Problem]


def required() -> Problem:
    return Problem("invalid", "model is required")


def unknown(typed: str) -> Problem:
    """generate, chat, delete."""
    return Problem("not_found", f"model '{typed}' not found")


def unknown_to_show(typed: str) -> Problem:
    """show names the model in its short form with the tag."""
    return unknown(ModelName.parse(names.without_source(typed)).short())


def unknown_to_copy(typed: str) -> Problem:
    return Problem("not_found", f"model {quoted(typed)} not found")


def unknown_to_embed(typed: str) -> Problem:
    return Problem("not_found", f"model {quoted(typed)} not found, try pulling it first")


def version(typed: str, request: Request, *, unnamed: Problem, unknown: Words) -> resolve.Version:
    """What inference needs of a model. Raises `unnamed` without a name, `unknown(typed)` when there is none to see."""
    name = _plain(typed, unnamed)
    try:
        return resolve.version(name, user_of(request))
    except Problem as problem:
        raise _worded(problem, typed, unknown) from problem


def model(typed: str, request: Request, *, unnamed: Problem, unknown: Words) -> Model:
    """The row, for the listing endpoints. Errors as `version`."""
    name = _plain(typed, unnamed)
    try:
        return resolve.find(name, user_of(request))
    except Problem as problem:
        raise _worded(problem, typed, unknown) from problem


def _plain(typed: str, unnamed: Problem) -> str:
    if not typed.strip():
        raise unnamed
    name = names.without_source(typed)
    ModelName.parse(name)
    return name


def _worded(problem: Problem, typed: str, unknown: Words) -> Problem:
    return unknown(typed) if problem.code == "not_found" else problem
