"""One asynchronous connection to the server: commands out in one write, answers in as they come.

The client library connects (address, TLS, login); then its reader is replaced by one of a few lines. Every token of
every stream comes this way, and the library's own does several times the work for each answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apps.streams.packing import pack

CONNECT_SECONDS = 2.0

Command = tuple[str | int, ...]


class Link:
    """Connects when it is first used and again after `drop`. Errors are redis' own or TimeoutError, and leave the link
    to be dropped."""

    def __init__(self, url: str) -> None:
        self._pool: Any = ConnectionPool.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=CONNECT_SECONDS
        )
        self._connection: Any = None  # kept: it closes its socket when nobody holds it
        self._answers: _Answers | None = None
        self.client_id = 0

    async def send(self, commands: Sequence[Command]) -> None:
        answers = self._answers or await self._connect()
        answers.write(b"".join(map(pack, commands)))

    async def read(self, *, timeout: float) -> Any:
        """The next answer in turn; `timeout` is in seconds. An answer that is an error is raised."""
        answers = self._answers or await self._connect()
        return await answers.next(timeout)

    async def call(self, *command: str | int) -> Any:
        await self.send([command])
        return await self.read(timeout=CONNECT_SECONDS)

    async def drop(self) -> None:
        connection, self._connection, self._answers = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connect(self) -> "_Answers":
        connection: Any = self._pool.make_connection()
        await connection.connect()
        self._connection, self._answers = connection, _Answers(connection._writer.transport)
        self.client_id = int(await self.call("CLIENT", "ID"))
        return self._answers


class _Answers(asyncio.Protocol):
    """Takes a connected transport over. One task writes and reads."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser: Any = hiredis.Reader(replyError=redis.exceptions.ResponseError)
        self._waiter: asyncio.Future[None] | None = None
        self._lost: redis.exceptions.ConnectionError | None = None
        transport.set_protocol(self)

    def write(self, data: bytes) -> None:
        if self._lost or self._transport.is_closing():
            raise self._lost or redis.exceptions.ConnectionError("the connection is closed")
        self._transport.write(data)

    async def next(self, timeout: float) -> Any:
        while (answer := self._parser.gets()) is False:
            if self._lost:
                raise self._lost
            await self._more(timeout)
        if isinstance(answer, redis.exceptions.ResponseError):
            raise answer
        return answer

    async def _more(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        alarm = loop.call_later(timeout, _give_up, waiter)
        try:
            await waiter
        finally:
            alarm.cancel()
            self._waiter = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = redis.exceptions.ConnectionError(str(error or "the server closed the connection"))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _give_up(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("the server did not answer in time"))
