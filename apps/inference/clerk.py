"""The thread that writes down what happened, in order, until it is written.

Runners report ends at any time, also while Postgres or Valkey is away. What they report waits here, so that no
thread that reads a runner's pipe ever waits for a database.
"""

import queue
import threading
import time
from collections.abc import Callable

import redis
import structlog
from django.db import InterfaceError, OperationalError, connection

log = structlog.get_logger(__name__)
AWAY = (
    OperationalError,
    InterfaceError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.OutOfMemoryError,
)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between tries while a database is away

Work = Callable[[], object]


class Clerk:
    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name=name, daemon=True)
        self._thread.start()

    def later(self, work: Work) -> None:
        """Has `work` done once everything before it is written. It must be safe to repeat."""
        self._inbox.put(work)

    def close(self, *, timeout: float) -> None:
        """Writes what is left, for as long as `timeout` seconds."""
        self._inbox.put(None)
        self._thread.join(timeout)

    def _write(self) -> None:
        while (work := self._inbox.get()) is not None:
            try:
                persist(work)
            except Exception:  # a bug must not end the thread that everybody's answers wait for
                log.exception("clerk_failed")


def persist(work: Work) -> None:
    """Does `work`, again and again while a database is away. What else it raises goes to the caller."""
    pause = FIRST_PAUSE
    while True:
        try:
            work()
            return
        except AWAY as error:
            log.warning("database_away", error=str(error).strip())
        finally:
            connection.close()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
