"""From a job to the tokens of its prompt. Pure: the vocabulary is given."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

from apps.errors import Problem
from apps.inference.engine.seams import Seam
from apps.inference.prompt import conversation, fitting, infill, inputs, places
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.engines import Engine, Engines
from apps.inference.prompt.infill import Infill
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.prompt.memory import Memory
from apps.inference.prompt.modelfile import GoTemplate
from apps.inference.prompt.sandbox import TemplateError
from apps.inference.prompt.template import Asked

IMAGE_TOKENS = 768  # what the contract counts for one, wherever its size is not known
_PUBLICS = 32
_SENTINELS = ("a", "0")  # two users who say something else from the first character on


class Words(Protocol):
    """What is needed of a vocabulary (engine/vocabulary.py)."""

    size: int
    add_bos: bool
    bos: str
    architecture: str
    infill: tuple[int, int, int] | None

    @property
    def marks(self) -> Mapping[str, str]: ...

    @property
    def n_ctx_train(self) -> int: ...

    @property
    def seam(self) -> Seam | None: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def detokenize(self, tokens: Sequence[int]) -> bytes: ...

    def text(self, token: int) -> str: ...

    def chat_template(self, name: str = "") -> str: ...


@dataclass(frozen=True)
class Encoded:
    text: str
    tokens: list[int]
    images: int = 0
    dropped_messages: int = 0

    @property
    def weight(self) -> int:
        """In tokens, with what the images will take."""
        return len(self.tokens) + IMAGE_TOKENS * self.images


@dataclass(frozen=True)
class Public:
    """What every conversation with a version begins with: `tokens`, of which the first are those of the text `head`,
    which may be cut off a prompt and tokenised by itself."""

    tokens: Sequence[int] = ()
    head: str = ""
    head_tokens: Sequence[int] = ()


_NOTHING = Public()


class Builder:
    """One model's templates and vocabulary. Remembers the public prefixes of the versions that use it, and what users
    have said of late."""

    def __init__(self, vocabulary: Words) -> None:
        self._vocabulary = vocabulary
        self._engines = Engines(vocabulary)
        self._marks = _marks(vocabulary)
        self._memory = Memory(vocabulary)
        self._publics: OrderedDict[object, Public] = OrderedDict()

    def build(self, job: PromptJob) -> Prompt:
        """Raises Problem: 400 for what the request asks, 500 for a template that fails (contract, section 4.5)."""
        if not all(0 <= token < self._vocabulary.size for token in job.context):
            raise Problem("invalid", "context holds a token that this model does not know")
        if job.kind == "embed":
            return self._embed(job)
        try:
            if job.kind == "generate" and job.suffix and not job.raw:
                return self._fill_in(job)
            return self._converse(job)
        except TemplateError as error:
            raise Problem("invalid", str(error), status=500) from error

    # --- a conversation, or a prompt --------------------------------------------------------------------------------

    def _converse(self, job: PromptJob) -> Prompt:
        engine = None if self._verbatim(job) else self._engines.of(job)
        full = self._encode(job, engine)
        fitted = self._drop(job, engine, full)
        if job.render_only:
            return replace(self._shown(job, fitted), length=len(full.tokens))
        tokens = self._cut(job, fitted)
        return Prompt(
            tokens=tuple(tokens),
            text=fitted.text,
            public_tokens=_common(self._public(job, engine).tokens, tokens),
            dropped_messages=fitted.dropped_messages,
            dropped_tokens=len(full.tokens) - len(tokens),
            images=fitted.images,
            reply=engine.reply(_asked(job), fitted.text, forced=_forced(job)) if engine else None,
        )

    def _verbatim(self, job: PromptJob) -> bool:
        """Raw prompts go to the model untouched, and so does what is to be completed without a template."""
        if job.kind != "generate":
            return False
        return job.raw or not (self._engines.has_jinja or job.template or job.version_template)

    def _encode(self, job: PromptJob, engine: Engine | None) -> Encoded:
        if engine is not None:
            return self._render(job, engine, conversation.of(job))
        text = conversation.with_marks(job.prompt, len(job.images)) if job.images else job.prompt
        return Encoded(
            text,
            [*job.context, *self._words(text, first=not job.context, images=len(job.images), key=job.share_key)],
            len(job.images),
        )

    def _render(self, job: PromptJob, engine: Engine, said: Conversation, *, dropped: int = 0) -> Encoded:
        text = engine.render(said, _asked(job))
        seen = conversation.of(job).images if said.images else 0  # the numbers in the marks do not change
        public = self._public(job, engine)
        words = self._tokens(text, follows=bool(job.context), images=seen, key=job.share_key, public=public)
        return Encoded(text, [*job.context, *words], said.images, dropped)

    def _tokens(
        self, text: str, *, follows: bool = False, images: int = 0, key: str = "", public: Public = _NOTHING
    ) -> list[int]:
        """The vocabulary's own first token is added once: not when the template wrote it, nor behind a context. What
        is public is not tokenised again, but for images, which may be marked in it."""
        text = self._without_bos(text)
        if public.head and not images and text.startswith(public.head):
            return [*public.head_tokens, *self._words(text[len(public.head) :], first=False, key=key)]
        return self._words(text, first=not follows, images=images, key=key)

    def _without_bos(self, text: str) -> str:
        return text.removeprefix(self._vocabulary.bos) if self._vocabulary.add_bos else text

    def _words(self, text: str, *, first: bool, images: int = 0, key: str = "") -> list[int]:
        def tokenize(stretch: str, first: bool) -> list[int]:
            return self._memory.tokens(stretch, first=first, key=key)

        if not images:
            return tokenize(text, first)
        return places.tokens(text, images=images, first=first, tokenize=tokenize)

    def _drop(self, job: PromptJob, engine: Engine | None, full: Encoded) -> Encoded:
        if not job.truncate or full.weight <= job.num_ctx or engine is None:
            return full
        said = conversation.of(job)
        if said.last == 0:
            return full
        search = fitting.Search(
            lambda start: self._render(job, engine, said.since(start), dropped=_dropped(said, start)),
            lambda encoded: encoded.weight <= job.num_ctx,
            last=said.last,
        )
        return search.run()[1]

    def _cut(self, job: PromptJob, fitted: Encoded) -> list[int]:
        """A prompt with images is not cut: the cut could go through one."""
        shift = job.shift and not fitted.images
        fitting.refuse_if_over(len(fitted.tokens), num_ctx=job.num_ctx, truncate=job.truncate, shift=shift)
        return fitting.cut_middle(fitted.tokens, num_ctx=job.num_ctx, num_keep=job.num_keep)

    def _shown(self, job: PromptJob, fitted: Encoded) -> Prompt:
        before = self._vocabulary.detokenize(job.context).decode("utf-8", "replace")
        return Prompt((), before + fitted.text, dropped_messages=fitted.dropped_messages, images=fitted.images)

    # --- what users share -------------------------------------------------------------------------------------------

    def _public(self, job: PromptJob, engine: Engine | None) -> Public:
        """Of every conversation with this version that brings no system message of its own."""
        if job.context or engine is None or job.template not in ("", job.version_template):
            return _NOTHING
        key = (engine.source, job.version_system, job.stored, date.today())  # templates may print the day
        if key not in self._publics:
            self._publics[key] = self._find_public(job, engine)
        self._publics.move_to_end(key)
        while len(self._publics) > _PUBLICS:
            self._publics.popitem(last=False)
        return self._publics[key]

    def _find_public(self, job: PromptJob, engine: Engine) -> Public:
        try:
            texts = [engine.render(conversation.public(job.version_system, job.stored, said)) for said in _SENTINELS]
        except TemplateError:
            return _NOTHING  # a version whose own messages the template takes only with some requests shares nothing
        texts = [self._without_bos(text) for text in texts]
        shared = os.path.commonprefix(texts)
        seam = self._vocabulary.seam
        head = shared[: shared.rfind(seam.text) + len(seam.text)] if seam and seam.text in shared else ""
        head_tokens = self._words(head, first=True) if head else []
        first, second = (self._words(text[len(head) :], first=not head) for text in texts)
        return Public((*head_tokens, *first[: _common(first, second)]), head, head_tokens)

    # --- the two other kinds ----------------------------------------------------------------------------------------

    def _fill_in(self, job: PromptJob) -> Prompt:
        """By the template where it knows a suffix, else by the vocabulary's marks."""
        template = self._engines.of(job).template
        if isinstance(template, GoTemplate) and (template.fills_in or job.template not in ("", job.version_template)):
            text = template.fill(prompt=job.prompt, suffix=job.suffix, asked=_asked(job))
            full = Encoded(text, [*job.context, *self._tokens(text, follows=bool(job.context))])
            tokens = [] if job.render_only else self._cut(job, full)
            return self._filled(job, text, tokens, len(full.tokens))
        if self._marks is None:
            raise Problem("invalid", f"{job.model or 'this model'} does not support insert")
        first = list(job.context) or self._vocabulary.tokenize("", add_special=True, parse_special=False)
        whole = Infill.of(self._vocabulary, self._marks, prompt=job.prompt, suffix=job.suffix, first=first)
        text = infill.text(self._marks, prompt=job.prompt, suffix=job.suffix)
        return self._filled(job, text, self._cut_gap(job, whole), len(whole.tokens))

    def _cut_gap(self, job: PromptJob, whole: Infill) -> list[int]:
        if job.render_only or len(whole.tokens) < job.num_ctx:
            return whole.tokens
        fitting.refuse_if_over(len(whole.tokens), num_ctx=job.num_ctx, truncate=job.truncate, shift=job.shift)
        return whole.cut(job.num_ctx).tokens

    def _filled(self, job: PromptJob, text: str, tokens: list[int], whole: int) -> Prompt:
        if job.render_only:
            return self._shown(job, Encoded(text, []))
        return Prompt(tuple(tokens), text, dropped_tokens=whole - len(tokens))

    def _embed(self, job: PromptJob) -> Prompt:
        read = [
            inputs.tokens(self._vocabulary, text, num_ctx=job.num_ctx, truncate=job.truncate) for text in job.inputs
        ]
        dropped = sum(cut for _, cut in read)
        return Prompt((), "", dropped_tokens=dropped, inputs=tuple(tuple(tokens) for tokens, _ in read))


def _asked(job: PromptJob) -> Asked:
    return Asked(tools=job.offered, think=job.think)


def _forced(job: PromptJob) -> bool:
    return bool(job.offered) and job.tool_choice != "auto"


def _marks(vocabulary: Words) -> infill.Marks | None:
    if vocabulary.infill is None:
        return None
    first, second, third = map(vocabulary.text, vocabulary.infill)
    return infill.Marks(vocabulary.infill, (first, second, third))


def _dropped(said: Conversation, start: int) -> int:
    return len(said.messages) - len(said.since(start).messages)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two prompts share."""
    length = min(len(first), len(second))
    if tuple(first[:length]) == tuple(second[:length]):
        return length
    return next((place for place in range(length) if first[place] != second[place]), length)
