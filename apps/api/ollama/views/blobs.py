"""Blobs by digest: is it here, and take it in."""

from collections.abc import Callable

from django.http import HttpResponse
from django.http.request import UnreadablePostError
from rest_framework.request import Request

from apps.accounts.permissions import CanManageModels
from apps.api.live_body import ClientGone
from apps.api.ollama.quoting import quoted
from apps.api.ollama.views.door import Door, user_of
from apps.errors import Problem
from apps.registry import blobs, digests


class Blob(Door):
    permission_classes = (CanManageModels,)
    http_method_names = ["head", "post"]

    def head(self, request: Request, digest: str) -> HttpResponse:
        found = digests.parse(digest)
        if not blobs.has(found, user_of(request)):
            raise Problem("not_found", f"blob {quoted(digest)} not found")
        return bare(200)

    def post(self, request: Request, digest: str) -> HttpResponse:
        """201 when the bytes were taken in, 200 when this caller may name the blob already: then they stay unread."""
        try:
            stored = blobs.write(blobs.chunks(reader(request)), expected=digest, user=user_of(request))
        except (ClientGone, UnreadablePostError) as error:
            raise Problem("cancelled", "request canceled") from error
        return bare(201 if stored.created else 200)


def reader(request: Request) -> Callable[[int], bytes]:
    """`read(n)` over the body as it arrives; over the whole of it where no live body is kept."""
    scope = getattr(request._request, "scope", {})
    live = scope.get("corral.body")
    return live.read if live is not None else request._request.read


def bare(status: int) -> HttpResponse:
    """No body and no type of one."""
    reply = HttpResponse(status=status)
    del reply["Content-Type"]
    return reply
