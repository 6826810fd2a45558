"""One asynchronous connection to the server: commands out in one write, answers in as they come."""

from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_SECONDS = 2.0

Command = tuple[str | int, ...]

_pack = cast(Any, hiredis.pack_command)  # the asynchronous client's own packing is Python, and many times slower


class Link:
    """Connects when it is first used and again after `drop`. Errors are redis' and leave the link to be dropped."""

    def __init__(self, url: str) -> None:
        self._pool: Any = ConnectionPool.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=CONNECT_SECONDS
        )
        self._connection: Any = None  # redis' own classes are only half typed
        self.client_id = 0

    async def send(self, commands: Sequence[Command]) -> None:
        connection = self._connection or await self._connect()
        await connection.send_packed_command(b"".join(map(_pack, commands)), check_health=False)

    async def read(self, *, timeout: float) -> Any:
        """The next answer in turn; `timeout` is in seconds. An answer that is an error is raised."""
        connection = self._connection or await self._connect()
        return await connection.read_response(timeout=timeout)

    async def call(self, *command: str | int) -> Any:
        await self.send([command])
        return await self.read(timeout=CONNECT_SECONDS)

    async def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connect(self) -> Any:
        connection: Any = self._pool.make_connection()
        await connection.connect()
        self._connection = connection
        self.client_id = int(await self.call("CLIENT", "ID"))
        return self._connection
