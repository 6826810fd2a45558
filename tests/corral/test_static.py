"""The admin pages' files, and the order of what stands around every view."""

import pytest
from asgiref.sync import async_to_sync
from corral.static import StaticFiles
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

pytestmark = pytest.mark.django_db  # a response that is closed looks after the connections that earlier tests left


async def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"the view")


def get(path: str) -> tuple[int, bytes]:
    response = async_to_sync(StaticFiles(view))(RequestFactory().get(path))
    body = b"".join(response) if response.streaming else response.content
    response.close()
    return response.status_code, body


def test_a_style_sheet_of_the_admin_is_served() -> None:
    status, body = get("/static/admin/css/base.css")
    assert status == 200 and b"{" in body


def test_everything_else_goes_on_to_the_view() -> None:
    assert get("/static/../settings.py") == (200, b"the view")
    assert get("/api/tags") == (200, b"the view")


def test_no_middleware_makes_a_waiting_stream_hold_a_thread() -> None:
    """One synchronous middleware anywhere would: Django then runs all that it surrounds from a thread."""
    assert all(import_string(name).async_capable for name in settings.MIDDLEWARE)
    names = [name.rpartition(".")[2] for name in settings.MIDDLEWARE]
    assert names[:4] == ["RequestLog", "Guards", "StaticFiles", "Settle"]
