"""Frames to the event logs, from a thread of its own, so that no write ever holds up a step.

All runs' frames of a step go in one round trip, few of each run; runs without a frame are asked after now and then
whether somebody cancelled them. While the server is away frames wait here and the engine goes on.

The one exception are the first words of a run while no other speaks: the next step would keep every processor to
itself for some milliseconds, so it begins when those words are written and whoever reads them has had a moment to pass
them on.

Steps that are quicker than an eye are written several at a time (see Pace): a write, and all that it wakes, costs the
same for one token as for five. The first words of a run and its end are never held back.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from apps.errors import Problem
from apps.inference.engine.engine import Ended, Event, Started, Text
from apps.inference.parsing import Parser
from apps.inference.runner import protocol
from apps.inference.runner.embedding import Vectors
from apps.inference.runner.frames import Frames, Pair
from apps.streams.log import EventLog, FencedError

POLL_SECONDS = 0.25  # every look takes a core from the prefill for a moment
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
HOLD_CHARACTERS = 1 << 20  # of one run, while the server is away
WRITE_SECONDS = 0.005  # what the first words of a run may hold up the next step, and then
PASS_ON_SECONDS = 0.002  # for the web process to send them to the caller
PACE_SECONDS = 0.04  # text waits no longer than this for more of it

Cancel = Callable[[str, Problem | None], None]


@dataclass(frozen=True)
class Step:
    """What a step brought; `urgent` if a run begins or ends to speak with it. `written` is set once it was tried to
    write that."""

    events: Sequence[Event | Vectors]
    urgent: bool = False
    written: threading.Event | None = None


News = protocol.Order | Step | None


@dataclass
class Pace:
    """When to write what steps brought: `due`, in seconds of the monotonic clock, is 0 for at once.

    Where the next step is expected, by the time the last one took, less than PACE_SECONDS after the last write, they go
    together.
    """

    due: float = 0.0
    _urgent: bool = False
    _stepped: float = 0.0
    _written: float = 0.0

    def step(self, now: float, *, urgent: bool) -> None:
        self._urgent = self._urgent or urgent
        latest, expected = self._written + PACE_SECONDS, 2 * now - self._stepped
        self._stepped = now
        self.due = latest if expected < latest and not self._urgent else 0.0

    def write(self, now: float) -> bool:
        """Whether it is time. Then it is taken for done."""
        if now < self.due:
            return False
        self.due, self._urgent, self._written = 0.0, False, now
        return True


@dataclass
class Line:
    """One run on its way out. `sent` are frames that may have arrived although nobody said so: they must be repeated as
    they were, and new text goes behind them."""

    order: protocol.Order
    fresh: Frames
    sent: list[Pair] = field(default_factory=list)
    sent_size: int = 0
    end: Ended | None = None
    closed: bool = False  # the log takes no more of us
    asked: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, order: protocol.Order) -> "Line":
        return cls(order, Frames(Parser(order.reply) if order.reply else None))

    @property
    def waiting(self) -> bool:
        return bool(self.sent or self.fresh)

    @property
    def held(self) -> int:
        return self.sent_size + self.fresh.size

    def entries(self) -> list[Pair]:
        """All that waits. From here on it may have arrived."""
        if self.fresh:
            self.sent_size += self.fresh.size
            self.sent += self.fresh.take()
        return self.sent

    def delivered(self) -> None:
        self.sent, self.sent_size = [], 0

    def finish(self, end: Ended) -> None:
        self.end = end
        if not self.closed:
            self.fresh.close()

    def close(self) -> None:
        self.closed = True
        self.fresh.take()
        self.delivered()


class Writer:
    def __init__(self, log: EventLog, *, events: protocol.Events, cancel: Cancel) -> None:
        self._log, self._events, self._cancel = log, events, cancel
        self._inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._lines: dict[str, Line] = {}
        self._speaking: set[str] = set()  # runs that have said something; of the thread that puts
        self._unwritten: list[threading.Event] = []
        self._pace = Pace()
        self._failures = 0
        self._retry_at = 0.0
        self._closing = False

    def open(self, order: protocol.Order) -> None:
        """Make a run known; before the engine learns of it. Any thread."""
        self._inbox.put(order)

    def put(self, events: Sequence[Event | Vectors]) -> None:
        """What a step brought. From the decoding thread, which waits for the first words of a run and nothing else."""
        begun = {event.run for event in events if isinstance(event, Text)} - self._speaking
        ended = {event.run for event in events if isinstance(event, Ended)}
        others = bool(self._speaking)  # would be held up
        self._speaking = (self._speaking | begun) - ended
        if others or not begun:
            return self._inbox.put(Step(events, urgent=bool(begun or ended)))
        written = threading.Event()
        self._inbox.put(Step(events, urgent=True, written=written))
        if written.wait(WRITE_SECONDS):
            time.sleep(PASS_ON_SECONDS)

    def close(self) -> None:
        """Return from `run` as soon as everything is delivered."""
        self._inbox.put(None)

    def run(self) -> None:
        while not (self._closing and not self._lines):
            self._collect()
            self._flush()
            while self._unwritten:
                self._unwritten.pop().set()
            self._settle()

    def _collect(self) -> None:
        """Wait for news, no longer than to the next poll or retry, and take all there is."""
        try:
            self._take(self._inbox.get(timeout=self._patience()))
        except queue.Empty:
            return
        while not self._inbox.empty():
            self._take(self._inbox.get())

    def _patience(self) -> float | None:
        if not self._lines:
            return None
        until = self._retry_at if self._failures else self._pace.due
        return max(0.001, until - time.monotonic()) if until else POLL_SECONDS

    def _take(self, news: News) -> None:
        if news is None:
            self._closing = True
        elif isinstance(news, protocol.Order):
            self._lines[news.job.run] = Line.of(news)
        else:
            for event in news.events:
                self._note(event)
            if news.written:
                self._unwritten.append(news.written)
            self._pace.step(time.monotonic(), urgent=news.urgent)

    def _note(self, event: Event | Vectors) -> None:
        line = self._lines[event.run]
        if isinstance(event, Started):
            self._events.send({"event": "started", "run": event.run, "fence": line.order.fence})
        elif isinstance(event, Ended):
            line.finish(event)
        elif line.closed:
            return
        elif isinstance(event, Vectors):
            line.fresh.show(event.vectors)
        else:
            line.fresh.hear(event)

    def _flush(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return self._bound()
        ready = self._pace.write(now)
        lines = [line for line in self._lines.values() if not line.closed]
        due = [line for line in lines if (ready and line.waiting) or self._poll_due(line, now)]
        if not due:
            return
        try:
            answers = self._log.append_many([(line.order.log_id, line.order.fence, line.entries()) for line in due])
        except redis.RedisError:
            return self._back_off()
        self._failures, self._retry_at = 0, 0.0
        for line, answer in zip(due, answers, strict=True):
            self._confirm(line, answer, now)

    def _poll_due(self, line: Line, now: float) -> bool:
        return line.end is None and now - line.asked >= POLL_SECONDS

    def _confirm(self, line: Line, answer: bool | FencedError, now: float) -> None:
        line.delivered()
        line.asked = now
        if isinstance(answer, FencedError):
            line.close()
            self._cancel(line.order.job.run, Problem("conflict", "the run's stream was taken over or is gone"))
        elif answer:
            self._cancel(line.order.job.run, None)

    def _back_off(self) -> None:
        delay = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        self._retry_at = time.monotonic() + delay
        self._bound()

    def _bound(self) -> None:
        """A run whose text nobody takes ends before it fills the memory."""
        for line in self._lines.values():
            if not line.closed and line.held > HOLD_CHARACTERS:
                line.close()
                problem = Problem("unavailable", "the run's stream could not be written for too long")
                self._cancel(line.order.job.run, problem)

    def _settle(self) -> None:
        """Tell the worker of each run that is over and wholly delivered."""
        for run, line in list(self._lines.items()):
            if line.end and not line.waiting:
                del self._lines[run]
                self._events.send(protocol.ended(line.order, line.end))
