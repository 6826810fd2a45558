"""What a synchronous view returns when its answer comes from a log: a promise, kept by settle.Settle."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import structlog
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpResponse

from apps.errors import Problem
from apps.streams.log import Entry
from apps.streams.tail import batches

logger = structlog.get_logger(__name__)


class Renderer(Protocol):
    """How one dialect writes a log. Called in the event loop: pure and quick."""

    @property
    def content_type(self) -> str:
        """Of the streaming form."""

    def lines(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of one entry of a stream, maybe none. An error after the first line comes here too."""

    def whole(self, entries: Sequence[Entry]) -> HttpResponse:
        """The answer in one piece. The last entry is the log's "end"."""

    def failure(self, problem: Problem) -> HttpResponse:
        """The answer to an error that came before the first line."""


class PendingStream(HttpResponse):
    """The log `log_id` in the words of `renderer`; headers and cookies set on it are those of the final answer.

    `on_abandon` is called once, in a thread, when the client leaves before the terminal entry.
    """

    def __init__(
        self,
        log_id: str,
        renderer: Renderer,
        *,
        streaming: bool,
        on_abandon: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            b"apps.streams.settle.Settle is missing from MIDDLEWARE", status=500, content_type="text/plain"
        )
        self.log_id = log_id
        self.renderer = renderer
        self.as_stream = streaming
        producer = _expected.get()
        if producer is not None:
            producer.adopt(log_id, on_abandon)

    def follow(self) -> AsyncGenerator[list[Entry], None]:
        """The entries up to the terminal one, those that are ready together in one list."""
        return batches(self.log_id)


class Producer:
    """Whoever writes the log a request waits for: told at most once that nobody listens, and not after the end.

    It is there before the view begins, as a client may leave while the view's thread is still at work: nobody takes
    that thread's answer any more, but the promise it makes is noted here.
    """

    def __init__(self) -> None:
        self._log_id = ""
        self._call: Callable[[], None] | None = None
        self._deserted = False
        self.release: Callable[[], None] | None = None  # lets go of the log, in the loop
        self._lock = threading.Lock()

    @contextmanager
    def expected(self) -> Iterator[None]:
        """A PendingStream made inside belongs to this producer."""
        token = _expected.set(self)
        try:
            yield
        finally:
            _expected.reset(token)

    def watch_this_task(self) -> None:
        """Outer middlewares may be waiting when the client leaves: all that shows then is the cancelled task."""
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(self._task_done)

    def adopt(self, log_id: str, call: Callable[[], None] | None) -> None:
        with self._lock:
            self._log_id, self._call = log_id, call
        if self._deserted:
            self.abandon()

    def finished(self) -> None:
        with self._lock:
            self._call = None

    def abandon(self) -> None:
        """To be called in a thread. Harmless when the log has ended."""
        with self._lock:
            call, self._call, self._deserted = self._call, None, True
        if call is None:
            return
        logger.info("stream_abandoned", log=self._log_id)
        try:
            call()
        except Exception:
            logger.exception("abandon_failed", log=self._log_id)
        finally:
            close_old_connections()

    async def abandon_soon(self) -> None:
        """`abandon` in this request's thread (behind the view, if that still runs), even if we are cancelled again."""
        if self._call is not None or _busy():
            await asyncio.shield(keep(sync_to_async(self.abandon)()))

    def _task_done(self, task: "asyncio.Task[object]") -> None:
        if not task.cancelled():
            return
        if self._call is not None:
            keep(sync_to_async(self.abandon)())
        if self.release is not None:
            self.release()


_expected: ContextVar[Producer | None] = ContextVar("expected_producer", default=None)
_kept: set["asyncio.Future[None]"] = set()


def _busy() -> bool:
    """Whether our task is being cancelled: then the view may be at work, unseen."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def keep(work: Awaitable[None]) -> "asyncio.Future[None]":
    """Starts work that outlives the task that asked for it."""
    future = asyncio.ensure_future(work)
    _kept.add(future)
    future.add_done_callback(_kept.discard)
    return future
