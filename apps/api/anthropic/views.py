"""Messages and their tokens: check, start the run, hand its log to the caller. Any Accept and Content-Type will do."""

from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.permissions import CanInfer
from apps.api import inference
from apps.api.anthropic import asking, errors, fields, lookup
from apps.api.anthropic.content import Style
from apps.api.anthropic.errors import Refusal
from apps.api.anthropic.fields import Fields
from apps.api.anthropic.replies import CountRenderer, MessageRenderer


class AnyAccept(BaseContentNegotiation):
    """The reply is what the endpoint has, whatever a client says it accepts."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type or ""


class Door(APIView):
    content_negotiation_class = AnyAccept
    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """An unknown method is refused before anyone is asked who they are."""
        if (request.method or "").lower() not in self.http_method_names:
            raise MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.handle  # type: ignore[return-value]  # a plain HttpResponse serves as well

    @property
    def default_response_headers(self) -> dict[str, str]:
        """None of DRF's: only a 405 carries Allow, and the reply does not depend on Accept."""
        return {}


class Messages(Door):
    def post(self, request: Request) -> HttpResponse:
        asked = asking.read(read(request))
        version = lookup.version(asked.model, request)
        style = Style(
            asked.model,
            estimate=asked.estimate,
            shows_thinking=asked.shows_thinking,
            single_call=asked.tools.single,
        )
        identity = errors.request_id()
        renderer = MessageRenderer(style, identity)
        reply = inference.start(request, version, asking.plan(asked, version), renderer, streaming=asked.stream)
        reply[errors.REQUEST_ID] = identity
        return reply


class CountTokens(Door):
    def post(self, request: Request) -> HttpResponse:
        asked = asking.read(read(request), counting=True)
        version = lookup.version(asked.model, request)
        plan = asking.counted(asking.plan(asked, version))
        identity = errors.request_id()
        reply = inference.start(request, version, plan, CountRenderer(identity), streaming=False)
        reply[errors.REQUEST_ID] = identity
        return reply


def read(request: Request) -> Fields:
    """The body. DRF's parsers are not asked."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Refusal(f"this server does not read bodies in Content-Encoding '{encoding}'", status=415)
    return fields.read(request.body)
