"""Takes away what nothing names any more: manifests without a model, blobs without a manifest, files without a row."""

import fcntl
import time
from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from apps.registry import digests, locks, paths
from apps.registry.models import Blob, Layer, Manifest, Model

UPLOAD_GRACE = timedelta(hours=1)  # how long an uploaded blob waits for its create
RELEASE_GRACE = timedelta(
    minutes=1
)  # how long a blob that lost its model is spared, if somebody counts on it right now
INCOMING_GRACE_SECONDS = 5  # between a file's creation and its lock


def release(manifest_id: int) -> int:
    """Deletes the manifest unless a model uses it, and the blobs that only it used. Returns how many blobs went."""
    row = Manifest.objects.filter(pk=manifest_id).first()
    if row is None:
        return 0
    with transaction.atomic():
        locks.hold(f"manifest {row.digest}")
        if Model.objects.filter(manifest=row).exists():
            return 0
        layers = Layer.objects.filter(manifest=row).values_list("blob_id", flat=True)
        used = {row.config_blob_id, *layers}
        row.delete()
    return _collect_blobs(RELEASE_GRACE, only=used)


def collect() -> int:
    """Everything that is garbage on this server. Run at the start and then every hour. Returns how many blobs went."""
    for manifest_id in Manifest.objects.filter(models=None).values_list("pk", flat=True):
        release(manifest_id)
    gone = _collect_blobs(UPLOAD_GRACE)
    sweep_incoming()
    sweep_files()
    return gone


def sweep_incoming() -> int:
    """Removes what writers that died have left in incoming/: a file whose lock is free has no writer."""
    left = [file for file in paths.incoming().iterdir() if _is_abandoned(file)]
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


def sweep_files() -> int:
    """Removes files of the store that have no row: their writer died between the rename and the commit."""
    files = {digests.parse(file.name) for file in paths.blobs().iterdir() if digests.fits(file.name)}
    strays = files - set(Blob.objects.values_list("digest", flat=True))
    return sum(_remove(digest) for digest in strays)


def _collect_blobs(grace: timedelta, *, only: set[str] | None = None) -> int:
    """Rows first, then files: a row always has its file. Rows that a writer holds are left for the next time."""
    old = Blob.objects.unused().filter(touched_at__lt=timezone.now() - grace)
    chosen = old if only is None else old.filter(digest__in=only)
    with transaction.atomic():
        locked = [row.digest for row in chosen.order_by("digest").select_for_update(skip_locked=True)]
        # Asked again now that nobody can begin to use these: a layer may have been committed in between.
        doomed = list(old.filter(digest__in=locked).values_list("digest", flat=True))
        Blob.objects.filter(digest__in=doomed).delete()
    for digest in doomed:
        _remove(digest)
    return len(doomed)


def _remove(digest: str) -> bool:
    """Removes a blob's file unless it has a row again: the lock is the one under which blobs.py makes both."""
    with transaction.atomic():
        locks.hold(f"blob {digest}")
        file = paths.blob(digest)
        if Blob.objects.filter(pk=digest).exists() or not file.exists():
            return False
        file.unlink()
        return True


def _is_abandoned(file: Path) -> bool:
    try:
        with file.open("rb") as handle:
            if time.time() - file.stat().st_mtime < INCOMING_GRACE_SECONDS:
                return False
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except (BlockingIOError, FileNotFoundError):
        return False
