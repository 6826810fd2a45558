"""Start, load, unload, cancel: the only way in to inference, for the API and the chat alike."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from apps.accounts.access import Access
from apps.accounts.models import User
from apps.compiled import insert
from apps.errors import Problem
from apps.inference import commands, endings, keepalive, layers, placement
from apps.inference.layers import BATCH, EMBEDS_ONLY, LAYERS, SEES
from apps.inference.models import ACTIVE, Replica, ReplicaState, Run, RunState
from apps.inference.publishing import publish
from apps.inference.types import LoadOptions, Request
from apps.registry import manifest
from apps.registry.models import Blob, Layer, Model
from apps.registry.resolve import Version
from apps.streams import log as event_log

BUSY = "server busy, please try again.  maximum pending requests exceeded"
LOAD = "load"
SIGHTED_CONTEXT = 2048  # tokens; an image takes hundreds of them
FAR = datetime.max.replace(tzinfo=UTC)
FREE_OPTIONS = LoadOptions()


@dataclass(frozen=True)
class Loaded:
    """A replica as /api/ps shows it."""

    replica: Replica
    model: Model


def start(*, access: Access, version: Version, request: Request, request_id: str = "", reader: str = "") -> Run:
    """Stores the request, queues it and admits what can be admitted. The answer is in the log `run.log_id`.

    Errors: busy when the queue is full, invalid when no worker could ever hold the model.
    """
    run = _describe(access, version, request.load, request.keep_alive)
    run.kind, run.request_id, run.reader = request.kind, request_id, reader
    run.request = json.dumps(commands.stored(request, version))
    return _enter(run)


def load(
    *,
    access: Access,
    version: Version,
    load: LoadOptions,
    keep_alive: float | None,
    request_id: str = "",
    reader: str = "",
) -> Run:
    """A run that ends as soon as a replica of this version is ready."""
    run = _describe(access, version, load, keep_alive)
    run.kind, run.request_id, run.reader = LOAD, request_id, reader
    return _enter(run)


def _describe(access: Access, version: Version, load: LoadOptions, keep_alive: float | None) -> Run:
    return Run(
        id=uuid.uuid4(),
        user=access.user,
        key_id=access.key_id if access.how == "key" else None,
        model=version.name,
        version=version.digest,
        weights=_key(version),
        context=_context(version, load),
        options=_named(load) | _layers(version),
        sizing=_sizing(version, load),
        keep_alive=_allowed(access, keep_alive),
    )


def _context(version: Version, load: LoadOptions) -> int:
    """In tokens: what was asked for within what the model was trained for, and enough for images where it takes any
    (the wire contract, section 5)."""
    trained = int(version.info.get(f"{version.info.get('general.architecture')}.context_length") or 0)
    wanted = max(load.num_ctx or settings.CONTEXT_LENGTH, SIGHTED_CONTEXT if version.projectors else 0)
    return max(4, min(wanted, trained) if trained else wanted)


def _key(version: Version) -> str:
    return layers.key(version.weights, (*version.adapters, *version.projectors))


def _layers(version: Version) -> dict[str, Any]:
    """What a replica of this version must be loaded with, whatever the caller chose."""
    chosen: dict[str, Any] = {name: " ".join(getattr(version, name)) for name in LAYERS if getattr(version, name)}
    return chosen | ({EMBEDS_ONLY: True} if _embeds_only(version) else {})


def _embeds_only(version: Version) -> bool:
    return "embedding" in version.capabilities and "completion" not in version.capabilities


def _sizing(version: Version, load: LoadOptions) -> dict[str, Any]:
    digests = (*version.adapters, *version.projectors)
    size = Blob.objects.filter(digest__in=digests).aggregate(bytes=Sum("size"))["bytes"] if digests else 0
    own = {"weights_size": version.weights_size, "layer_bytes": size or 0, EMBEDS_ONLY: _embeds_only(version)}
    return {**version.info, **own, SEES: bool(version.projectors), BATCH: load.num_batch}


def _named(load: LoadOptions) -> dict[str, Any]:
    """The load options that the caller chose; one left at its default is served by any replica."""
    chosen: Mapping[str, Any] = vars(load)
    free: Mapping[str, Any] = vars(FREE_OPTIONS)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in chosen.items()
        if name != "num_ctx" and value != free[name]
    }


def _allowed(access: Access, keep_alive: float | None) -> float | None:
    """A keep-alive as this caller may set it: only an admin's outlasts CORRAL_MAX_KEEP_ALIVE."""
    if keep_alive is None or access.is_admin:
        return keep_alive
    longest = keepalive.parse_setting(settings.MAX_KEEP_ALIVE)
    if longest < 0:
        return keep_alive
    return longest if keep_alive < 0 else min(keep_alive, longest)


