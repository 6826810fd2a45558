"""From a job to the tokens of its prompt. Pure: the vocabulary is given."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from apps.errors import Problem
from apps.inference.prompt import conversation, fitting
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.prompt.template import CHATML, Template, TemplateError

_PREFIXES = 32
_SENTINELS = ("a", "0")  # two users who say something else from the first character on


class Words(Protocol):
    """What is needed of a vocabulary (engine/vocabulary.py)."""

    size: int
    add_bos: bool
    bos: str
    eos: str

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def chat_template(self) -> str: ...


@dataclass(frozen=True)
class Encoded:
    text: str
    tokens: list[int]
    dropped_messages: int = 0


class Builder:
    """One model's template and vocabulary. Remembers the public prefixes of the versions that use it."""

    def __init__(self, vocabulary: Words) -> None:
        self._vocabulary = vocabulary
        source = vocabulary.chat_template()
        self._has_template = bool(source)
        self._template = Template(source or CHATML, bos=vocabulary.bos, eos=vocabulary.eos)
        self._prefixes: OrderedDict[object, list[int]] = OrderedDict()

    def build(self, job: PromptJob) -> Prompt:
        """Raises Problem: 400 for what the request asks, 500 for a template that fails (contract, section 4.5)."""
        self._refuse(job)
        try:
            full = self._encode(job)
            fitted = self._drop(job, full)
            shared = self._public(job, fitted.tokens)
        except TemplateError as error:
            raise Problem("invalid", str(error), status=500) from error
        fitting.refuse_if_over(len(fitted.tokens), num_ctx=job.num_ctx, truncate=job.truncate, shift=job.shift)
        tokens = fitting.cut_middle(fitted.tokens, num_ctx=job.num_ctx, num_keep=job.num_keep)
        return Prompt(
            tokens=tuple(tokens),
            text=fitted.text,
            public_tokens=_common(shared, tokens),
            dropped_messages=fitted.dropped_messages,
            dropped_tokens=len(full.tokens) - len(tokens),
        )

    def _refuse(self, job: PromptJob) -> None:
        if job.template:
            raise Problem("invalid", "This server does not run a Modelfile's TEMPLATE yet.")
        if not all(0 <= token < self._vocabulary.size for token in job.context):
            raise Problem("invalid", "context holds a token that this model does not know")

    def _verbatim(self, job: PromptJob) -> bool:
        """Raw prompts go to the model untouched, and so does what is to be completed without a template."""
        return job.kind == "generate" and (job.raw or not self._has_template)

    def _encode(self, job: PromptJob) -> Encoded:
        if not self._verbatim(job):
            return self._render(job, conversation.of(job))
        tokens = self._vocabulary.tokenize(job.prompt, add_special=not job.context, parse_special=True)
        return Encoded(job.prompt, [*job.context, *tokens])

    def _render(self, job: PromptJob, said: Conversation, *, dropped: int = 0) -> Encoded:
        text = self._template.render(said.messages) + said.prefill
        return Encoded(text, [*job.context, *self._tokens(text, follows=bool(job.context))], dropped)

    def _tokens(self, text: str, *, follows: bool = False) -> list[int]:
        """The vocabulary's own first token is added once: not when the template wrote it, nor behind a context."""
        if self._vocabulary.add_bos and self._vocabulary.bos:
            text = text.removeprefix(self._vocabulary.bos)
        return self._vocabulary.tokenize(text, add_special=not follows, parse_special=True)

    def _drop(self, job: PromptJob, full: Encoded) -> Encoded:
        if not job.truncate or len(full.tokens) <= job.num_ctx or self._verbatim(job):
            return full
        said = conversation.of(job)
        if said.last == 0:
            return full
        search = fitting.Search(
            lambda start: self._render(job, said.since(start), dropped=_dropped(said, start)),
            lambda encoded: len(encoded.tokens) <= job.num_ctx,
            last=said.last,
        )
        return search.run()[1]

    def _public(self, job: PromptJob, tokens: Sequence[int]) -> list[int]:
        """The leading tokens of every conversation with this version that brings no system message of its own."""
        if job.context or self._verbatim(job):
            return []
        key = (job.version_system, job.stored, date.today())  # templates may print the day
        if key not in self._prefixes:
            self._prefixes[key] = self._prefix(job)
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > _PREFIXES:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]

    def _prefix(self, job: PromptJob) -> list[int]:
        try:
            texts = [
                self._template.render(conversation.public(job.version_system, job.stored, said).messages)
                for said in _SENTINELS
            ]
        except TemplateError:
            return []  # a version whose own messages the template takes only with some requests shares nothing
        first, second = (self._tokens(text) for text in texts)
        return first[: _common(first, second)]


def _dropped(said: Conversation, start: int) -> int:
    return len(said.messages) - len(said.since(start).messages)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two prompts share."""
    length = min(len(first), len(second))
    return next((place for place in range(length) if first[place] != second[place]), length)
