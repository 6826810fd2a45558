"""Messages and their tokens: check, start the run, hand its log to the caller. Any Accept and Content-Type will do."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.permissions import CanInfer
from apps.api import doors, inference
from apps.api.anthropic import asking, errors, lookup
from apps.api.anthropic.content import Style
from apps.api.anthropic.fields import Fields
from apps.api.anthropic.replies import CountRenderer, MessageRenderer


class Door(doors.Door):
    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.handle  # type: ignore[return-value]  # a plain HttpResponse serves as well


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
    return Fields.read(doors.unpacked(request))
