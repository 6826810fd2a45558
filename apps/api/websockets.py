"""Who knocks at a websocket: the same Host and Origin rules and the same credentials as over HTTP.

A browser sends its session's cookie, other clients an `Authorization: Bearer` header with the handshake.
"""

from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest

from apps.accounts import authentication, loopback
from apps.api.guards import host_allowed, origin_allowed
from apps.errors import Problem

UNAUTHENTICATED, FORBIDDEN = 4401, 4403


class Knock:
    """Sets `scope["user"]`, or closes with 4401 or 4403."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._with_session = AuthMiddlewareStack(inner)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = ASGIRequest({**scope, "type": "http", "method": "GET"}, BytesIO())
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not host_allowed(host) or (origin and not origin_allowed(origin, host)):
            await send({"type": "websocket.close", "code": FORBIDDEN})
            return
        try:
            user = await sync_to_async(_caller)(request)
        except Problem as problem:
            await _turn_away(receive, send, problem)
            return
        if user is None:
            await self._with_session(scope, receive, send)
        else:
            await self._inner({**scope, "user": user}, receive, send)


async def _turn_away(receive: Any, send: Any, problem: Problem) -> None:
    """A close code reaches the client only after the handshake."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": UNAUTHENTICATED, "reason": problem.message[:120]})


def _caller(request: ASGIRequest) -> Any:
    """The user of a key or a signature, else the local admin; None leaves it to the session, where there is one."""
    access = authentication.from_headers(request)
    if access is not None:
        return access.user
    if "sessionid" in request.COOKIES:
        return None
    return loopback.admin_for(request) or AnonymousUser()
