"""What the views of every dialect share: the reply does not depend on Accept, nor the body on its Content-Type."""

from collections.abc import Iterable
from typing import Any, Final

import zstandard
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.errors import Problem

MAX_UNPACKED: Final = 20 * 2**20  # bytes of a body that came compressed (contract, section 1.1)
MAX_WINDOW: Final = 8 * 2**20  # bytes of history that its frames may want (RFC 8878 asks decoders for no more)


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
    """Subclasses name their methods in `http_method_names`, as HEAD exists only where a dialect has it."""

    content_negotiation_class = AnyAccept

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """An unknown method is refused before anyone is asked who they are."""
        if (request.method or "").lower() not in self.http_method_names:
            raise MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    @property
    def default_response_headers(self) -> dict[str, str]:
        """None of DRF's: only a 405 carries Allow, and the reply does not depend on Accept."""
        return {}


def unpacked(request: Request) -> bytes:
    """The body, decompressed where its Content-Encoding is zstd (RFC 8878). Raises Problem."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return request.body
    if encoding != "zstd":
        raise Problem("invalid", f"this server does not read bodies in Content-Encoding '{encoding}'", status=415)
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
            request.body, read_across_frames=True
        )
        body = reader.read(MAX_UNPACKED + 1)
    except zstandard.ZstdError as error:
        raise Problem("invalid", f"the request body cannot be decompressed: {error}") from error
    if len(body) > MAX_UNPACKED:
        raise Problem("too_large", f"the request body is larger than {MAX_UNPACKED >> 20} MiB when decompressed")
    return body
