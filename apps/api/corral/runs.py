"""My runs (an admin's: everybody's): what waits, what runs, what ended; and the cancel button."""

import uuid
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.corral.views import View
from apps.errors import Problem
from apps.inference import runs
from apps.inference.models import OPEN, Run, RunQuerySet, RunState

PAGE = 100


def shown(run: Run) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "stream": run.log_id,
        "user": run.user.username,
        "model": run.model,
        "kind": run.kind,
        "state": run.state,
        "position": _position(run),
        "outcome": run.outcome,
        "error": run.error,
        "attempt": run.attempt,
        "request_id": run.request_id,
        "prompt_tokens": run.prompt_tokens,
        "cached_tokens": run.cached_tokens,
        "output_tokens": run.output_tokens,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def _position(run: Run) -> int | None:
    """How many runs that wait came first, plus one; fair turns may let this one overtake some of them."""
    if run.state != RunState.QUEUED:
        return None
    return Run.objects.queued().filter(created_at__lt=run.created_at).count() + 1


class RunsView(View):
    def visible(self) -> RunQuerySet:
        """A key without the scope `admin` shows an admin's own runs only."""
        rows = Run.objects.all() if self.access.is_admin else Run.objects.filter(user=self.access.user)
        return rows.select_related("user")

    def find(self, run_id: uuid.UUID) -> Run:
        run = self.visible().filter(pk=run_id).first()
        if run is None:
            raise Problem("not_found", f"There is no run {run_id} that you may see.")
        return run


class Runs(RunsView):
    def get(self, request: Request) -> Response:
        rows = self.visible()
        if request.query_params.get("state") == "open":
            rows = rows.filter(state__in=OPEN)
        return Response({"runs": [shown(run) for run in rows.order_by("-created_at")[:PAGE]]})


class OneRun(RunsView):
    def get(self, request: Request, run_id: uuid.UUID) -> Response:
        return Response(shown(self.find(run_id)))

    def delete(self, request: Request, run_id: uuid.UUID) -> Response:
        run = self.find(run_id)
        runs.cancel(run.pk, why=f"cancelled by {self.access.user.username}")
        return Response(status=204)
