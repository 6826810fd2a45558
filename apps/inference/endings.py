"""How runs end. Row first, in one transaction with usage, slot and keep-alive; then the log's last entry.

`told` says whether that entry is known to be written; upkeep writes the missing ones.
"""

import uuid
from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from apps.errors import Problem
from apps.inference import placement
from apps.inference.models import ACTIVE, LEASE, Run, RunState
from apps.inference.publishing import publish
from apps.inference.types import EMBEDDINGS, END, ERROR, RENDERED, TEXT, THINKING, TOOL_CALLS, RunEnd
from apps.streams import log as event_log
from apps.usage import ledger

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 3
ANSWERS = frozenset({TEXT, THINKING, TOOL_CALLS, EMBEDDINGS, RENDERED})  # frames that are a part of the answer
ENDED_FIELDS = ("state", "outcome", "error", "request", "ended_at", "prompt_tokens", "cached_tokens", "output_tokens")
DIED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check the server's logs for details"
)
DIED_MIDWAY = "an error was encountered while running the model: the model runner has unexpectedly stopped"


def finish(run_id: str | uuid.UUID, *, attempt: int, end: RunEnd, problem: Problem | None = None) -> bool:
    """The row's end: usage, slot freed, keep-alive renewed, next run admitted. False if this attempt is not current."""
    with transaction.atomic():
        placement.lock()
        run = _current(run_id, attempt)
        if run is None:
            return False
        failed = problem is not None and problem.code != "cancelled"
        close(run, outcome="error" if failed else end.reason, error=problem.message if problem else "", end=end)
        if run.replica is not None:
            placement.renew(run.replica, keep_alive=run.keep_alive)
        outcome = placement.admit()
        if run.replica is not None and run.replica.state == "unloading":
            outcome.reconcile.add(run.replica.worker.queue)
    publish(outcome)
    return True


def _current(run_id: str | uuid.UUID, attempt: int) -> Run | None:
    rows = Run.objects.select_for_update(of=("self",)).select_related("user", "replica__worker")
    return rows.filter(pk=run_id, attempt=attempt, state__in=ACTIVE).first()


def close(run: Run, *, outcome: str, error: str = "", end: RunEnd | None = None) -> None:
    """Writes the end of the row and its usage, and erases the request. Call in a transaction."""
    end = end or RunEnd("cancelled")
    run.state, run.outcome, run.error = RunState.ENDED, outcome, error
    run.request, run.ended_at = None, timezone.now()
    run.prompt_tokens, run.cached_tokens, run.output_tokens = end.prompt_tokens, end.cached_tokens, end.output_tokens
    run.save(update_fields=ENDED_FIELDS)
    ledger.record(
        ledger.Entry(
            run_id=run.pk,
            user_id=run.user_id,
            user_name=run.user.username,
            key_id=run.key_id,
            model=run.model,
            version=run.version,
            kind=run.kind,
            outcome=outcome,
            prompt_tokens=end.prompt_tokens,
            cached_tokens=end.cached_tokens,
            output_tokens=end.output_tokens,
            queue_ms=_milliseconds((run.admitted_at or run.ended_at) - run.created_at),
            load_ms=end.load_ns // 1_000_000,
            prompt_ms=end.prompt_ns // 1_000_000,
            eval_ms=end.eval_ns // 1_000_000,
        )
    )


def _milliseconds(duration: timedelta) -> int:
    return max(0, int(duration.total_seconds() * 1000))


# --- the log's last entry -------------------------------------------------------------------------------------------


def tell(run_id: str | uuid.UUID, *, fence: int, end: RunEnd, problem: Problem | None = None) -> None:
    """Writes the last entry of a run's log as the owner with this fence, and notes that it is written."""
    kind, data = (ERROR, problem.as_data()) if problem else (END, end.as_data())
    event_log.default().end(f"run-{run_id}", fence, kind, data)
    Run.objects.filter(pk=run_id).update(told=True)


def tell_as_reaper(run: Run, problem: Problem) -> None:
    """The last entry on behalf of an owner that is gone, or of nobody when the run never left the queue."""
    fence = run.fence + 1 if run.attempt else run.fence
    if run.attempt:
        event_log.default().claim(run.log_id, fence)
    tell(run.pk, fence=fence, end=RunEnd("error"), problem=problem)


# --- after a death --------------------------------------------------------------------------------------------------


def reap(runs: list[Run]) -> None:
    """Runs whose worker or runner is gone: those that said nothing yet wait again, the others end with an error."""
    for run in runs:
        if _untouched(run) and run.attempt < MAX_ATTEMPTS:
            requeue(run)
        else:
            lose(run)


def _untouched(run: Run) -> bool:
    """Whether the caller has seen nothing of the answer, so that another attempt can give it whole."""
    return (
        run.request is not None
        and not any(entry.kind in ANSWERS for entry in event_log.default().entries(run.log_id))
        or run.kind == "load"
    )


def requeue(run: Run) -> None:
    if not event_log.default().claim(run.log_id, run.fence + 1):
        lose(run, Problem("internal", "the log of this run is gone"))  # nobody could read another attempt
        return
    with transaction.atomic():
        placement.lock()
        again = Run.objects.filter(pk=run.pk, attempt=run.attempt, state__in=ACTIVE)
        if again.update(state=RunState.QUEUED, replica=None, admitted_at=None, started_at=None):
            log.info("run_requeued", run=str(run.pk), attempt=run.attempt)
        outcome = placement.admit()
    publish(outcome)


def lose(run: Run, problem: Problem | None = None) -> None:
    """Ends a run whose owner died, with a sentence for the caller."""
    problem = problem or Problem("internal", DIED if _untouched(run) else DIED_MIDWAY)
    if finish(run.pk, attempt=run.attempt, end=RunEnd("error"), problem=problem):
        log.warning("run_lost", run=str(run.pk), attempt=run.attempt)
        tell_as_reaper(run, problem)


def retell() -> None:
    """Writes the last entries that a death between row and log left out.

    A worker that lives is still trying by itself; after a minute nobody waits for it any more.
    """
    now = timezone.now()
    untold = Run.objects.filter(state=RunState.ENDED, told=False, ended_at__lt=now - timedelta(seconds=2))
    for run in untold.select_related("replica__worker"):
        worker = run.replica.worker if run.replica else None
        alive = worker and worker.heartbeat_at > now - LEASE and run.ended_at and worker.started_at < run.ended_at
        if alive and run.ended_at and now - run.ended_at < timedelta(minutes=1):
            continue
        problem = Problem("internal", run.error or "the end of this answer was lost with the process that knew it")
        tell_as_reaper(run, problem)
