"""Decides who runs where: the only module that does. Every decision is one short transaction under one lock.

`admit()` takes the fair next runs and gives each a replica with a free slot, or makes room for one. It returns
what is to be published after the commit: nothing that waits is ever in a task queue.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.compiled import Compiled, Question, Rows, columns, instance, together, updating
from apps.inference import keepalive, sizing
from apps.inference.models import ACTIVE, LEASE, Replica, ReplicaState, Run, RunState, Worker

LOCK = 0x0C0_44A1  # the advisory lock of placement; any constant that nothing else uses
START_GRACE = timedelta(seconds=10)
REMEMBERED = 16  # a user's last runs that are asked where they were
# Asked by every request, so compiled once.
_LOCK = Question("SELECT pg_advisory_xact_lock(%s)", [LOCK])
_OPEN = Compiled(lambda: Run.objects.open().values_list("state", "replica_id", "user_id"))
_PRESENT = Compiled(
    lambda alive: (
        Replica.objects.present()
        .filter(worker__heartbeat_at__gt=alive)
        .values_list(*columns(Replica), *columns(Worker, "worker__"))
    ),
    alive=datetime,
)


@dataclass
class Outcome:
    """What a transaction of placement decided: to be published by the caller once it is committed."""

    hand_overs: list[tuple[str, str, int]] = field(default_factory=list)  # queue, run id, attempt
    reconcile: set[str] = field(default_factory=set)  # queues of workers that have something to start or stop


def lock() -> None:
    """Serialises placement until the end of the transaction (PostgreSQL advisory lock)."""
    together(_LOCK)


def admit() -> Outcome:
    """Takes the lock and admits every run that can start now, fairest first. Call inside a transaction."""
    board, _ = look()
    return board.admit()


def look(*first: Question) -> tuple["Board", list[Rows]]:
    """Takes the lock, asks `first`, and looks at the house as that left it: one round trip. Inside a transaction."""
    _, *answers, taken, present = together(_LOCK, *first, _OPEN.ask(), _PRESENT.ask(alive=timezone.now() - LEASE))
    return Board(taken, present), answers


def fits(replica: Replica, run: Run) -> bool:
    """Whether this replica, with the options it was loaded with, serves what the run asks for."""
    if replica.weights != run.weights or replica.context < run.context:
        return False
    return all(replica.options.get(name) == value for name, value in run.options.items())


class Board:
    """The state of the house as one transaction sees it: the rows of `_OPEN` and of `_PRESENT`."""

    def __init__(self, taken: Rows, present: Rows) -> None:
        self._present = present
        self.users_of: dict[Any, Counter[int]] = {}
        self.active: Counter[int] = Counter()
        self.somebody_waits = False
        for state, replica_id, user_id in taken:
            if state in ACTIVE:
                self._count(replica_id, user_id)
            else:
                self.somebody_waits = True
        self.outcome = Outcome()

    @cached_property
    def replicas(self) -> list[Replica]:
        """Those of live workers, with their workers."""
        width, replicas = len(columns(Replica)), []
        for row in self._present:
            replica = instance(Replica, row[:width])
            replica.worker = instance(Worker, row[width:])
            replicas.append(replica)
        return replicas

    def replica(self, replica_id: uuid.UUID) -> Replica | None:
        """One that holds memory, also where its worker has not been heard of for a while."""
        here = next((replica for replica in self.replicas if replica.pk == replica_id), None)
        return here or Replica.objects.present().select_related("worker").filter(pk=replica_id).first()

    @cached_property
    def workers(self) -> dict[int, Worker]:
        """Asked for only where a replica is to be made: a free slot needs none."""
        return {worker.pk: worker for worker in Worker.objects.live()}

    def _count(self, replica_id: Any, user_id: int) -> None:
        self.active[user_id] += 1
        self.users_of.setdefault(replica_id, Counter())[user_id] += 1

    def load_of(self, replica: Replica) -> int:
        return sum(self.users_of.get(replica.pk, {}).values())

    def admit(self, new: Run | None = None) -> Outcome:
        """Fair turns: the user with the fewest runs under way goes next; among equals, who asked first.

        `new` is a run that is not stored yet: it takes part, and is to be stored as what became of it.
        """
        waiting = self.waiting() + ([new] if new else [])
        hopeless: set[tuple[Any, ...]] = set()
        while waiting:
            run = min(waiting, key=lambda run: (self.active[run.user_id], run.created_at))
            waiting.remove(run)
            kind = (run.weights, run.context, json.dumps(run.options, sort_keys=True))
            if kind in hopeless:
                continue
            replica = self.find_slot(run) or self.make_replica(run)
            if replica is None:
                hopeless.add(kind)
                continue
            self.seat(run, replica)
        return self.outcome

    def waiting(self) -> list[Run]:
        if not self.somebody_waits:
            return []
        return list(Run.objects.queued().order_by("created_at").defer("request")[: settings.MAX_QUEUE])

    def find_slot(self, run: Run) -> Replica | None:
        """The replica that takes the run: one that is ready, and the least loaded. Where the user's last run was lies
        what theirs have in common, so that one may have a run more; among equals the smallest context goes first."""
        usable = [
            replica
            for replica in self.replicas
            if replica.state in (ReplicaState.READY, ReplicaState.LOADING)
            and fits(replica, run)
            and self.load_of(replica) < replica.slots
        ]
        if len(usable) < 2:
            return usable[0] if usable else None
        home = _home(run, usable)

        def cost(replica: Replica) -> tuple[bool, int, bool, int, Any]:
            away = replica is not home
            return replica.state != ReplicaState.READY, self.load_of(replica) + away, away, replica.context, replica.pk

        return min(usable, key=cost)

    def seat(self, run: Run, replica: Replica) -> None:
        self._count(replica.pk, run.user_id)
        run.state, run.replica, run.admitted_at = RunState.ADMITTED, replica, timezone.now()
        run.attempt += 1
        if not run._state.adding:
            run.save(update_fields=["state", "replica", "admitted_at", "attempt"])
        self.outcome.hand_overs.append((replica.worker.queue, str(run.pk), run.attempt))

    def renewal(self, replica: Replica, *, keep_alive: float | None) -> Question:
        """After a run: its keep-alive becomes the replica's, and the timer starts when the last run has ended."""
        now, idle = timezone.now(), not self.load_of(replica)
        if keep_alive is not None:
            replica.keep_alive = keep_alive
        replica.last_used_at = now
        replica.expires_at = keepalive.expiry(now, replica.keep_alive) if idle and replica.keep_alive >= 0 else None
        if idle and (replica.keep_alive == 0 or replica.state == ReplicaState.DRAINING):
            replica.state = ReplicaState.UNLOADING
        return updating(replica, "keep_alive", "last_used_at", "expires_at", "state")

    # --- room -------------------------------------------------------------------------------------------------

    def make_replica(self, run: Run) -> Replica | None:
        """A new replica where there is room, or in place of idle ones; else the least used one is told to drain."""
        full = any(fits(replica, run) for replica in self.replicas if replica.state != ReplicaState.UNLOADING)
        for worker in sorted(self.workers.values(), key=self.room, reverse=True):
            plan = self.plan(run, worker)
            if plan is None:
                continue
            victims = self.victims(worker, plan.need_bytes)
            if victims is None or (full and victims):
                continue
            for victim in victims:
                self.unload(victim)
            return self.create(run, worker, plan)
        if not full:
            self.drain_for(run)
        return None

    def plan(self, run: Run, worker: Worker) -> sizing.Plan | None:
        """Slots and bytes for this run's replica on that worker, were it empty; None if it could never fit."""
        if not worker.accepts:
            return None
        return sizing.plan(
            run.sizing,
            context=run.context,
            slots=settings.NUM_PARALLEL,
            room=worker.memory_bytes,
            kv_type=settings.KV_CACHE_TYPE,
        )

    def room(self, worker: Worker) -> int:
        return worker.memory_bytes - sum(replica.held_bytes for replica in self.staying(worker))

    def staying(self, worker: Worker) -> list[Replica]:
        """The replicas of this worker that hold memory and are not being unloaded."""
        return [r for r in self.replicas if r.worker_id == worker.pk and r.state != ReplicaState.UNLOADING]

    def victims(self, worker: Worker, need: int) -> list[Replica] | None:
        """The idle replicas to unload so that `need` bytes fit; empty if none must go, None if that is not enough."""
        here = self.staying(worker)
        limit = settings.MAX_LOADED_MODELS or 3 * max(1, len(worker.devices) - 1)
        room, count, chosen = self.room(worker), len(here), []
        for replica in sorted((r for r in here if self.load_of(r) == 0), key=_least_wanted):
            if room >= need and count < limit:
                break
            chosen.append(replica)
            room, count = room + replica.held_bytes, count - 1
        return chosen if room >= need and count < limit else None

    def drain_for(self, run: Run) -> None:
        """Nothing idle to evict: the replica used least stops taking runs, so that this one's turn comes."""
        busy = [r for r in self.replicas if r.state == ReplicaState.READY and self.plan(run, r.worker)]
        if not busy or any(r.state in (ReplicaState.DRAINING, ReplicaState.UNLOADING) for r in self.replicas):
            return
        victim = min(busy, key=lambda r: (self.load_of(r), r.last_used_at))
        victim.state = ReplicaState.DRAINING
        victim.save(update_fields=["state"])

    def unload(self, replica: Replica) -> None:
        replica.state = ReplicaState.UNLOADING
        replica.save(update_fields=["state"])
        self.outcome.reconcile.add(replica.worker.queue)

    def create(self, run: Run, worker: Worker, plan: sizing.Plan) -> Replica:
        replica = Replica.objects.create(
            worker=worker,
            weights=run.weights,
            model=run.model,
            version=run.version,
            options=run.options,
            context=run.context,
            slots=plan.slots,
            need_bytes=plan.need_bytes,
            keep_alive=keepalive.parse_setting(settings.KEEP_ALIVE),
        )
        self.replicas.append(replica)
        self.outcome.reconcile.add(worker.queue)
        return replica


