"""What the views of our own REST share: JSON in, JSON out, and the caller by type."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.accounts import access as accesses
from apps.accounts.access import Access
from apps.errors import Problem


class Body(JSONParser):
    """JSON that is refused, not answered by a crash, when it nests deeper than Python reads."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("the JSON nests too deeply") from error


class View(APIView):
    parser_classes = [Body]
    metadata_class = None

    @property
    def access(self) -> Access:
        return accesses.of(self.request)


def read(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated body. Fields that nobody knows are refused, so that a typing mistake is not lost."""
    checked = serializer(data=request.data)
    checked.is_valid(raise_exception=True)
    if isinstance(request.data, Mapping) and (unknown := set(request.data) - set(checked.fields)):
        raise Problem("invalid", f"unknown field: {', '.join(sorted(unknown))}")
    data: dict[str, Any] = checked.validated_data
    return data
