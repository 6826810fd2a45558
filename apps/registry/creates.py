"""Making a model is the first job: a row, an event log and a task (wire contract, section 8)."""

import json
from typing import Any

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import drafts, resolve
from apps.registry.specs import CreateSpec
from apps.streams import jobs
from apps.streams.models import Job


def start(*, user: User, spec: CreateSpec) -> Job:
    """Begins the job. Raises Problem at once when `user` may not write there.

    The spec travels as text: its own texts may hold NUL characters, which a JSON column refuses.
    """
    resolve.target(spec.target, user)
    return jobs.start(kind="create", user_id=user.pk, params={"spec": json.dumps(spec.as_data())})


def run(job: jobs.Running) -> None:
    """The job's handler."""
    user = User.objects.filter(pk__in=[job.user_id], is_active=True).first()
    if user is None:
        raise Problem("forbidden", "the user who began this is no longer there")
    spec = CreateSpec.from_data(json.loads(job.params["spec"]))

    def report(status: str, **fields: Any) -> None:
        job.check_cancelled()
        job.progress(status, **fields)

    target = resolve.target(spec.target, user)
    drafts.build(spec=spec, user=user, target=target, report=report, check=job.check_cancelled)