def _enter(run: Run) -> Run:
    creating = event_log.default().creating(run.log_id, owner=run.user_id, ttl=settings.RUN_TTL_SECONDS)
    try:
        with transaction.atomic():
            with creating:
                board, _ = placement.look()
            outcome = board.admit(run)  # the log is there: from here on a commit promises nothing that is not
            insert(run, commit=run.state != RunState.QUEUED)
            if run.state == RunState.QUEUED:
                _check_it_may_wait(run)
    except redis.exceptions.RedisError as error:
        raise Problem("unavailable", "The event log is away for the moment; try again.", retry_after=2) from error
    publish(outcome)
    return run


def _check_it_may_wait(run: Run) -> None:
    if not placement.can_ever_fit(run):
        raise Problem("invalid", f"No worker has the memory for {run.model} with a context of {run.context} tokens.")
    if Run.objects.queued().count() > settings.MAX_QUEUE:
        raise Problem("busy", BUSY, retry_after=1)


def cancel(run_id: str | uuid.UUID, *, why: str) -> None:
    """Asks for the end of a run, at any time, any number of times. One that still waits ends at once."""
    with transaction.atomic():
        placement.lock()
        run = Run.objects.select_for_update().filter(pk=run_id).open().first()
        if run is None:
            return
        waiting = run.state == RunState.QUEUED
        if waiting:
            endings.close(run, error=why)
    if waiting:
        endings.tell_as_reaper(run, Problem("cancelled", "request canceled"))
    else:
        event_log.default().cancel(run.log_id)


def _is_other(replica: Replica, model: Model) -> bool:
    """Whether this is not the name that the replica was loaded by, as its loader typed it or might have."""
    return replica.model not in model.full_name.forms(model.namespace)


def unload(*, access: Access, version: Version) -> None:
    """Unloads the idle replicas of these weights; one that only the caller's own runs use goes when they end.

    An admin's word also ends the stay of a replica that others use, once their runs have ended.
    """
    with transaction.atomic():
        placement.lock()
        for replica in Replica.objects.present().filter(weights=_key(version)).exclude(state=ReplicaState.UNLOADING):
            _let_go(replica, access)
        over = placement.expire()
    publish(placement.Outcome(reconcile={replica.worker.queue for replica in over}))


def _let_go(replica: Replica, access: Access) -> None:
    others = replica.runs.filter(state__in=ACTIVE).exclude(user=access.user).exists()
    if others and not access.is_admin:
        return
    replica.keep_alive = 0
    replica.expires_at = None if replica.runs.filter(state__in=ACTIVE).exists() else timezone.now()
    replica.save(update_fields=["keep_alive", "expires_at"])


def loaded(user: User) -> list[Loaded]:
    """The loaded replicas, each under a name that exists and that this user may see: the one it was loaded by, if it is
    still there, else another of the same version, else of the same weights. Who stays longest comes first."""
    replicas = list(Replica.objects.loaded())
    digests = {replica.weights_blob for replica in replicas}
    rows = Layer.objects.filter(media_type=manifest.WEIGHTS, blob__in=digests)
    weights_of = dict(rows.values_list("manifest_id", "blob_id"))
    named: dict[str, list[Model]] = {}
    for model in Model.objects.visible_to(user).filter(manifest__in=weights_of).select_related("manifest"):
        named.setdefault(weights_of[model.manifest_id], []).append(model)
        named.setdefault(model.manifest.digest, []).append(model)
    pairs = [(replica, named.get(replica.version) or named.get(replica.weights_blob, [])) for replica in replicas]
    shown = [Loaded(replica, min(models, key=partial(_is_other, replica))) for replica, models in pairs if models]
    return sorted(shown, key=lambda row: row.replica.expires_at or FAR, reverse=True)
