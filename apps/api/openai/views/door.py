"""What every view of this dialect shares: any Accept header, any Content-Type, errors in OpenAI's envelope."""

from collections.abc import Callable, Iterable
from typing import Any

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api.openai import errors, fields
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields


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
    """Subclasses name their methods in `http_method_names`."""

    content_negotiation_class = AnyAccept

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


def read(request: Request) -> Fields:
    """The body. DRF's parsers are not asked."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Refusal(f"this server does not read bodies in Content-Encoding '{encoding}'", status=415)
    return fields.read(request.body)
