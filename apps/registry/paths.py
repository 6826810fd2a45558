"""Every path of the store, which is private to the server's user (0700) and drawn here:

<DATA>/store/
  blobs/
    sha256-<64 hex>      a whole blob, 0644: a runner that has dropped its rights reads it by its descriptor
  incoming/
    <random>             bytes on their way in, locked (flock) by the process that writes them
<DATA>/cache/
  starter/               the starter model's parts and file, which can be fetched again
"""

import os
from pathlib import Path

from django.conf import settings

from apps.registry import digests


def store() -> Path:
    return Path(settings.DATA) / "store"


def blob(digest: str) -> Path:
    return store() / "blobs" / f"sha256-{digests.hexadecimal(digest)}"


def blobs() -> Path:
    return _made(store() / "blobs")


def incoming() -> Path:
    return _made(store() / "incoming")


def cache() -> Path:
    return _made(Path(settings.DATA) / "cache")


def _made(folder: Path) -> Path:
    """`folder`, created private if it is missing. Modes of folders that exist are left alone."""
    if not folder.is_dir():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def sync(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
