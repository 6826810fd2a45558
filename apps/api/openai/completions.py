"""A body of /v1/completions -> requests of inference (contract, section 13.3).

Beyond Ollama, as OpenAI: a list of prompts, `n`, `echo` and `logprobs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.api.openai import asking, chats, lookup
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields
from apps.inference import options
from apps.inference.types import Request
from apps.registry.resolve import Version

UNSERVED: Final = {"logit_bias": "this server cannot weigh single tokens"}


@dataclass(frozen=True)
class Completion:
    """`prompts` has one or more; each is answered `choices` times."""

    model: str
    prompts: tuple[str, ...]
    suffix: str
    echo: bool
    logprobs: int | None
    options: Mapping[str, Any]
    choices: int
    stream: bool
    include_usage: bool

    @property
    def only_loads(self) -> bool:
        """Nothing to answer: the model is only to be loaded, as by Ollama."""
        return self.prompts == ("",)


def read(body: Fields) -> Completion:
    asking.refuse(body, UNSERVED)
    count = chats.choices(body)
    if body.integer("best_of") not in (None, 1, count):
        raise Refusal("'best_of' is not supported beyond 'n'", param="best_of", name="unsupported_parameter")
    completion = Completion(
        model=body.text("model"),
        prompts=_prompts(body, count),
        suffix=body.text("suffix"),
        echo=body.flag("echo"),
        logprobs=_logprobs(body),
        options=asking.sampling(body, num_predict=body.integer("max_tokens"), stop=asking.stop(body, strict=True)),
        choices=count,
        stream=body.flag("stream"),
        include_usage=chats.include_usage(body),
    )
    if completion.echo and completion.logprobs is not None:
        raise Refusal("'echo' and 'logprobs' cannot be combined here", param="echo", name="unsupported_parameter")
    return completion


def plans(completion: Completion, version: Version) -> list[Request]:
    """One for each choice, the choices of a prompt side by side."""
    lookup.needs(version, completion.model, "generate", insert=bool(completion.suffix))
    return [
        request
        for prompt in completion.prompts
        for request in chats.several(_plan(completion, prompt, version), completion.choices)
    ]


def _plan(completion: Completion, prompt: str, version: Version) -> Request:
    """Without thinking: this form of reply has no place for it."""
    sampling, limits, load = options.merge(version.params, completion.options)
    return Request(
        kind="generate",
        prompt=prompt,
        suffix=completion.suffix,
        think=False if "thinking" in version.capabilities else None,
        logprobs=completion.logprobs,
        sampling=sampling,
        limits=limits,
        load=load,
    )


def _prompts(body: Fields, count: int) -> tuple[str, ...]:
    given = body.given("prompt")
    prompts = given if isinstance(given, list) else ["" if given is None else given]
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise body.wrong("prompt", "a string or an array of strings")
    if not 1 <= len(prompts) * count <= chats.MAX_CHOICES:
        raise Refusal(f"a request may have 1 to {chats.MAX_CHOICES} choices, over all its prompts", param="prompt")
    if len(prompts) > 1 and "" in prompts:
        raise Refusal("a prompt among several must not be empty", param="prompt")
    return tuple(prompts)


def _logprobs(body: Fields) -> int | None:
    count = body.integer("logprobs")
    if count is not None and not 0 <= count <= asking.TOP_LOGPROBS:
        raise Refusal("logprobs must be between 0 and 20", param="logprobs")
    return count
