"""What every view of this dialect shares: errors in OpenAI's envelope."""

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import doors
from apps.api.openai import errors
from apps.api.openai.fields import Fields


class Door(doors.Door):
    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.handle  # type: ignore[return-value]  # a plain HttpResponse serves as well


def read(request: Request) -> Fields:
    """The body. DRF's parsers are not asked."""
    return Fields.read(doors.unpacked(request))
