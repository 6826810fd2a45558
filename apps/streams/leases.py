"""Leases of the jobs this process works on, renewed by one thread that lives while there are any."""

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import redis
import structlog
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from apps.streams import log
from apps.streams.models import Job
from apps.streams.running import Running

LEASE_SECONDS: Final = 10
RENEW_SECONDS: Final = 3.0
LOG_SECONDS: Final = 3600  # a job's log outlives the last renewal by this

WORKER: Final = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

logger = structlog.get_logger(__name__)


def until(now: datetime) -> datetime:
    return now + timedelta(seconds=LEASE_SECONDS)


@contextmanager
def held(running: Running) -> Iterator[None]:
    """Keeps the lease of a job that this process has just taken."""
    _keeper.add(running)
    try:
        yield
    finally:
        _keeper.remove(running)


class Keeper:
    def __init__(self) -> None:
        self._held: dict[uuid.UUID, Running] = {}
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, running: Running) -> None:
        with self._lock:
            self._held[running.id] = running
            if self._thread is None:
                self._left.clear()
                self._thread = threading.Thread(target=self._run, name="job-leases", daemon=True)
                self._thread.start()

    def remove(self, running: Running) -> None:
        with self._lock:
            self._held.pop(running.id, None)
            if not self._held:
                self._left.set()

    def _run(self) -> None:
        while True:
            self._left.wait(RENEW_SECONDS)
            with self._lock:
                self._left.clear()
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            self._renew(held)

    def _renew(self, held: list[Running]) -> None:
        """Row first: it decides. What is no longer ours, or was cancelled, is told to stop."""
        try:
            asked = self._renew_rows()
            for running in held:
                if asked.get(running.id, True):
                    running.stop()
            for running in held:
                log.default().renew(running.log_id, LOG_SECONDS)
        except (DatabaseError, InterfaceError, redis.exceptions.RedisError) as error:
            logger.warning("lease_not_renewed", error=repr(error))
        finally:
            connections.close_all()

    def _renew_rows(self) -> dict[uuid.UUID, bool]:
        ours = Job.objects.held_by(WORKER)
        ours.update(lease_until=until(timezone.now()))
        return dict(ours.values_list("id", "cancel_asked"))


_keeper = Keeper()
