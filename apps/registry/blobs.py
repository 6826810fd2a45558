"""The store of bytes: content-addressed files, each with a row.

A blob is written to `incoming/` while it is hashed, fsynced, renamed into place, and then gets its row. The rename and
the row happen under the blob's lock, and so does the removal in garbage.py, so neither can meet the other half-way.
What is killed before the row leaves a file that nothing names; garbage.py removes it.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import digests, locks, paths
from apps.registry.models import Blob, Possession

CHUNK_BYTES = 2 * 1024 * 1024  # a huge page: Linux keeps what is written by these in memory so, and maps it so
TOUCH_EVERY = timedelta(seconds=30)


@dataclass(frozen=True)
class Stored:
    """`created` is False when the user could name the blob before, so that nothing was read."""

    digest: str
    size: int
    created: bool


def path(digest: str) -> Path:
    """Where the blob's bytes are, or would be. Raises Problem("invalid") for what is no digest."""
    return paths.blob(digests.parse(digest))


def has(digest: str, user: User | None) -> bool:
    """Whether `user` may name this blob (None: the server itself), and counts as touching it."""
    rows = Blob.objects.all() if user is None else Blob.objects.usable_by(user)
    row = rows.filter(digest=digests.parse(digest)).first()
    if row is None:
        return False
    if row.touched_at < timezone.now() - TOUCH_EVERY:
        Blob.objects.filter(pk=row.pk).update(touched_at=timezone.now())
    return True


def write(stream: Iterable[bytes], *, expected: str, user: User | None) -> Stored:
    """Takes in a blob's bytes; unread when `user` may name it already.

    Raises Problem "invalid" when the bytes hash to something else, "no_space" when they do not fit; whatever the
    stream raises passes through. In each case nothing is left behind.
    """
    digest = digests.parse(expected)
    if has(digest, user) and paths.blob(digest).exists():
        return Stored(digest, paths.blob(digest).stat().st_size, created=False)
    with _no_space(), scratch() as file:
        found, size = _fill(file, stream)
        if found != digest:
            raise Problem("invalid", f'digest mismatch, expected "{digest}", got "{found}"')
        _commit(file, digest, size, user)
    return Stored(digest, size, created=True)


def write_bytes(content: bytes, *, user: User | None) -> Stored:
    """A small blob made here. It gives nobody possession: who sees the model may use it."""
    digest = digests.of(content)
    known = has(digest, user)
    write([content], expected=digest, user=None)
    return Stored(digest, len(content), created=not known)


def produce(make: Callable[[FileIO], object], *, check: Callable[[], None]) -> Stored:
    """A blob that is made here: `make` fills the file, and another process may do it. It gives nobody possession.

    What `make` and `check` raise passes through and leaves nothing behind; a full disk is a Problem "no_space".
    """
    with scratch() as file:
        with _no_space():
            make(file)
        return keep(file, check=check)


def keep(file: FileIO, *, check: Callable[[], None]) -> Stored:
    """Makes a file of `scratch` a blob, after hashing it; `check` is called now and then."""
    hasher = hashlib.sha256()
    with _no_space():
        for chunk in file_chunks(Path(file.name)):
            check()
            hasher.update(chunk)
        digest, size = f"sha256:{hasher.hexdigest()}", os.fstat(file.fileno()).st_size
        known = Blob.objects.filter(pk=digest).exists()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file)
        _let_go(file)
        _commit(file, digest, size, None)
    return Stored(digest, size, created=not known)


def chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """A `read(n)` as a stream for `write`."""
    while chunk := read(CHUNK_BYTES):
        yield chunk


def file_chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        yield from chunks(file.read)


@contextmanager
def scratch() -> Iterator[FileIO]:
    """A new locked file of the store, gone afterwards unless it was renamed. Unbuffered: closing it writes nothing."""
    path = paths.incoming() / secrets.token_hex(16)
    try:
        with _opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    finally:
        path.unlink(missing_ok=True)


def _opened(path: Path) -> FileIO:
    return path.open("xb", buffering=0)


@contextmanager
def _no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem("no_space", "no space is left on the server's disk for this file") from error


def _fill(file: FileIO, stream: Iterable[bytes]) -> tuple[str, int]:
    """Writes the stream to the file, in whole chunks however it comes. Returns its digest and size in bytes."""
    hasher, pending = hashlib.sha256(), bytearray()
    for chunk in stream:
        hasher.update(chunk)
        pending += chunk
        if whole := len(pending) // CHUNK_BYTES * CHUNK_BYTES:
            _write_all(file, pending[:whole])
            del pending[:whole]
    _write_all(file, pending)
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file)
    return f"sha256:{hasher.hexdigest()}", file.tell()


def _write_all(file: FileIO, content: bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _let_go(file: FileIO) -> None:
    """Of a file that somebody wrote in pieces of other sizes: when it is read again it lies in huge pages."""
    if sys.platform == "linux":
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _commit(file: FileIO, digest: str, size: int, user: User | None) -> None:
    with transaction.atomic():
        locks.hold(f"blob {digest}")
        target = paths.blobs() / paths.blob(digest).name
        if not target.exists() or target.stat().st_size != size:
            os.rename(file.name, target)
            paths.sync(target.parent)
        blob, _ = Blob.objects.update_or_create(digest=digest, defaults={"size": size, "touched_at": timezone.now()})
        if user is not None:
            Possession.objects.get_or_create(blob=blob, user=user)
