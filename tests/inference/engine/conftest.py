"""An engine over the fake model, driven step by step; and the real model, loaded once."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.inference.engine import llama
from apps.inference.engine.engine import Ended, Engine, Event, Started, Text
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.loading import Load
from apps.inference.engine.logprobs import Logprob
from apps.inference.engine.sequence import Job
from apps.inference.types import Limits, Sampling
from tests.fakes import FakeBackend


class Bench:
    """Submits runs, makes steps, and keeps what came out."""

    def __init__(self, backend: Any, *, step_tokens: int = 8) -> None:
        self.backend = backend
        self.engine = Engine(backend, step_tokens=step_tokens, deliver=self._note, clock=self._clock)
        self.batches: list[list[Event]] = []
        self.ends: dict[str, Ended] = {}
        self.texts: dict[str, str] = {}
        self.logprobs: dict[str, list[Logprob]] = {}
        self.started: list[str] = []

    def _clock(self) -> float:
        """The fake model's; with the real one it stands still, so that no test hangs on how fast the machine is."""
        return getattr(self.backend, "now", 0.0)

    def _note(self, events: list[Event]) -> None:
        self.batches.append(events)
        for event in events:
            if isinstance(event, Started):
                self.started.append(event.run)
            elif isinstance(event, Text):
                self.texts[event.run] = self.texts.get(event.run, "") + event.text
                self.logprobs.setdefault(event.run, []).extend(event.logprobs)
            else:
                assert event.run not in self.ends, "a run ended twice"
                self.ends[event.run] = event

    def submit(
        self,
        run: str,
        tokens: Sequence[int],
        *,
        key: str | None = None,
        public: int = 0,
        context: int = 0,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        logprobs: int | None = None,
        markers: tuple[str, ...] = (),
        **limits: Any,
    ) -> None:
        self.engine.submit(
            Job(
                run=run,
                tokens=np.asarray(tokens, dtype=np.int32),
                share_key=f"key of {run}" if key is None else key,
                public_tokens=public,
                sampling=sampling or Sampling(temperature=0),
                limits=Limits(**limits),
                context=context,
                grammar=grammar,
                logprobs=logprobs,
                markers=markers,
            )
        )

    def steps(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.step()

    def until(self, *runs: str, most: int = 2000) -> None:
        """Step until the runs have ended."""
        for _ in range(most):
            if all(run in self.ends for run in runs):
                return
            if self.engine._preparing and not len(self.engine._scheduler):
                time.sleep(0.001)
            self.engine.step()
        raise AssertionError(f"{set(runs) - set(self.ends)} did not end within {most} steps")

    def run(self, run: str, tokens: Sequence[int], **options: Any) -> str:
        self.submit(run, tokens, **options)
        self.until(run)
        return self.texts.get(run, "")


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench() -> MakeBench:
    def make(*, step_tokens: int = 8, **backend: Any) -> Bench:
        return Bench(FakeBackend(**backend), step_tokens=step_tokens)

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture(scope="session")
def model(gguf_path: Path) -> Iterator[llama.Llama]:
    """The starter model with three slots of 512 tokens."""
    llama.log_to(lambda level, text: None)
    file = os.open(gguf_path, os.O_RDONLY)
    yield llama.Llama(Load(file, context=512, slots=3), progress=lambda fraction: None)
