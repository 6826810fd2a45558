"""What every view of the native API shares: bodies by Go's rules, and when it was asked.

Errors are shaped by apps.api.problems, as everywhere in the house.
"""

import time
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework.request import Request

from apps.accounts import access
from apps.accounts.models import User
from apps.api import doors
from apps.api.ollama.decode import decode

T = TypeVar("T")


class Door(doors.Door):
    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.started_ns = time.perf_counter_ns()
        super().setup(request, *args, **kwargs)


def read(kind: type[T], request: Request) -> T:
    """The body as `kind`, whatever its Content-Type says. DRF's parsers are not asked."""
    return decode(kind, request.body)


def user_of(request: Request) -> User:
    """The caller; every view that asks has a permission that wants one."""
    return access.of(request).user
