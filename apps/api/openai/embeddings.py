"""A body of /v1/embeddings -> a request of inference (contract, section 13.4)."""

from dataclasses import dataclass, replace
from typing import Final

from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields
from apps.errors import Problem
from apps.inference import options
from apps.inference.types import Request
from apps.registry.resolve import Version

MAX_INPUTS: Final = 2048
MAX_DIMENSIONS: Final = 2**20


@dataclass(frozen=True)
class Embedding:
    model: str
    inputs: tuple[str, ...]
    dimensions: int
    base64: bool


def read(body: Fields) -> Embedding:
    return Embedding(
        model=body.text("model"),
        inputs=_inputs(body),
        dimensions=body.between("dimensions", 0, MAX_DIMENSIONS) or 0,
        base64=_is_base64(body),
    )


def plan(embedding: Embedding, version: Version) -> Request:
    sampling, limits, load = options.merge(version.params, {})
    request = Request(kind="embed", inputs=embedding.inputs, dimensions=embedding.dimensions)
    return replace(request, sampling=sampling, limits=limits, load=load)


def unknown(typed: str) -> Problem:
    return Problem("not_found", f'model "{typed}" not found, try pulling it first')


def _inputs(body: Fields) -> tuple[str, ...]:
    """Tokens are not taken: a client that counts by itself does so with another vocabulary than the model's."""
    given = body.given("input")
    if given is None or given == []:
        raise Refusal("invalid input", param="input")
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise Refusal("invalid input type: send text, or a list of texts, instead of tokens", param="input")
    if len(texts) > MAX_INPUTS:
        raise Refusal(f"a request may have {MAX_INPUTS} inputs at most", param="input")
    return tuple(texts)


def _is_base64(body: Fields) -> bool:
    given = body.text("encoding_format")
    if given.lower() not in {"", "float", "base64"}:
        raise Refusal(
            f"Invalid value for 'encoding_format' = {given}. Supported values: ['float', 'base64'].",
            param="encoding_format", name="invalid_value",
        )  # fmt: skip
    return given.lower() == "base64"
