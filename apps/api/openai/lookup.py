"""A typed model name -> what the caller may see under it; what is another's reads like what does not exist."""

from rest_framework.request import Request

from apps.accounts import access
from apps.api import inference
from apps.api.openai.errors import Refusal
from apps.errors import Problem
from apps.registry import names, resolve
from apps.registry.models import Model
from apps.registry.names import ModelName
from apps.registry.resolve import Version


def version(typed: str, request: Request, *, unnamed: Problem | None = None) -> Version:
    """What inference needs of a model. Raises `unnamed` (else "model is required") where there is no name."""
    if not typed.strip():
        raise unnamed or Refusal("model is required", param="model")
    ModelName.parse(names.without_source(typed))
    return resolve.version(typed, access.of(request).user)


def model(typed: str, request: Request) -> Model:
    """The row. An unknown one is named in its short form, as Ollama does on this route."""
    plain = names.without_source(typed)
    short = ModelName.parse(plain).short()
    try:
        return resolve.find(plain, access.of(request).user)
    except Problem as problem:
        raise (resolve.not_found(short) if problem.code == "not_found" else problem) from problem


def unknown(typed: str) -> Problem:
    return resolve.not_found(typed)


def needs(version: Version, typed: str, verb: str, **wanted: bool) -> None:
    """Refuses what the model cannot do: `verb` itself ("chat", "generate"), then each capability that is `wanted`."""
    inference.needs(version, "completion", words=lambda _: Refusal(f'"{typed}" does not support {verb}', param="model"))
    for capability in (name for name, asked in wanted.items() if asked):
        inference.needs(version, capability, words=lambda name: _lacking(version, typed, name))


def _lacking(version: Version, typed: str, capability: str) -> Refusal:
    if capability in {"tools", "insert"}:
        return Refusal(f"{version.canonical} does not support {capability}", param="model")
    return Refusal(f'"{typed}" does not support {"images" if capability == "vision" else capability}', param="model")
