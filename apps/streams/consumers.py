"""The websocket /ws/streams/<id>?from=<offset>: any log I may see, from any offset, as JSON messages.

A message is {"offset", "kind", "data"}. After the terminal one the socket closes with 1000; a reader that comes back
passes the last offset it saw and misses nothing.
"""

import asyncio
import contextlib
import json
from typing import Any, Final
from urllib.parse import parse_qs

import redis
import structlog
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from apps.errors import Problem
from apps.streams import log
from apps.streams.tail import tail

CLOSE_CODES: Final = {"invalid": 4400, "unauthenticated": 4401, "forbidden": 4403, "not_found": 4404}
DONE: Final = 1000
INTERNAL_ERROR: Final = 1011
TRY_AGAIN: Final = 1013

logger = structlog.get_logger(__name__)


class StreamConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One socket, one log. A client that reads slowly slows its own tail only: a message waits for the one before."""

    channel_layer_alias = None  # no groups, so no channel and no connection for one

    _following: "asyncio.Task[None] | None" = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._following is not None:
                self._following.cancel()
                await asyncio.gather(self._following, return_exceptions=True)

    async def connect(self) -> None:
        await self.accept()  # a close before this would be a bare 403 without a reason
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        with contextlib.suppress(OSError):  # the client left while we wrote to it
            code, reason = await self._tell()
            await self.close(code, reason)

    async def _tell(self) -> tuple[int, str]:
        """Sends the log to its end. How to close, and why."""
        try:
            log_id, after = self._asked()
            await sync_to_async(require_reader, thread_sensitive=False)(self.scope.get("user"), log_id)
            async for entry in tail(log_id, after=after):
                await self.send(json.dumps({"offset": entry.offset, "kind": entry.kind, "data": entry.data}))
        except Problem as problem:
            return CLOSE_CODES.get(problem.code, TRY_AGAIN), problem.message
        except (redis.exceptions.RedisError, TimeoutError) as error:
            logger.warning("server_away", error=repr(error))
            return TRY_AGAIN, "the event store does not answer, please try again"
        except OSError:
            raise
        except Exception:
            logger.exception("websocket_failed")
            return INTERNAL_ERROR, "the server failed; its log says why"
        return DONE, ""

    def _asked(self) -> tuple[str, str]:
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        return self.scope["url_route"]["kwargs"]["log_id"], query.get("from", [log.START])[0]


def require_reader(user: Any, log_id: str) -> None:
    """Raises Problem unless `user` owns the log or is an admin. A log of another's and none at all look alike."""
    if user is None or not user.is_authenticated:
        raise Problem("unauthenticated", "sign in or send an API key to follow a stream")
    if not user.is_active:
        raise Problem("forbidden", "this account is switched off")
    events = log.default()
    if not events.exists(log_id) or not (user.is_superuser or events.owner(log_id) == user.pk):
        raise Problem("not_found", "there is no such stream")
