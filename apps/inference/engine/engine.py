"""The loop: take what came in, schedule, decode, deliver. One thread runs it; any thread may submit and cancel."""

import queue
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

from apps.errors import Problem
from apps.inference.engine import sampling
from apps.inference.engine.backend import Backend, DecodeFailed, NoRoom
from apps.inference.engine.scheduler import Part, Scheduler
from apps.inference.engine.sequence import Job, Sequence, fits
from apps.inference.engine.slots import Slot, Slots
from apps.inference.types import EndReason

TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
    "context length in settings, or use a model with a longer context length"
)


@dataclass(frozen=True, slots=True)
class Started:
    run: str


@dataclass(frozen=True, slots=True)
class Text:
    run: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a run. Durations in nanoseconds; `prompt_tokens` counts the cached ones too."""

    run: str
    reason: EndReason
    problem: Problem | None
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    dropped_tokens: int
    prompt_ns: int
    eval_ns: int
    output_ids: tuple[int, ...]


Event = Started | Text | Ended
Deliver = Callable[[list[Event]], None]


class Engine:
    def __init__(self, backend: Backend, *, step_tokens: int, deliver: Deliver) -> None:
        self._backend = backend
        self._deliver_to = deliver
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._slots = Slots(backend)
        self._scheduler = Scheduler(step_tokens=step_tokens, batch=backend.batch)
        self._events: list[Event] = []
        self._failures = 0
        self._stopping = False

    # From any thread. Each takes effect before the next step.

    def submit(self, job: Job) -> None:
        self._commands.put(lambda: self._join(job))

    def cancel(self, run: str, problem: Problem | None = None) -> None:
        """End a run; a problem says why it was not its caller's wish. One that is not here is left alone."""
        self._commands.put(lambda: self._leave(run, problem))

    def stop(self) -> None:
        self._commands.put(self._halt)

    # From the loop's thread.

    def run(self) -> None:
        """Work until stopped. Raises DecodeFailed when the backend fails step after step."""
        while not self._stopping:
            if not len(self._scheduler):
                self._commands.get()()
            self.step()
        self._end_all(Problem("unavailable", "the model was unloaded"))

    def step(self) -> None:
        self._take_commands()
        self._admit()
        self._make_space()
        plan = self._scheduler.plan()
        if plan and self._decode(plan):
            self._sample(plan)
        self._deliver()

    def _take_commands(self) -> None:
        while not self._commands.empty():
            self._commands.get()()

    def _halt(self) -> None:
        self._stopping = True

    def _join(self, job: Job) -> None:
        sequence = Sequence(job, context=self._backend.context)
        if not sequence.prompt_tokens:
            return self._end(sequence, "error", Problem("invalid", "the prompt has no tokens"))
        if not fits(sequence.prompt_tokens, context=sequence.context):
            return self._end(sequence, "error", Problem("invalid", TOO_LONG))
        self._scheduler.waiting.append(sequence)

    def _leave(self, run: str, problem: Problem | None) -> None:
        if sequence := self._scheduler.find(run):
            self._end(sequence, "error" if problem else "cancelled", problem)

    def _admit(self) -> None:
        """Give slots to the waiting, then start whoever need not wait for a prefix any longer, in order of arrival."""
        scheduler = self._scheduler
        while scheduler.waiting and (slot := self._slots.claim(scheduler.waiting[0])):
            self._start(scheduler.waiting.popleft())
            scheduler.held.append(slot)
        for slot in list(scheduler.held):
            if not self._slots.awaits(slot):
                scheduler.held.remove(slot)
                self._slots.prepare(slot)
                scheduler.running.append(slot)

    def _start(self, sequence: Sequence) -> None:
        if sequence.sampler is not None:  # it lost its slot and comes back
            return
        sequence.times.start()
        chain = sampling.describe(sequence.job.sampling, context=sequence.context)
        recent = sequence.prompt[-chain.penalties.last_n :].tolist() if chain.penalties else ()
        sequence.sampler = self._backend.sampler(chain, recent)
        self._events.append(Started(sequence.job.run))

    def _make_space(self) -> None:
        """A sequence whose context is full forgets its oldest half, or ends."""
        for slot in list(self._scheduler.running):
            sequence = slot.owner
            if sequence is None or slot.length < sequence.context:
                continue
            if sequence.job.limits.shift and self._backend.can_shift:
                self._slots.shift(slot)
            else:
                self._end(sequence, "length")

    def _decode(self, plan: Ordered[Part]) -> bool:
        try:
            self._backend.decode([part.chunk() for part in plan])
        except NoRoom:
            self._relieve()
            return False
        except DecodeFailed as error:
            self._abandon(plan, error)
            return False
        self._failures = 0
        return True

    def _sample(self, plan: Ordered[Part]) -> None:
        row = 0
        for part in plan:
            completes = part.completes
            part.slot.grow(part.length)
            if completes:
                self._advance(part.sequence, row)
                row += 1

    def _advance(self, sequence: Sequence, row: int) -> None:
        if sequence.limit == 0:
            return self._end(sequence, "length")
        try:
            token = self._backend.sample(sequence.sampler, row)
        except DecodeFailed as error:
            return self._end(sequence, "error", Problem("internal", str(error)))
        text = sequence.take(token, self._backend.piece(token), ends=self._backend.ends(token))
        if text:
            self._events.append(Text(sequence.job.run, text))
        if sequence.reason:
            self._end(sequence, sequence.reason)

    def _relieve(self) -> None:
        """The memory is full although every slot has its share of it: give up what nobody uses, then who came last."""
        if self._slots.drop_idle():
            return
        running = self._scheduler.running
        slot = running[-1]
        sequence = slot.owner
        assert sequence is not None
        if len(running) == 1:
            return self._end(sequence, "error", Problem("unavailable", "the model's context memory is exhausted"))
        running.remove(slot)
        self._vacate(slot)
        self._scheduler.waiting.appendleft(sequence)

    def _abandon(self, plan: Ordered[Part], error: DecodeFailed) -> None:
        """Nothing is known of the slots of a failed step: their runs end. A backend that fails again is broken."""
        self._failures += 1
        for part in plan:
            self._end(part.sequence, "error", Problem("internal", str(error)))
            self._slots.clear(part.slot)
        if self._failures > 1:
            self._end_all(Problem("internal", str(error)))
            raise error

    def _end_all(self, problem: Problem) -> None:
        for sequence in list(self._scheduler.sequences()):
            self._end(sequence, "error", problem)
        self._deliver()

    def _end(self, sequence: Sequence, reason: EndReason, problem: Problem | None = None) -> None:
        slot = self._scheduler.remove(sequence)
        if slot:
            self._slots.release(slot)
        if sequence.sampler is not None:
            self._backend.free(sequence.sampler)
        if rest := sequence.text.close():
            self._events.append(Text(sequence.job.run, rest))
        self._events.append(_ended(sequence, reason, problem))

    def _vacate(self, slot: Slot) -> None:
        self._slots.release(slot)
        self._slots.clear(slot)

    def _deliver(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self._deliver_to(events)


def _ended(sequence: Sequence, reason: EndReason, problem: Problem | None) -> Ended:
    prompt_ns, eval_ns = sequence.times.spans()
    return Ended(
        run=sequence.job.run,
        reason=reason,
        problem=problem,
        prompt_tokens=sequence.prompt_tokens,
        cached_tokens=sequence.cached_tokens,
        output_tokens=sequence.sampled,
        dropped_tokens=sequence.dropped,
        prompt_ns=prompt_ns,
        eval_ns=eval_ns,
        output_ids=tuple(sequence.output),
    )
