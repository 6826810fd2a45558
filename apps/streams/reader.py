"""One reader an event loop: a single blocking XREAD over every log that somebody in this loop is tailing.

A subscriber that does not keep up is left out of the XREAD until it has taken what it was given; then it is read for
again from its own offset. So nothing is lost and no queue grows past its bound. A change of the set of logs wakes the
blocked XREAD with CLIENT UNBLOCK from a second connection.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import redis
import structlog
from django.conf import settings

from apps.errors import Problem
from apps.streams.link import Command, Link
from apps.streams.log import Entry, decode, meta_key, stream_key

READ_COUNT: Final = 128  # entries of one log in one answer
QUEUE_ENTRIES: Final = 256
QUEUE_BYTES: Final = 1024 * 1024
BLOCK_SECONDS: Final = 2.0
CHECK_SECONDS: Final = 2.0  # how long an idle log may be gone unnoticed
ANSWER_SECONDS: Final = 3.0
LINGER_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 1.0
OFFSET: Final = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?")

logger = structlog.get_logger(__name__)

Position = tuple[int, int]


def position(offset: str) -> Position:
    """An offset as something that compares. Raises Problem for what is no offset."""
    match = OFFSET.fullmatch(offset)
    parts = (int(match[1]), int(match[2] or 0)) if match else (2**64, 0)
    if max(parts) >= 2**64:
        raise Problem("invalid", "an offset looks like 1700000000000-0")
    return parts


class Subscription:
    """What one subscriber has not taken yet of one log, at most QUEUE_ENTRIES or QUEUE_BYTES and one entry."""

    def __init__(self, reader: "Reader", log_id: str, after: str) -> None:
        self.log_id = log_id
        self.position = position(after)
        self.finished = False
        self._reader = reader
        self._ready: list[Entry] = []
        self._bytes = 0
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return len(self._ready) >= QUEUE_ENTRIES or self._bytes >= QUEUE_BYTES

    @property
    def reading(self) -> bool:
        return not self.finished and not self.full

    def offer(self, entry: Entry, at: Position, size: int) -> None:
        if at <= self.position or not self.reading:
            return
        self.position = at
        self._ready.append(entry)
        self._bytes += size
        self.finished = entry.terminal
        self._notify()

    def finish(self, failure: Exception | None = None) -> None:
        """Nothing more comes: the log had ended before, or `failure`."""
        self.finished, self._failure = True, failure
        self._notify()

    async def take(self) -> list[Entry]:
        """All entries that are there, at least one; none when the log had ended. Raises what `finish` was given."""
        while not self._ready and not self.finished:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._ready and self._failure is not None:
            raise self._failure
        was_full = self.full
        entries, self._ready, self._bytes = self._ready, [], 0
        if was_full:
            self._reader.wake()
        return entries

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Reader:
    """Made by `of_this_loop`. Ends by itself when nobody has subscribed for a while, or with its loop."""

    def __init__(self, url: str) -> None:
        self._logs: dict[str, list[Subscription]] = {}
        self._seen: dict[str, float] = {}  # when a log was last known to be there
        self._ended: set[str] = set()  # logs that had ended when somebody subscribed
        self._changed = asyncio.Event()
        self._blocked = False  # an XREAD is on its way or waiting
        self._stale = False  # ... and no longer asks for the right logs
        self._reading, self._waking = Link(url), Link(url)
        self._unblocking: asyncio.Task[None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def subscribe(self, log_id: str, after: str) -> Subscription:
        subscription = Subscription(self, log_id, after)
        self._logs.setdefault(log_id, []).append(subscription)
        self._seen.pop(log_id, None)
        self.wake()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Costs no wake: the log leaves the XREAD when the next one is made."""
        others = self._logs[subscription.log_id]
        others.remove(subscription)
        if not others:
            del self._logs[subscription.log_id]
            self._seen.pop(subscription.log_id, None)
            self._ended.discard(subscription.log_id)
        if not self._logs:
            self._changed.set()

    def wake(self) -> None:
        """The set of logs to read has changed."""
        self._changed.set()
        if self._blocked:
            self._stale = True
            if self._unblocking is None or self._unblocking.done():
                self._unblocking = asyncio.get_running_loop().create_task(self._unblock())

    async def _run(self) -> None:
        failure: Exception = Problem("unavailable", "the server is shutting down")
        try:
            await self._read_until_unwanted()
        except Exception as error:
            failure = error
            raise
        finally:
            _readers.pop(asyncio.get_running_loop(), None)
            for subscription in [each for group in self._logs.values() for each in group]:
                subscription.finish(failure)
            await self._close()

    async def _read_until_unwanted(self) -> None:
        pause = 0.0
        while await self._wanted():
            try:
                await self._round()
                pause = 0.0
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                if not pause:
                    logger.warning("event_store_away", error=repr(error))
                pause = min(LONGEST_PAUSE, max(0.05, pause * 2))
                await self._reading.drop()
                await asyncio.sleep(pause)

    async def _close(self) -> None:
        if self._unblocking is not None:
            self._unblocking.cancel()
            await asyncio.gather(self._unblocking, return_exceptions=True)
        await self._reading.drop()
        await self._waking.drop()

    async def _wanted(self) -> bool:
        """Waits until there is a log to read. False if nobody came for LINGER_SECONDS."""
        while not any(each.reading for group in self._logs.values() for each in group):
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if self._logs else LINGER_SECONDS)
            if not self._logs and not self._changed.is_set():
                return False
        return True

    def _plan(self) -> dict[str, Position]:
        """Which logs to read, and behind which offset."""
        wanted = {log_id: [each.position for each in group if each.reading] for log_id, group in self._logs.items()}
        return {log_id: min(positions) for log_id, positions in wanted.items() if positions}

    async def _round(self) -> None:
        """One write, one or more answers: first whether doubtful logs are there, then what is new."""
        plan = self._plan()
        now = time.monotonic()
        doubtful = [log_id for log_id in plan if now - self._seen.get(log_id, -CHECK_SECONDS) >= CHECK_SECONDS]
        if doubtful:
            await self._check(doubtful, now)
            plan = self._plan()
        if plan:
            self._deliver(plan, await self._read(plan))

    async def _check(self, doubtful: Sequence[str], now: float) -> None:
        await self._reading.send([("HMGET", meta_key(log_id), "fence", "ended") for log_id in doubtful])
        for log_id in doubtful:
            fence, ended = await self._reading.read(timeout=ANSWER_SECONDS)
            if fence is None:
                self._finish(log_id, Problem("not_found", "this stream is gone or never was"))
            elif log_id in self._logs:
                self._seen[log_id] = now
                self._ended.add(log_id) if ended else None

    async def _read(self, plan: dict[str, Position]) -> list[Any]:
        block: Command = () if self._ended & plan.keys() else ("BLOCK", int(BLOCK_SECONDS * 1000))
        offsets = [f"{first}-{second}" for first, second in plan.values()]
        self._blocked, self._stale = True, False
        try:
            await self._reading.send(
                [("XREAD", "COUNT", READ_COUNT, *block, "STREAMS", *map(stream_key, plan), *offsets)]
            )
            return await self._reading.read(timeout=BLOCK_SECONDS + ANSWER_SECONDS) or []
        finally:
            self._blocked = False

    def _deliver(self, plan: dict[str, Position], answer: list[Any]) -> None:
        now = time.monotonic()
        found = {key[5:-1].decode(): items for key, items in answer}
        for log_id, items in found.items():
            if log_id in self._logs:
                self._seen[log_id] = now
                self._offer(self._logs[log_id], items)
        for log_id in self._ended & plan.keys() - found.keys():
            self._finish(log_id, None)

    def _offer(self, group: list[Subscription], items: list[Any]) -> None:
        for offset, fields in items:
            entry = decode(offset, fields)
            at = position(entry.offset)
            for subscription in group:
                subscription.offer(entry, at, len(fields[3]))

    def _finish(self, log_id: str, failure: Exception | None) -> None:
        for subscription in self._logs.get(log_id, ()):
            if not subscription.finished:
                subscription.finish(failure)

    async def _unblock(self) -> None:
        """Ends the XREAD that waits for the wrong logs. One that was sent but has not arrived yet is asked again."""
        try:
            while self._stale and self._blocked:
                await self._waking.call("CLIENT", "UNBLOCK", self._reading.client_id)
                await asyncio.sleep(0.001)
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            logger.warning("event_store_away", error=repr(error))  # the XREAD ends by itself, a little later
            await self._waking.drop()


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, Reader] = WeakKeyDictionary()


def of_this_loop() -> Reader:
    loop = asyncio.get_running_loop()
    if loop not in _readers:
        _readers[loop] = Reader(settings.REDIS_URL)
    return _readers[loop]
