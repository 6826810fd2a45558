"""What every view of the native API shares: bodies by Go's rules, any Accept header, methods as Ollama registers them.

Errors are shaped by apps.api.problems, as everywhere in the house.
"""

import time
from collections.abc import Iterable
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.accounts import access
from apps.accounts.models import User
from apps.api.ollama.decode import decode

T = TypeVar("T")


class AnyAccept(BaseContentNegotiation):
    """Clients say `Accept: application/x-ndjson` or nothing at all; the reply is what the endpoint has."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type or ""


class Door(APIView):
    """Subclasses name their methods in `http_method_names`, as HEAD exists only where Ollama registers it."""

    content_negotiation_class = AnyAccept

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.started_ns = time.perf_counter_ns()
        super().setup(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """An unknown method is refused before anyone is asked who they are."""
        if (request.method or "").lower() not in self.http_method_names:
            raise MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    @property
    def default_response_headers(self) -> dict[str, str]:
        """None of DRF's: only a 405 carries Allow, and the reply does not depend on Accept."""
        return {}


def read(kind: type[T], request: Request) -> T:
    """The body as `kind`, whatever its Content-Type says. DRF's parsers are not asked."""
    return decode(kind, request.body)


def user_of(request: Request) -> User:
    """The caller; every view that asks has a permission that wants one."""
    return access.of(request).user
