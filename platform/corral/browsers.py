"""Django's middlewares for pages, passed by where no browser's session can count.

Each of them is synchronous, so Django hands every request a dozen times to a thread and back for them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from apps.api.guards import is_guarded

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class Browsers:
    """Async middleware: sends a request through BROWSER_MIDDLEWARE, unless it is for an API and brings no session
    or a credential that goes before the session (apps.accounts.authentication)."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Handler) -> None:
        self._straight = self._through = get_response
        self._lookers: list[Any] = []
        for path in reversed(settings.BROWSER_MIDDLEWARE):
            member = import_string(path)(self._through)
            self._through = member
            if hasattr(member, "process_view"):
                self._lookers.insert(0, member)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _is_page(request):
            return await self._through(request)
        reply = await self._straight(request)
        reply.headers.setdefault("X-Content-Type-Options", "nosniff")
        return reply

    async def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        for member in self._lookers if _is_page(request) else ():
            reply: HttpResponseBase | None = await sync_to_async(member.process_view)(request, view, args, kwargs)
            if reply is not None:
                return reply
        return None


def _is_page(request: HttpRequest) -> bool:
    if not is_guarded(request.path):
        return True
    has_credential = "HTTP_AUTHORIZATION" in request.META or "HTTP_X_API_KEY" in request.META
    return settings.SESSION_COOKIE_NAME in request.COOKIES and not has_credential
