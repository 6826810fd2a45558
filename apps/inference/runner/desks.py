"""What a runner does with its model: generate and embed, or only embed. All of it in one thread, from load to end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from apps.errors import Problem
from apps.inference.engine import embed, llama
from apps.inference.engine import projector as sight
from apps.inference.engine.engine import Ended, Event
from apps.inference.engine.eyes import Eyes
from apps.inference.engine.loading import Adapter, Load
from apps.inference.engine.sequence import Job
from apps.inference.runner.embedding import Desk, Embedder, EmbedJob, Loop, SharedEngine, Vectors

NO_GENERATION = "this model only embeds"

Deliver = Callable[[list[Event | Vectors]], None]
Progress = Callable[[float], None]


class Desks(Protocol):
    """`submit`, `cancel` and `stop` from any thread; `run` from the one that loaded the model."""

    def submit(self, job: Job | EmbedJob) -> None: ...

    def cancel(self, run: str, problem: Problem | None = None) -> None: ...

    def stop(self) -> None: ...

    def run(self) -> None:
        """Work until stopped. Raises DecodeFailed."""


@dataclass(frozen=True)
class Loaded:
    """A model, the context to embed with, and what reads images for it. `model.context` is in tokens a slot."""

    model: llama.Llama | embed.Model
    embedder: Embedder
    projector: sight.Projector | None = None

    @property
    def projector_bytes(self) -> int:
        return self.projector.bytes if self.projector else 0

    def staff(self, *, step_tokens: int, deliver: Deliver) -> Desks:
        if isinstance(self.model, embed.Model):
            return OnlyEmbedding(self.embedder, deliver=deliver)
        eyes = Eyes(self.projector) if self.projector else None
        return Both(self.model, self.embedder, eyes, step_tokens=step_tokens, deliver=deliver)


def load(load: Load, *, again: tuple[Adapter, ...], embedding: bool, step_tokens: int, progress: Progress) -> Loaded:
    """`again` are descriptors of the adapters' files for the second context; `embedding` says that it is the only one.

    Errors: LoadFailed, DecodeFailed, Problem.
    """
    second = replace(load, adapters=again, projector=None)
    if embedding:
        only = embed.Model(load, progress=progress)
        return Loaded(only, embed.alone(only, second))
    model = llama.Llama(load, progress=progress)
    return Loaded(model, embed.beside(model, second, batch=step_tokens), sight.beside(model, load))


class Both:
    def __init__(
        self, model: llama.Llama, embedder: Embedder, eyes: Eyes | None, *, step_tokens: int, deliver: Deliver
    ) -> None:
        self._engine = SharedEngine(
            model, step_tokens=step_tokens, deliver=lambda events: deliver([*events]), eyes=eyes
        )
        self._desk = Desk(embedder, call=self._engine.call, deliver=deliver)

    def submit(self, job: Job | EmbedJob) -> None:
        if isinstance(job, EmbedJob):
            self._desk.submit(job)
        else:
            self._engine.submit(job)

    def cancel(self, run: str, problem: Problem | None = None) -> None:
        """Only one of them has it."""
        self._engine.cancel(run, problem)
        self._desk.cancel(run, problem)

    def stop(self) -> None:
        self._engine.stop()

    def run(self) -> None:
        try:
            self._engine.run()
        finally:
            self._desk.close()


class OnlyEmbedding:
    def __init__(self, embedder: Embedder, *, deliver: Deliver) -> None:
        self._loop, self._deliver = Loop(), deliver
        self._desk = Desk(embedder, call=self._loop.call, deliver=deliver)

    def submit(self, job: Job | EmbedJob) -> None:
        if isinstance(job, EmbedJob):
            self._desk.submit(job)
        else:
            problem = Problem("invalid", NO_GENERATION)
            self._deliver([Ended(job.run, "error", problem, 0, 0, 0, 0, 0, 0, ())])

    def cancel(self, run: str, problem: Problem | None = None) -> None:
        self._desk.cancel(run, problem)

    def stop(self) -> None:
        self._loop.stop()

    def run(self) -> None:
        self._loop.run()
        self._desk.close()
