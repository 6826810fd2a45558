"""tags, ps, show, create, copy, delete: which models there are, and changing that."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from apps.accounts.models import User
from apps.accounts.permissions import CanManageModels, SignedIn
from apps.api.ollama import lookup, modelfiles
from apps.api.ollama.bodies import CopyRequest, CreateRequest, DeleteRequest, ShowRequest
from apps.api.ollama.renderers import JobRenderer, json_reply
from apps.api.ollama.views.blobs import bare
from apps.api.ollama.views.door import Door, read, user_of
from apps.inference import keepalive, runs
from apps.registry import copies, creates, deletes, resolve, show
from apps.streams import jobs
from apps.streams.pending import PendingStream


class Tags(Door):
    permission_classes = (SignedIn,)
    http_method_names = ["head", "get"]

    def get(self, request: Request) -> HttpResponse:
        return json_reply({"models": show.listing(user_of(request))})


class Running(Door):
    """What is loaded right now, as far as the caller may see it."""

    permission_classes = (SignedIn,)
    http_method_names = ["get"]

    def get(self, request: Request) -> HttpResponse:
        user = user_of(request)
        return json_reply({"models": [_loaded(row, user) for row in runs.loaded(user)]})


class Show(Door):
    permission_classes = (SignedIn,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        body = read(ShowRequest, request)
        typed = body.model or body.name
        model = lookup.model(typed, request, unnamed=lookup.required(), unknown=lookup.unknown_to_show)
        return json_reply(
            show.describe(model, user=user_of(request), verbose=body.verbose, system=body.system, options=body.options)
        )


class Create(Door):
    permission_classes = (CanManageModels,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        body = read(CreateRequest, request)
        job = creates.start(user=user_of(request), spec=modelfiles.spec_of(body))
        return PendingStream(
            job.log_id,
            JobRenderer(),
            streaming=body.stream is not False,
            on_abandon=lambda: jobs.cancel(job.id),
        )


class Copy(Door):
    permission_classes = (CanManageModels,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        body = read(CopyRequest, request)
        copies.copy(source=body.source, destination=body.destination, user=user_of(request))
        return bare(200)


class Delete(Door):
    permission_classes = (CanManageModels,)
    http_method_names = ["delete"]

    def delete(self, request: Request) -> HttpResponse:
        body = read(DeleteRequest, request)
        deletes.delete((body.model or body.name).strip(), user=user_of(request))
        return bare(200)


def _loaded(row: runs.Loaded, user: User) -> dict[str, Any]:
    """An entry of /api/ps. Sizes are memory, not the file's; while it is in use, expires_at is an estimate."""
    replica, name = row.replica, resolve.short(row.model, user)
    return {
        "name": name,
        "model": name,
        "size": replica.held_bytes,
        "digest": row.model.manifest.digest,
        "details": {**show.details(row.model.manifest), "parent_model": ""},
        "expires_at": replica.expires_at or keepalive.expiry(timezone.now(), replica.keep_alive),
        "size_vram": replica.vram_bytes,
        "context_length": replica.context,
    }
