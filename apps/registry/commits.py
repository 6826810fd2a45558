"""Gives a name its manifest: the one transaction in which a model appears or is replaced."""

from django.db import transaction
from django.utils import timezone

from apps import audit
from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import contents, digests, garbage, locks, manifest
from apps.registry.manifest import Document
from apps.registry.models import Blob, Layer, Manifest, Model
from apps.registry.resolve import Target


def commit(*, body: bytes, target: Target, actor: User | None, action: str = "model.create") -> Model:
    """Makes `target` mean the manifest `body`, whose blobs must all be in the store.

    What the library gets is published. The manifest that is replaced is collected once no model uses it.
    Raises Problem("invalid") when a blob is missing.
    """
    document = manifest.parse(body)
    require_blobs(document)
    read = contents.read(document)
    with transaction.atomic():
        digest = digests.hexadecimal(digests.of(body))
        locks.hold(f"manifest {digest}", _key(target))
        require_blobs(document)
        row = Manifest.objects.filter(digest=digest).first() or _record(body, digest, document, read)
        return point(target, row, actor=actor, action=action)


def point(target: Target, row: Manifest, *, actor: User | None, action: str) -> Model:
    """Makes `target` mean `row`. To be called in a transaction that keeps `row` from being collected.

    Raises Problem("conflict") when the name has got another owner since `target` was resolved.
    """
    locks.hold(_key(target))
    model = Model.objects.named(target.name).select_for_update().first()
    if model is None:
        model = _new(target)
    elif (model.owner_user, model.owner_group) != (target.owner_user, target.owner_group):
        raise Problem("conflict", f"'{model}' was taken by somebody else meanwhile")
    elif model.manifest_id != row.pk:
        replaced = model.manifest_id
        transaction.on_commit(lambda: garbage.release(replaced), robust=True)
    model.manifest = row
    model.modified_at = timezone.now()
    model.save()
    audit.record(actor=actor, action=action, target=str(model), detail={"digest": row.digest})
    return model


def require_blobs(document: Document) -> None:
    """Locks (inside a transaction) and touches every blob of the manifest, so that none is collected meanwhile."""
    wanted = {layer.digest for layer in (document.config, *document.layers)}
    with transaction.atomic():
        rows = Blob.objects.filter(digest__in=wanted).order_by("digest").select_for_update(no_key=True)
        missing = sorted(wanted - {row.digest for row in rows})
        if missing:
            raise Problem("invalid", f'blob "{missing[0]}" not found')
        Blob.objects.filter(digest__in=wanted).update(touched_at=timezone.now())


def _key(target: Target) -> str:
    return f"model {target.name.full().lower()}"


def _new(target: Target) -> Model:
    name = target.name
    return Model(
        host=name.host,
        namespace=name.namespace,
        name=name.model,
        tag=name.tag,
        owner_user=target.owner_user,
        owner_group=target.owner_group,
        published=target.owner_user is None and target.owner_group is None,
    )


def _record(body: bytes, digest: str, document: Document, read: contents.Contents) -> Manifest:
    row = Manifest.objects.create(
        digest=digest,
        body=body,
        size=document.size,
        config_blob_id=document.config.digest,
        config=read.config,
        texts=read.texts,
        info=read.info,
        capabilities=list(read.capabilities),
    )
    Layer.objects.bulk_create(
        Layer(manifest=row, position=position, media_type=layer.media_type, blob_id=layer.digest)
        for position, layer in enumerate(document.layers)
    )
    return row
