"""My jobs (an admin's: everybody's): create, later pull and push; and the cancel button."""

import uuid
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.corral.views import View
from apps.errors import Problem
from apps.streams import jobs
from apps.streams.models import Job, JobQuerySet

PAGE = 100


def shown(job: Job) -> dict[str, Any]:
    return {
        "id": str(job.pk),
        "stream": job.log_id,
        "kind": job.kind,
        "state": job.state,
        "error": job.error,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
    }


class JobsView(View):
    def visible(self) -> JobQuerySet:
        """A key without the scope `admin` shows an admin's own jobs only."""
        return Job.objects.all() if self.access.is_admin else Job.objects.filter(user=self.access.user)

    def find(self, job_id: uuid.UUID) -> Job:
        job = self.visible().filter(pk=job_id).first()
        if job is None:
            raise Problem("not_found", f"There is no job {job_id} that you may see.")
        return job


class Jobs(JobsView):
    def get(self, request: Request) -> Response:
        return Response({"jobs": [shown(job) for job in self.visible().order_by("-created_at")[:PAGE]]})


class OneJob(JobsView):
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        return Response(shown(self.find(job_id)))

    def delete(self, request: Request, job_id: uuid.UUID) -> Response:
        jobs.cancel(self.find(job_id).pk)
        return Response(status=204)
