"""What I used (an admin may ask for everybody): tokens and runs by model, and by user for an admin."""

from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.corral.views import View
from apps.errors import Problem
from apps.usage.models import Usage

LONGEST_DAYS = 3660


class UsageTotals(View):
    """GET ?days=30&everybody=1"""

    def get(self, request: Request) -> Response:
        rows = Usage.objects.filter(created_at__gte=timezone.now() - timedelta(days=_days(request)))
        by = ["model"]
        if request.query_params.get("everybody") in {"1", "true"}:
            if not self.access.is_admin:
                raise Problem("forbidden", "Only an admin may see everybody's usage.")
            by = ["user_name", "model"]
        else:
            rows = rows.filter(user=self.access.user)
        totals: Any = rows.values(*by).annotate(
            runs=Count("pk"),
            prompt_tokens=Sum("prompt_tokens"),
            cached_tokens=Sum("cached_tokens"),
            output_tokens=Sum("output_tokens"),
        )
        return Response({"usage": list(totals.order_by(*by))})


def _days(request: Request) -> int:
    text = request.query_params.get("days", "30")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LONGEST_DAYS:
        raise Problem("invalid", f"days must be a whole number from 1 to {LONGEST_DAYS}.")
    return int(text)
