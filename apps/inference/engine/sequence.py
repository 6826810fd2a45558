"""One run inside the engine: its tokens, how far they are computed, and when it ends."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apps.inference.engine.backend import Tokens
from apps.inference.engine.detokenize import TextStream
from apps.inference.engine.drafting import Drafter
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.logprobs import Ledger, Logprob
from apps.inference.engine.matching import Constraint
from apps.inference.engine.vision import Picture
from apps.inference.types import EndReason, Limits, Sampling

REPEATS = 30  # the contract's bound on one token in a row (section 5)
LONGEST = 10  # contexts that one answer may fill


@dataclass(frozen=True)
class Job:
    """A run as the engine takes it.

    `share_key` names whose tokens these are: two jobs of one key may reuse all of each other's prefix, others only
    the leading `public_tokens` that belong to the model version itself. An empty key matches none.
    `context` lowers the slot's context for this run; 0 leaves it.
    `logprobs` is None for none, else how many alternatives are wanted beside each chosen token's.
    `markers` are control tokens that come as text, which they have none of otherwise: those that a parser looks for.
    `images` are files whose places are among the tokens (see vision). Once they are seen, the job has `pictures`
    instead, and tokens for them.
    """

    run: str
    tokens: Tokens
    share_key: str
    public_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    context: int = 0
    grammar: Grammar | None = None
    logprobs: int | None = None
    markers: tuple[str, ...] = ()
    images: tuple[bytes, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass
class Times:
    """Nanoseconds of the monotonic clock; 0 is not yet."""

    started: int = 0
    first: int = 0

    def start(self) -> None:
        self.started = time.monotonic_ns()

    def mark_first(self) -> None:
        self.first = self.first or time.monotonic_ns()

    def spans(self) -> tuple[int, int]:
        """How long the prompt took, and the tokens after it."""
        now = time.monotonic_ns()
        if not self.started:
            return 0, 0
        return (self.first or now) - self.started, now - self.first if self.first else 0


class Sequence:
    """`tokens[:count]` is everything known of it, computed or not; the slot says how much is computed."""

    def __init__(self, job: Job, *, context: int) -> None:
        self.job = job
        self.constraint: Constraint | None = None  # comes before its slot does
        self.ledger = Ledger() if job.logprobs is not None else None
        self.markers: dict[int, bytes] = {}
        self.plain = job.grammar is None and self.ledger is None and not job.markers
        self.context = min(job.context or context, context)
        self.tokens: Tokens = np.empty(self.context + 1, dtype=np.int32)
        prompt, self.dropped = fit(job.tokens, limits=job.limits, context=self.context)
        self.tokens[: len(prompt)] = prompt
        self.count = self.prompt_tokens = len(prompt)
        self.cached_tokens = 0
        self.output: list[int] = []
        self.sampled = 0
        self.text = TextStream(job.limits.stop)
        self.drafter = Drafter()
        self.times = Times()
        self.sampler: Any = None
        self.reason: EndReason | None = None
        self._last_piece, self._repeats = b"", 0

    @property
    def prompt(self) -> Tokens:
        return self.tokens[: self.prompt_tokens]

    def picture(self, at: int) -> Picture | None:
        """The one that the token at this place is of."""
        return next((picture for picture in self.job.pictures if picture.start <= at < picture.end), None)

    def before_picture(self, length: int) -> int:
        """So many leading tokens, less those of a picture that they would cut in two."""
        picture = self.picture(length) if self.job.pictures else None
        return picture.start if picture else length

    def position(self, at: int) -> int:
        """The model's number for the token at this place, which is not inside of a picture with a grid. Pictures with
        one take fewer positions than rows."""
        return at - sum(picture.saved for picture in self.job.pictures if picture.end <= at)

    def words_from(self, at: int) -> int:
        """How many tokens there are from this place to the next picture's, or to the end."""
        starts = (picture.start for picture in self.job.pictures if picture.end > at)
        return max(0, min(next(starts, self.count), self.count) - at)

    def recent(self, count: int) -> list[int]:
        """The prompt's last tokens for a sampler, which knows none of a picture's."""
        prompt = self.prompt[self.prompt >= 0] if self.job.pictures else self.prompt
        last: list[int] = prompt[-count:].tolist()
        return last

    @property
    def limit(self) -> int:
        """Most tokens it may generate."""
        most = LONGEST * self.context
        asked = self.job.limits.num_predict
        return asked if 0 <= asked <= most else most

    @property
    def keep(self) -> int:
        """Tokens at the front that a shift leaves alone."""
        return kept(self.job.limits, length=self.prompt_tokens, context=self.context)

    def take(self, token: int, piece: bytes, *, ends: bool) -> str:
        """Add a sampled token; the text that became certain with it. Sets `reason` when it was the last."""
        self.times.mark_first()
        self.sampled += 1
        if ends:
            self.reason = "stop"
            return ""
        self.output.append(token)
        text = self.text.push(piece)
        self.reason = self._verdict(piece)
        self.tokens[self.count] = token
        self.count += 1
        return text

    @property
    def room(self) -> int:
        """Tokens that may be added before the next step without more than its context holds."""
        return self.context - self.count

    def guess(self, most: int) -> tuple[Tokens, list[float]]:
        """See Drafter. No more than it may still say or hold."""
        return self.drafter.guess(self.tokens[: self.count], most=min(most, self.room, self.limit - self.sampled - 1))

    def release(self, text: str) -> tuple[Logprob, ...]:
        return self.ledger.release(text) if self.ledger else ()

    def close(self) -> tuple[str, tuple[Logprob, ...]]:
        """The text that was still held back, and the last tokens' logprobs."""
        text = self.text.close()
        return text, self.ledger.close(text, stopped=self.text.stopped) if self.ledger else ()

    def drop_middle(self, discard: int) -> None:
        keep = self.keep
        self.tokens[keep : self.count - discard] = self.tokens[keep + discard : self.count].copy()
        self.count -= discard

    def _verdict(self, piece: bytes) -> EndReason | None:
        if self.text.stopped:
            return "stop"
        if self._runs_away(piece):
            return "length" if self.constraint else "stop"  # what a grammar holds is not whole
        return "length" if self.sampled >= self.limit else None

    def _runs_away(self, piece: bytes) -> bool:
        """More than REPEATS times the same token, whitespace aside. Ollama aborts without a word; we end normally."""
        piece = piece.strip()
        self._repeats = self._repeats + 1 if piece == self._last_piece else 0
        self._last_piece = piece
        return self._repeats > REPEATS


def kept(limits: Limits, *, length: int, context: int) -> int:
    wanted = length if limits.num_keep < 0 else limits.num_keep
    return max(0, min(wanted, length, context - 4))


def fits(length: int, *, context: int) -> bool:
    return length <= context - 1


def fit(tokens: Tokens, *, limits: Limits, context: int) -> tuple[Tokens, int]:
    """The prompt cut in its middle so that half of the window behind `num_keep` is free (contract, section 19.4), and
    how many tokens that took. A prompt that fits is left alone; one that may not be cut is for the caller to refuse."""
    if fits(len(tokens), context=context) or not (limits.shift and limits.truncate):
        return tokens[:context], 0
    keep = kept(limits, length=len(tokens), context=context)
    tail = max(1, (context - keep) // 2)
    return np.concatenate([tokens[:keep], tokens[-tail:]]), len(tokens) - keep - tail
