"""How runs end. Row first, in one transaction with usage, slot and keep-alive; then the log's last entry.

`told` says whether that entry is known to be written; upkeep writes the missing ones.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.accounts.models import User
from apps.compiled import Question, together
from apps.errors import Problem
from apps.inference import placement
from apps.inference.models import ACTIVE, LEASE, ReplicaState, Run, RunState
from apps.inference.publishing import publish
from apps.inference.types import EMBEDDINGS, END, ERROR, RENDERED, TEXT, THINKING, TOOL_CALLS, RunEnd
from apps.streams import log as event_log
from apps.usage import ledger

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 3
ANSWERS = frozenset({TEXT, THINKING, TOOL_CALLS, EMBEDDINGS, RENDERED})  # frames that are a part of the answer
DIED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check the server's logs for details"
)
DIED_MIDWAY = "an error was encountered while running the model: the model runner has unexpectedly stopped"


class Ended(NamedTuple):
    """What the ledger and placement want to know of a run that has just ended."""

    run_id: uuid.UUID
    user_id: int
    user_name: str
    key_id: int | None
    model: str
    version: str
    kind: str
    replica_id: uuid.UUID | None
    keep_alive: float | None
    created_at: datetime
    admitted_at: datetime | None
    ended_at: datetime


def finish(run_id: str | uuid.UUID, *, attempt: int, end: RunEnd, problem: Problem | None = None) -> bool:
    """The row's end: usage, slot freed, keep-alive renewed, next run admitted. False if this attempt is not current."""
    failed = problem is not None and problem.code != "cancelled"
    outcome, error = "error" if failed else end.reason, problem.message if problem else ""
    with transaction.atomic():
        board, (rows,) = placement.look(_ending(run_id, ACTIVE, attempt=attempt, outcome=outcome, error=error, end=end))
        if not rows:
            return False
        ended = Ended(*rows[0])
        replica = board.replica(ended.replica_id) if ended.replica_id else None
        writes = [ledger.insertion(_entry(ended, outcome, end))]
        if replica:
            writes.append(board.renewal(replica, keep_alive=ended.keep_alive))
        together(*writes)
        decided = board.admit()
        if replica and replica.state == ReplicaState.UNLOADING:
            decided.reconcile.add(replica.worker.queue)
    publish(decided)
    return True


def close(run: Run, *, error: str) -> None:
    """Ends a run that still waits, as cancelled. Call in a transaction, under the lock of placement."""
    end = RunEnd("cancelled")
    question = _ending(run.pk, [RunState.QUEUED], attempt=run.attempt, outcome="cancelled", error=error, end=end)
    ((row,),) = together(question)
    together(ledger.insertion(_entry(Ended(*row), "cancelled", end)))


def _ending(
    run_id: str | uuid.UUID, states: Sequence[str], *, attempt: int, outcome: str, error: str, end: RunEnd
) -> Question:
    """Writes the end of a row and erases its request; answers with an `Ended`, or nothing if the run is in another
    state or attempt."""
    sql = f"""
        UPDATE {Run._meta.db_table} AS run
        SET state = %s, outcome = %s, error = %s, request = NULL, ended_at = %s,
            prompt_tokens = %s, cached_tokens = %s, output_tokens = %s
        FROM {User._meta.db_table} AS person
        WHERE person.id = run.user_id AND run.id = %s AND run.attempt = %s AND run.state = ANY(%s)
        RETURNING run.id, person.id, person.username, run.key_id, run.model, run.version, run.kind,
            run.replica_id, run.keep_alive, run.created_at, run.admitted_at, run.ended_at
    """
    tokens = (end.prompt_tokens, end.cached_tokens, end.output_tokens)
    changes = (RunState.ENDED, outcome, error, timezone.now(), *tokens)
    return Question(sql, [*changes, uuid.UUID(str(run_id)), attempt, list(states)])


def _entry(ended: Ended, outcome: str, end: RunEnd) -> ledger.Entry:
    return ledger.Entry(
        run_id=ended.run_id,
        user_id=ended.user_id,
        user_name=ended.user_name,
        key_id=ended.key_id,
        model=ended.model,
        version=ended.version,
        kind=ended.kind,
        outcome=outcome,
        prompt_tokens=end.prompt_tokens,
        cached_tokens=end.cached_tokens,
        output_tokens=end.output_tokens,
        queue_ms=_milliseconds((ended.admitted_at or ended.ended_at) - ended.created_at),
        load_ms=end.load_ns // 1_000_000,
        prompt_ms=end.prompt_ns // 1_000_000,
        eval_ms=end.eval_ns // 1_000_000,
    )


def _milliseconds(duration: timedelta) -> int:
    return max(0, int(duration.total_seconds() * 1000))


# --- the log's last entry -------------------------------------------------------------------------------------------


def tell(run_id: str | uuid.UUID, *, fence: int, end: RunEnd, problem: Problem | None = None) -> None:
    """Writes the last entry of a run's log as the owner with this fence. `note_told` is to follow, soon."""
    kind, data = (ERROR, problem.as_data()) if problem else (END, end.as_data())
    event_log.default().end(f"run-{run_id}", fence, kind, data)


def note_told(run_ids: Iterable[str | uuid.UUID]) -> None:
    """Notes that the last entries of these runs are written, so that nobody writes them again."""
    Run.objects.filter(pk__in=list(run_ids)).update(told=True)


def tell_as_reaper(run: Run, problem: Problem) -> None:
    """The last entry on behalf of an owner that is gone, or of nobody when the run never left the queue."""
    fence = run.fence + 1 if run.attempt else run.fence
    if run.attempt:
        event_log.default().claim(run.log_id, fence)
    tell(run.pk, fence=fence, end=RunEnd("error"), problem=problem)
    note_told([run.pk])


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


def untold(before: datetime) -> QuerySet[Run]:
    """Runs that ended before that and whose log's last entry is not known to be written."""
    return Run.objects.filter(state=RunState.ENDED, told=False, ended_at__lt=before)


def retell(before: datetime) -> None:
    """Writes the last entries that a death between row and log left out.

    A worker that lives is still trying by itself; after a minute nobody waits for it any more.
    """
    now = timezone.now()
    for run in untold(before).select_related("replica__worker"):
        worker = run.replica.worker if run.replica else None
        alive = worker and worker.heartbeat_at > now - LEASE and run.ended_at and worker.started_at < run.ended_at
        if alive and run.ended_at and now - run.ended_at < timedelta(minutes=1):
            continue
        problem = Problem("internal", run.error or "the end of this answer was lost with the process that knew it")
        tell_as_reaper(run, problem)