def _home(run: Run, usable: list[Replica]) -> Replica | None:
    """The one of these that the user's newest runs were on, if any of their last few was."""
    last = Run.objects.filter(user=run.user_id).exclude(pk=run.pk).order_by("-created_at")
    known = {replica.pk: replica for replica in usable}
    return next((known[pk] for pk in last.values_list("replica_id", flat=True)[:REMEMBERED] if pk in known), None)


def _least_wanted(replica: Replica) -> tuple[bool, Any]:
    """Eviction order: those not asked to stay for ever first, then the least recently used."""
    return (replica.keep_alive < 0, replica.last_used_at)


def can_ever_fit(run: Run) -> bool:
    """Whether any live worker could hold a replica for this run, were it empty. True while no worker is known."""
    workers = list(Worker.objects.live())
    return not workers or any(
        sizing.plan(run.sizing, context=run.context, slots=1, room=worker.memory_bytes, kv_type=settings.KV_CACHE_TYPE)
        for worker in workers
    )


# --- the life of a replica ------------------------------------------------------------------------------------------


def over(before: datetime) -> QuerySet[Replica]:
    """Idle replicas whose time was up, and drained ones."""
    idle = Replica.objects.loaded().exclude(runs__state__in=ACTIVE)
    return idle.filter(Q(state=ReplicaState.DRAINING) | Q(expires_at__lte=before))


def expire() -> list[Replica]:
    """Marks those that are over to be unloaded. Call under the lock."""
    expired = list(over(timezone.now()).select_related("worker"))
    Replica.objects.filter(pk__in=[replica.pk for replica in expired]).update(state=ReplicaState.UNLOADING)
    return expired


def mark_gone(replicas: Iterable[Replica], *, why: str) -> None:
    Replica.objects.filter(pk__in=[replica.pk for replica in replicas]).update(
        state=ReplicaState.GONE, ended_at=timezone.now(), ended_why=why, expires_at=None
    )


def late(before: datetime) -> QuerySet[Run]:
    """Runs admitted before that and not started since: START_GRACE later their task was lost."""
    return Run.objects.filter(state=RunState.ADMITTED, admitted_at__lt=before)
