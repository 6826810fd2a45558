"""A job in the hands of its worker: it says how far it is, and learns that it shall stop."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, TypeVar

import redis
import structlog
from django.db import InterfaceError, OperationalError, close_old_connections

from apps.errors import Problem
from apps.streams import log
from apps.streams.models import Job

PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.25
ASK_SECONDS: Final = 0.5
AWAY: Final = (
    OperationalError,
    InterfaceError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)

logger = structlog.get_logger(__name__)
Result = TypeVar("Result")


class Cancelled(Problem):
    """Somebody asked for it, or the job was taken from this worker."""

    def __init__(self) -> None:
        super().__init__("cancelled", "the job was cancelled")


def insist(action: Callable[[], Result], *, seconds: float | None = None) -> Result:
    """Repeats `action` while a server it needs is away, for PATIENCE_SECONDS at most; then its error is raised."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    while True:
        try:
            return action()
        except AWAY as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("server_away", error=repr(error))
        close_old_connections()
        time.sleep(PAUSE_SECONDS)


class Running:
    """What a handler works with. May be used from several threads of the handler."""

    def __init__(self, job: Job) -> None:
        self.id: uuid.UUID = job.id
        self.log_id: str = job.log_id
        self.user_id: int | None = job.user_id
        self.params: dict[str, Any] = job.params
        self.attempt: int = job.attempt
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._asked_at = time.monotonic()

    def progress(self, status: str, **fields: Any) -> None:
        """Tells all readers. Waits while the event log is away; raises Cancelled if the job is no longer ours."""
        entry = ("progress", {"status": status, **fields})
        try:
            with self._lock:
                cancelled = insist(lambda: log.default().append(self.log_id, self.attempt, [entry]))
        except log.Gone:
            raise Problem("unavailable", "the event store has lost what this job had written") from None
        except log.Fenced:
            self.stop()
            raise Cancelled from None
        if cancelled:
            self.stop()

    def check_cancelled(self) -> None:
        """To be called often: raises Cancelled within ASK_SECONDS of a cancel. Cheap in between."""
        now = time.monotonic()
        if not self._stop.is_set() and now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self._ask()
        if self._stop.is_set():
            raise Cancelled

    def stop(self) -> None:
        """The next check_cancelled raises."""
        self._stop.set()

    def _ask(self) -> None:
        try:
            if log.default().cancelled(self.log_id):
                self.stop()
        except AWAY as error:
            logger.warning("server_away", error=repr(error))  # the lease's thread sees the row's flag meanwhile
