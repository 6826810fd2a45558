"""Embedding runs inside a runner: many texts of many runs to a batch, and one batch between two steps of the engine.

The batches are computed by the engine's own thread: a second computing thread would bring a second OpenMP team, and
teams that are together more than the processors make every step slower (see llama.Llama). A batch holds no more tokens
than a step, so that running streams wait for one of them at most.
"""

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from apps.errors import Problem
from apps.inference.engine.backend import Chunk, DecodeFailed, Tokens
from apps.inference.engine.embed import Vector, normalised
from apps.inference.engine.engine import Ended, Engine, Event, Started
from apps.inference.types import EndReason

PART_NUMBERS = 1 << 14  # of one frame: 200 kB of JSON

Work = Callable[[], None]


class Embedder(Protocol):
    """engine.embed.Embedder, or a fake."""

    batch: int
    sequences: int
    whole: bool
    nothing: Tokens

    def takes(self, length: int) -> bool: ...

    def prepare(self, length: int) -> None: ...

    def compute(self, chunks: Sequence[Chunk]) -> list[Vector]: ...

    def forget(self, slot: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class EmbedJob:
    """The texts of one run as tokens. `dimensions` 0 keeps all numbers of a vector."""

    run: str
    inputs: tuple[Tokens, ...]
    dimensions: int = 0


@dataclass(frozen=True, slots=True)
class Vectors:
    """The next vectors of a run, in the order of its inputs."""

    run: str
    vectors: list[list[float]]


@dataclass(eq=False)
class Task:
    """A run at work: `begun` inputs were put into a batch, `done` came out of one."""

    job: EmbedJob
    began_ns: int = field(default_factory=time.monotonic_ns)
    begun: int = 0
    done: int = 0
    ready: list[Vector] = field(default_factory=list)

    @property
    def next_input(self) -> Tokens:
        return self.job.inputs[self.begun]

    @property
    def left(self) -> int:
        return len(self.job.inputs) - self.begun

    @property
    def all_begun(self) -> bool:
        return self.left == 0


@dataclass(eq=False)
class Text:
    """One input on its way: `at` tokens of it are in the batches so far."""

    task: Task
    tokens: Tokens
    slot: int
    at: int = 0

    @property
    def left(self) -> int:
        return len(self.tokens) - self.at

    def chunk(self, room: int) -> Chunk:
        start, self.at = self.at, min(len(self.tokens), self.at + room)
        return Chunk(self.slot, start, self.tokens[start : self.at], self.left == 0)


class Desk:
    """Takes embedding runs. `call` has work done by the decoding thread, each piece before another step."""

    def __init__(
        self, embedder: Embedder, *, call: Callable[[Work], None], deliver: Callable[[list[Event | Vectors]], None]
    ) -> None:
        self._embedder, self._call, self._deliver = embedder, call, deliver
        self._tasks: deque[Task] = deque()
        self._half: Text | None = None  # the one text that a batch may have cut
        self._promised = False  # whether a turn is on its way
        self._events: list[Event | Vectors] = []

    # From any thread.

    def submit(self, job: EmbedJob) -> None:
        self._call(lambda: self._join(job))

    def cancel(self, run: str, problem: Problem | None = None) -> None:
        """As Engine.cancel: one that is not here is left alone. Takes effect between two batches."""
        self._call(lambda: self._leave(run, problem))

    # From the decoding thread.

    def close(self) -> None:
        """No more batches: what is left ends."""
        for task in list(self._tasks):
            self._end(task, "error", Problem("unavailable", "the model was unloaded"))
        self._flush()
        self._embedder.close()

    def _join(self, job: EmbedJob) -> None:
        inputs = tuple(tokens if len(tokens) else self._embedder.nothing for tokens in job.inputs)
        task = Task(replace(job, inputs=inputs))
        self._tasks.append(task)
        self._events.append(Started(job.run))
        if not job.inputs:
            self._end(task, "stop")
        self._promise()
        self._flush()

    def _leave(self, run: str, problem: Problem | None) -> None:
        for task in [task for task in self._tasks if task.job.run == run]:
            self._end(task, "error" if problem else "cancelled", problem)
        self._flush()

    def _turn(self) -> None:
        """One batch, and the promise of another one behind the engine's next step."""
        self._promised = False
        if self._tasks:
            self._work()
        self._promise()
        self._flush()

    def _promise(self) -> None:
        if self._tasks and not self._promised:
            self._promised = True
            self._call(self._turn)

    def _work(self) -> None:
        plan: list[tuple[Text, Chunk]] = []
        try:
            self._make_room()
            plan = self._plan()
            vectors = self._embedder.compute([chunk for _, chunk in plan])
        except (Problem, DecodeFailed) as error:
            return self._abandon({text.task for text, _ in plan} or {self._tasks[0]}, error)
        whole = (text for text, chunk in plan if chunk.sample)
        for text, vector in zip(whole, vectors, strict=True):
            self._take(text.task, vector)

    def _make_room(self) -> None:
        """Before a text that the context cannot hold, which may only change while no text is half done."""
        if self._half is None:
            length = len(self._tasks[0].next_input)
            if not self._embedder.takes(length):
                self._embedder.prepare(length)

    def _plan(self) -> list[tuple[Text, Chunk]]:
        """The next batch: what is left of a cut text, a text of the oldest run, and then of those that are nearest to
        their end, until it is full. So one answer is under way while the next is computed, a short run overtakes a
        long one, and nobody waits for ever."""
        plan: list[tuple[Text, Chunk]] = []
        room, text = self._embedder.batch, self._half
        slots = iter(set(range(self._embedder.sequences)) - {text.slot if text else -1})
        while text := text or self._begin(slots, room=room, oldest=not plan):
            chunk = text.chunk(room)
            plan.append((text, chunk))
            room -= len(chunk.tokens)
            self._half = text if text.left else None
            text = None
            if not room or len(plan) == self._embedder.sequences:
                break
        return plan

    def _begin(self, slots: Iterator[int], *, room: int, oldest: bool) -> Text | None:
        """The next text of the run whose turn it is, if it fits into this batch."""
        waiting = [task for task in self._tasks if not task.all_begun]
        if not waiting:
            return None
        task = waiting[0] if oldest else min(waiting, key=lambda task: task.left)
        if not self._suits(len(task.next_input), room):
            return None
        text = Text(task, task.next_input, next(slots))
        task.begun += 1
        return text

    def _suits(self, length: int, room: int) -> bool:
        return self._embedder.takes(length) and (length <= room or not self._embedder.whole)

    def _take(self, task: Task, vector: Vector) -> None:
        task.ready.append(vector)
        task.done += 1
        over = task.done == len(task.job.inputs)
        if not over and len(task.ready) * vector.size < PART_NUMBERS:
            return
        try:
            vectors = normalised(task.ready, dimensions=task.job.dimensions)
        except Problem as problem:
            return self._end(task, "error", problem)
        task.ready.clear()
        self._events.append(Vectors(task.job.run, vectors))
        if over:
            self._end(task, "stop")

    def _abandon(self, tasks: set[Task], error: Problem | DecodeFailed) -> None:
        """Nothing is known of the texts of a failed batch."""
        problem = error if isinstance(error, Problem) else Problem("internal", str(error))
        for task in tasks:
            self._end(task, "error", problem)

    def _end(self, task: Task, reason: EndReason, problem: Problem | None = None) -> None:
        if task not in self._tasks:  # an earlier text of the same batch has ended it
            return
        self._tasks.remove(task)
        if self._half and self._half.task is task:
            self._embedder.forget(self._half.slot)
            self._half = None
        self._events.append(_ended(task, reason, problem))

    def _flush(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self._deliver(events)


def _ended(task: Task, reason: EndReason, problem: Problem | None) -> Ended:
    return Ended(
        run=task.job.run,
        reason=reason,
        problem=problem,
        prompt_tokens=sum(map(len, task.job.inputs[: task.done])),
        cached_tokens=0,
        output_tokens=0,
        dropped_tokens=0,
        prompt_ns=time.monotonic_ns() - task.began_ns,
        eval_ns=0,
        output_ids=(),
    )


class SharedEngine(Engine):
    """An engine whose loop also does other work, a piece between two steps."""

    def call(self, work: Work) -> None:
        """Has `work` done by the loop's thread before its next step. Any thread."""
        self._commands.put(work)

    def _take_commands(self) -> None:
        """Those that are there now: work that calls for more must let the engine make a step in between."""
        for _ in range(self._commands.qsize()):
            self._commands.get()()


class Loop:
    """What stands in the engine's place for a model that only embeds: nothing but calls."""

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[Work | None] = queue.SimpleQueue()

    def call(self, work: Work) -> None:
        self._commands.put(work)

    def stop(self) -> None:
        self._commands.put(None)

    def run(self) -> None:
        while (work := self._commands.get()) is not None:
            work()
