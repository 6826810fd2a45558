"""The event log: an append-only Valkey stream with one owner at a time and one end.

    log:{ID}          the stream; fields k (kind) and d (compact JSON)
    log:{ID}:meta     hash: fence, ended, owner (user id), keep (seconds the log lives after its end)
    log:{ID}:cancel   there while somebody asks the producer to stop

The braces keep the three keys on one node of a cluster. All writes go through the scripts below, which touch no other
key, so a login limited to `~log:{ID}*` can use them (`+eval +evalsha +xadd +xlen +hmget +hset +pexpire +exists`).

While the server is away every method raises redis' ConnectionError or TimeoutError and the caller repeats the same
call (more entries may follow the old ones). That is safe: entries that had arrived although their answer got lost are
not written twice, as the writer remembers how long the log was and what it sent since.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.errors import Problem
from apps.streams.packing import pack
from apps.streams.scripts import APPEND, CANCEL, CLAIM, CREATE, RENEW, Script

TERMINAL: Final = frozenset({"end", "error"})
START: Final = "0-0"
TIMEOUT_SECONDS: Final = 2.0
REMEMBERED_LOGS: Final = 4096
HOLE: Final = Problem("internal", "the event store has lost a part of this stream")

Pair = tuple[str, dict[str, Any]]
Batch = tuple[str, int, Sequence[Pair]]


class FencedError(Exception):
    """This writer may write no more to this log."""


class Fenced(FencedError):
    """Another owner has taken the log, or it has ended."""


class Gone(FencedError):
    """There is no such log: it expired, or the server lost it."""


class Lost(Gone):
    """The server no longer has entries that it had confirmed. The log cannot be continued without a hole."""


@dataclass(frozen=True)
class Entry:
    """One entry as readers see it. `offset` is where to resume: pass it as `after`."""

    offset: str
    kind: str
    data: dict[str, Any]

    @property
    def terminal(self) -> bool:
        return self.kind in TERMINAL


FAILURES: Final[dict[int, type[FencedError]]] = {-1: Fenced, -2: Gone, -3: Lost}


@dataclass(frozen=True)
class Call:
    """One run of APPEND: `flat` is kind and data of each entry, in turn."""

    log_id: str
    fence: int
    flat: list[str]
    last: bool = False


_as_json = json.JSONEncoder(separators=(",", ":")).encode


def stream_key(log_id: str) -> str:
    return f"log:{{{log_id}}}"


def meta_key(log_id: str) -> str:
    return f"log:{{{log_id}}}:meta"


def _keys(log_id: str) -> tuple[str, str, str]:
    return stream_key(log_id), meta_key(log_id), f"log:{{{log_id}}}:cancel"


def decode(offset: bytes, fields: Sequence[bytes]) -> Entry:
    """An entry as the server sends it: `fields` is b"k", the kind, b"d", the JSON."""
    return Entry(offset.decode(), fields[1].decode(), json.loads(fields[3]))


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error


def _flat(entries: Iterable[Pair]) -> list[str]:
    return [part for kind, data in entries for part in (kind, _as_json(data))]


class EventLog:
    """Writes and reads logs, synchronously and from any thread. A log has one writer at a time."""

    def __init__(self, client: redis.Redis, *, keep_seconds: int) -> None:
        self._client = client
        self._keep_seconds = keep_seconds
        self._lengths: dict[str, int] = {}  # of logs this process writes to: entries the server confirmed
        self._unsure: dict[str, list[str]] = {}  # what was sent since, without an answer
        self._claiming: set[tuple[str, int]] = set()

    def create(self, log_id: str, *, owner: int | None, ttl: int) -> None:
        """A new, empty log of user `owner` under fence 0. It vanishes after `ttl` seconds if nobody ends it."""
        self._run(CREATE, log_id, ttl, self._keep_seconds, "" if owner is None else owner)

    @contextmanager
    def creating(self, log_id: str, *, owner: int, ttl: int) -> Iterator[None]:
        """`create`, whose answer is waited for behind the block: a round trip's time is used for something else."""
        call = (*_keys(log_id), str(ttl), str(self._keep_seconds), str(owner))
        with self._connection() as connection:
            connection.send_packed_command([pack(("EVALSHA", CREATE.sha, "3", *call))], check_health=False)
            yield
            answer = _answer(connection)
        if isinstance(answer, redis.exceptions.NoScriptError):
            self.create(log_id, owner=owner, ttl=ttl)
        elif isinstance(answer, Exception):
            raise answer

    def claim(self, log_id: str, fence: int) -> bool:
        """Takes the log over. False if its fence is not smaller than `fence`, or if it has ended or is not there."""
        again = (log_id, fence) in self._claiming
        self._claiming.add((log_id, fence))  # stays there only if no answer comes
        length = self._run(CLAIM, log_id, fence, int(again))
        self._claiming.discard((log_id, fence))
        if length < 0:
            return False
        self._forget(log_id)
        self._lengths[log_id] = length
        return True

    def append(self, log_id: str, fence: int, entries: Sequence[Pair]) -> bool:
        """Writes entries and tells whether a cancel is asked for. Raises Fenced, Gone or Lost."""
        answer = self.append_many([(log_id, fence, entries)])[0]
        if isinstance(answer, FencedError):
            raise answer
        return answer

    def append_many(self, batches: Sequence[Batch]) -> list[bool | FencedError]:
        """`append` to several logs, each named once, in one round trip. No entries just asks for a cancel."""
        return self._write([Call(log_id, fence, _flat(entries)) for log_id, fence, entries in batches])

    def end(self, log_id: str, fence: int, kind: str, data: dict[str, Any]) -> bool:
        """Writes the one last entry. False if the log has ended, is gone or belongs to another.

        Where the server has lost entries the log ends with an error instead: a hole must not look like an answer.
        """
        if kind not in TERMINAL:
            raise ValueError(f"{kind!r} does not end a log")
        answer = self._write([Call(log_id, fence, _flat([(kind, data)]), last=True)])[0]
        if isinstance(answer, Lost):
            answer = self._write([Call(log_id, fence, _flat([("error", HOLE.as_data())]), last=True)])[0]
        self._forget(log_id)
        return not isinstance(answer, FencedError)

    def cancel(self, log_id: str) -> None:
        """Asks the producer to stop; it learns of it with its next append."""
        self._run(CANCEL, log_id)

    def cancelled(self, log_id: str) -> bool:
        return bool(self._client.exists(_keys(log_id)[2]))

    def over(self, log_id: str) -> bool:
        """Whether nothing more can come: the log has ended or is not there."""
        fence, ended = self._client.hmget(meta_key(log_id), ["fence", "ended"])
        return fence is None or ended is not None

    def renew(self, log_id: str, ttl: int) -> bool:
        """Lets a log that has not ended live `ttl` seconds from now on. False if there is none."""
        return bool(self._run(RENEW, log_id, ttl))

    def owner(self, log_id: str) -> int | None:
        """The user the log was made for; None if it was made for nobody or is not there."""
        owner: Any = self._client.hget(meta_key(log_id), "owner")
        return int(owner) if owner else None

    def exists(self, log_id: str) -> bool:
        return bool(self._client.exists(stream_key(log_id)))

    def entries(self, log_id: str, after: str = START) -> list[Entry]:
        """All entries behind the offset `after`, without waiting for more."""
        found: Any = self._client.xrange(stream_key(log_id), min=f"({after}")
        return [Entry(offset.decode(), raw[b"k"].decode(), json.loads(raw[b"d"])) for offset, raw in found]

    def close(self) -> None:
        self._client.close()

    def _run(self, script: Script, log_id: str, *arguments: object) -> int:
        call = (*_keys(log_id), *map(str, arguments))
        try:
            answer: Any = self._client.evalsha(script.sha, 3, *call)
        except redis.exceptions.NoScriptError:
            answer = self._client.eval(script.text, 3, *call)
        return int(answer)

    def _write(self, calls: list[Call]) -> list[bool | FencedError]:
        try:
            answers = self._evaluate(calls)
        except redis.exceptions.RedisError:
            self._unsure.update((call.log_id, call.flat) for call in calls if call.flat)
            raise
        return [self._confirm(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def _evaluate(self, calls: list[Call]) -> list[Any]:
        """The answers of APPEND for each call. One that fails raises, and counts as a doubt about all of them."""
        arguments = [self._arguments(call) for call in calls]
        answers = self._pipeline(arguments)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)]
        again = self._pipeline([arguments[index] for index in unknown], whole=True) if unknown else []
        for index, answer in zip(unknown, again, strict=True):
            answers[index] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _pipeline(self, arguments: list[tuple[str, ...]], *, whole: bool = False) -> list[Any]:
        """One write, and an answer or an exception for each. The client's own pipeline does the same with three times
        the work, and every token of every stream comes this way."""
        script = ("EVAL", APPEND.text, "3") if whole else ("EVALSHA", APPEND.sha, "3")
        with self._connection() as connection:
            connection.send_packed_command([b"".join(pack((*script, *each)) for each in arguments)], check_health=False)
            return [_answer(connection) for _ in arguments]

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        pool = self._client.connection_pool
        connection: Any = pool.get_connection()  # redis' own classes are only half typed
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # answers that nobody read must not meet the next question
            raise
        finally:
            pool.release(connection)

    def _arguments(self, call: Call) -> tuple[str, ...]:
        known = self._lengths.get(call.log_id, -1)
        sent = self._unsure.get(call.log_id, [])
        repeated = len(sent) // 2 if known >= 0 and call.flat[: len(sent)] == sent else 0
        return (*_keys(call.log_id), str(call.fence), str(known), str(repeated), str(int(call.last)), *call.flat)

    def _confirm(self, call: Call, answer: list[int]) -> bool | FencedError:
        if failure := FAILURES.get(answer[0]):
            self._forget(call.log_id)
            return failure(call.log_id)
        if call.flat or call.log_id not in self._unsure:
            self._unsure.pop(call.log_id, None)
            self._remember(call.log_id, answer[1])
        return bool(answer[0])

    def _remember(self, log_id: str, length: int) -> None:
        if log_id not in self._lengths and len(self._lengths) >= REMEMBERED_LOGS:
            self._forget(next(iter(self._lengths)))  # the oldest: its writer left without ending it
        self._lengths[log_id] = length

    def _forget(self, log_id: str) -> None:
        self._lengths.pop(log_id, None)
        self._unsure.pop(log_id, None)


def from_url(url: str, *, keep_seconds: int = 600) -> EventLog:
    """A log on the server at `url`; logs it creates are kept `keep_seconds` after their end. Needs no Django settings.

    The client never repeats a command by itself (a doubt must reach the caller), and needs no PING of its own: a
    connection whose peer has gone is noticed when it is taken from the pool, a silent one by the timeout.
    """
    client = redis.Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
    )
    return EventLog(client, keep_seconds=keep_seconds)


@cache
def _shared(url: str, keep_seconds: int) -> EventLog:
    return from_url(url, keep_seconds=keep_seconds)


def default() -> EventLog:
    """This process's log on the server of the settings."""
    return _shared(settings.REDIS_URL, settings.STREAM_TTL_SECONDS)
