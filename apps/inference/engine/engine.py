"""The loop: take what came in, schedule, decode, deliver. One thread runs it; any thread may submit and cancel."""

import queue
import time
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace

from apps.errors import Problem
from apps.inference.engine import sampling
from apps.inference.engine.backend import Backend, DecodeFailed, NoRoom
from apps.inference.engine.compiling import Compiler
from apps.inference.engine.eyes import Eyes, Order, Seen
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.logprobs import Logprob
from apps.inference.engine.matching import Broken, Constraint
from apps.inference.engine.scheduler import FORCED, Part, Scheduler
from apps.inference.engine.sequence import Job, Sequence, fits
from apps.inference.engine.slots import Slot, Slots
from apps.inference.engine.vision import BLIND
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
    """`logprobs` are those of the tokens that the text is made of, where they were asked for; the text may be empty."""

    run: str
    text: str
    logprobs: tuple[Logprob, ...] = ()


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
    stop: str = ""  # the stop string that ended it


Event = Started | Text | Ended
Said = tuple[str, tuple[Logprob, ...]]
Deliver = Callable[[list[Event]], None]


class Engine:
    def __init__(
        self,
        backend: Backend,
        *,
        step_tokens: int,
        deliver: Deliver,
        eyes: Eyes | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._eyes = eyes
        self._deliver_to = deliver
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._slots = Slots(backend)
        self._scheduler = Scheduler(
            step_tokens=step_tokens,
            batch=backend.batch,
            reach=backend.reach,
            outputs=backend.outputs,
            drafts=backend.drafts,
        )
        self._compiler = Compiler(backend.tokenizer)
        self._preparing: dict[str, Sequence] = {}  # runs that wait for their images or their grammar
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
        self._look()
        self._deliver()

    def _take_commands(self) -> None:
        while not self._commands.empty():
            self._commands.get()()

    def _halt(self) -> None:
        self._stopping = True

    def _join(self, job: Job) -> None:
        sequence = Sequence(job, context=self._backend.context)
        if job.images:
            return self._see(sequence)
        if not sequence.prompt_tokens:
            return self._end(sequence, "error", Problem("invalid", "the prompt has no tokens"))
        if not fits(sequence.prompt_tokens, context=sequence.context):
            return self._end(sequence, "error", Problem("invalid", TOO_LONG))
        if job.grammar:
            return self._compile(sequence, job.grammar)
        self._scheduler.waiting.append(sequence)

    def _see(self, sequence: Sequence) -> None:
        job = sequence.job
        if self._eyes is None:
            return self._end(sequence, "error", Problem("invalid", BLIND))
        self._preparing[job.run] = sequence
        self._eyes.order(
            Order(
                job.tokens,
                job.images,
                share_key=job.share_key,
                context=sequence.context,
                wanted=lambda: self._preparing.get(job.run) is sequence,
                done=lambda result: self._commands.put(lambda: self._seen(sequence, result)),
            )
        )

    def _seen(self, sequence: Sequence, result: Seen | Problem) -> None:
        """The run begins anew with its images in its tokens, or is refused. It may have left in the meantime."""
        run = sequence.job.run
        if self._preparing.get(run) is not sequence:
            return
        if isinstance(result, Problem):
            return self._end(sequence, "error", result)
        del self._preparing[run]
        tokens, pictures = result
        self._join(replace(sequence.job, tokens=tokens, images=(), pictures=pictures))

    def _compile(self, sequence: Sequence, grammar: Grammar) -> None:
        run = sequence.job.run
        self._preparing[run] = sequence
        self._compiler.order(grammar, lambda result: self._commands.put(lambda: self._compiled(run, result)))

    def _compiled(self, run: str, result: Constraint | Problem) -> None:
        """The run joins now, or is refused before it took a slot. It may have left in the meantime."""
        sequence = self._preparing.get(run)
        if sequence is None:
            return
        if isinstance(result, Problem):
            return self._end(sequence, "error", result)
        del self._preparing[run]
        sequence.constraint = result
        self._scheduler.waiting.append(sequence)

    def _leave(self, run: str, problem: Problem | None) -> None:
        if sequence := self._preparing.get(run) or self._scheduler.find(run):
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
        recent = sequence.recent(chain.penalties.last_n) if chain.penalties else ()
        sequence.sampler = self._backend.sampler(chain, recent)
        for text in sequence.job.markers:
            if (token := self._backend.marker(text)) is not None:
                sequence.markers[token] = text.encode()
        self._events.append(Started(sequence.job.run))

    def _make_space(self) -> None:
        """A sequence whose context is full forgets its oldest half, or ends, as one with pictures does."""
        for slot in list(self._scheduler.running):
            sequence = slot.owner
            if sequence is None or slot.length < sequence.context:
                continue
            if sequence.job.limits.shift and self._backend.can_shift and not sequence.job.pictures:
                self._slots.shift(slot)
            else:
                self._end(sequence, "length")

    def _decode(self, plan: Ordered[Part]) -> bool:
        began = self._clock()
        try:
            self._backend.decode([part.chunk() for part in plan])
        except NoRoom:
            self._relieve()
            return False
        except DecodeFailed as error:
            self._abandon(plan, error)
            return False
        self._failures = 0
        self._scheduler.took(plan, self._clock() - began)
        return True

    def _look(self) -> None:
        """Compute a picture, or a part of it."""
        if (part := self._scheduler.look()) and self._decode([part]):
            self._sample([part])

    def _sample(self, plan: Ordered[Part]) -> None:
        row = 0
        for part in plan:
            rows = part.rows
            part.slot.grow(part.length)
            if rows:
                self._advance(part, row)
            row += rows

    def _advance(self, part: Part, row: int) -> None:
        sequence = part.sequence
        if sequence.limit == 0:
            return self._end(sequence, "length")
        problem = None
        try:
            self._say_all(part, row)
        except DecodeFailed as error:
            problem = Problem("internal", str(error))
        except Broken as error:
            problem = Problem("invalid", str(error))
        if len(part.draft):
            self._slots.drop_behind(part.slot)
        if problem:
            self._end(sequence, "error", problem)
        elif sequence.reason:
            self._end(sequence, sequence.reason)

    def _say_all(self, part: Part, row: int) -> None:
        """Sample a token, and go on for as long as the step has computed what was said."""
        sequence, slot, draft = part.sequence, part.slot, part.draft
        right, start = 0, slot.length
        while True:
            said, logprobs = (self._say if sequence.plain else self._say_bound)(sequence, row + right)
            if said or logprobs:
                self._events.append(Text(sequence.job.run, said, logprobs))
            before = right
            while right < len(draft) and slot.length < sequence.count and draft[right] == sequence.tokens[slot.length]:
                slot.grow(1)
                right += 1
            if sequence.reason or right == before or slot.length < sequence.count:
                return sequence.drafter.learn(sequence.tokens[start : sequence.count])

    def _say(self, sequence: Sequence, row: int) -> Said:
        token = self._backend.sample(sequence.sampler, row)
        return sequence.take(token, self._backend.piece(token), ends=self._backend.ends(token)), ()

    def _say_bound(self, sequence: Sequence, row: int) -> Said:
        """As `_say`, with a grammar, logprobs or markers; and what the grammar then leaves no choice about."""
        backend, constraint = self._backend, sequence.constraint
        token = backend.sample(sequence.sampler, row, constraint.mask() if constraint else None)
        if constraint and backend.ends(token):
            token = constraint.instead_of_end(token)
        piece = backend.piece(token) or sequence.markers.get(token, b"")
        ends = backend.ends(token)
        if sequence.ledger is not None and not ends:
            sequence.ledger.note(backend.logprob(row, token, top=sequence.job.logprobs or 0), piece)
        text = sequence.take(token, piece, ends=ends)
        if constraint and not ends:
            constraint.take(token, piece)
            text += self._follow(sequence, constraint)
        return text, sequence.release(text)

    def _follow(self, sequence: Sequence, constraint: Constraint) -> str:
        """Take the tokens that leave no choice: they are computed together in the next step. Those whose logprobs are
        wanted wait to be weighed one by one. A reply that is whole is over without asking the model."""
        text = ""
        for _ in range(0 if sequence.ledger is not None else FORCED):
            forced = constraint.forced() if not constraint.closed else []
            if sequence.reason or sequence.room < 1 or not forced:
                break
            text += self._take_forced(sequence, constraint, forced[0])
        if constraint.closed and sequence.reason in (None, "length"):
            sequence.reason = "stop"
        return text

    def _take_forced(self, sequence: Sequence, constraint: Constraint, token: int) -> str:
        piece = self._backend.piece(token) or sequence.markers.get(token, b"")
        self._backend.accept(sequence.sampler, token)
        constraint.take(token, piece)
        return sequence.take(token, piece, ends=False)

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
        for sequence in [*self._preparing.values(), *self._scheduler.sequences()]:
            self._end(sequence, "error", problem)
        self._deliver()

    def _end(self, sequence: Sequence, reason: EndReason, problem: Problem | None = None) -> None:
        self._preparing.pop(sequence.job.run, None)
        slot = self._scheduler.remove(sequence)
        if slot:
            self._slots.release(slot)
        if sequence.sampler is not None:
            self._backend.free(sequence.sampler)
        rest, logprobs = sequence.close()
        if rest or logprobs:
            self._events.append(Text(sequence.job.run, rest, logprobs))
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
        stop=sequence.text.stop,
    )
