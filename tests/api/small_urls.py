"""Just our own REST and two plain views, for tests that need no other room."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.errors import Problem


class Chat(APIView):
    """Stands where /api/chat does: POST only."""

    authentication_classes = []
    permission_classes = [AllowAny]
    raises: Exception | None = None

    def post(self, request: Request) -> HttpResponse:
        if Chat.raises:
            raise Chat.raises
        return JsonResponse({"ok": True})


class Tags(APIView):
    def get(self, request: Request) -> HttpResponse:
        return JsonResponse({"user": request.auth.user.username})


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


def crash(request: HttpRequest, **_: Any) -> HttpResponse:
    raise Problem("internal", "must not be shown")


handler400 = "apps.api.problems.bad_request"
handler404 = "apps.api.problems.not_found"
handler500 = "apps.api.problems.server_error"

urlpatterns = [
    path("", page),
    path("page", page),
    path("api/chat", Chat.as_view()),
    path("api/tags", Tags.as_view()),
    path("api/crash", crash),
    path("api/corral/", include("apps.api.corral.urls")),
]
