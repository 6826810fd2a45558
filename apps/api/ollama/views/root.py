"""What needs no model: the root, the version, who I am, and addresses with a slash too many."""

import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from apps.accounts.permissions import SignedIn
from apps.api.ollama.renderers import json_reply
from apps.api.ollama.views.door import Door, user_of


class Open(Door):
    """Open to all, as health checks and clients ask before they have a key."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ["head", "get"]


class Root(Open):
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse("Ollama is running", content_type="text/plain; charset=utf-8")


class Version(Open):
    def get(self, request: Request) -> HttpResponse:
        return json_reply({"version": settings.VERSION})


class Status(Open):
    """No model of this server runs in a cloud."""

    http_method_names = ["get"]

    def get(self, request: Request) -> HttpResponse:
        return json_reply({"cloud": {"disabled": True, "source": "config"}})


class Me(Door):
    """The caller's account, in the shape that Ollama's clients know from ollama.com."""

    permission_classes = (SignedIn,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        user = user_of(request)
        return json_reply({"id": str(uuid.UUID(int=user.pk)), "email": user.email, "name": user.username, "plan": ""})


@csrf_exempt
def without_slash(request: HttpRequest, **_: str) -> HttpResponse:
    """`/api/tags/` -> `/api/tags`: 301 for GET, 307 for the rest, so that a body is sent again."""
    path, mark, query = request.get_full_path().partition("?")
    reply = HttpResponse(status=301 if request.method == "GET" else 307)
    reply["Location"] = path.removesuffix("/") + mark + query
    return reply
