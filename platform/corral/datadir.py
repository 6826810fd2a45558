"""The data folder and its private corners.

    <CORRAL_DATA>/
      VERSION          which layout this is; another one is refused
      secrets.json     generated once: Django's key, the embedded servers' passwords   0600
      bin/             copies of the embedded servers' binaries (only when started as root)
      postgres/        PGDATA of the embedded PostgreSQL
      valkey/          append-only file of the embedded Valkey
      run/             lock, process records, sockets and logs of `manage.py up`
      store/           model bytes (apps/registry/paths.py draws what is inside)
      cache/           downloads that can be fetched again

The embedded servers' sockets live in `run/sockets`, or, as socket paths are short by law (107 bytes), in a
private folder under /tmp.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

VERSION = "1"
SOCKET_PATH_LIMIT = 100
SECRET_NAMES = ("django", "postgres", "valkey")
ROOM_FOR_A_FIRST_START = 256 * 1024 * 1024  # bytes: an empty cluster, its first log segments, the binaries' copies
ROOM_FOR_A_START = 48 * 1024 * 1024


class DataError(ImproperlyConfigured):
    """Why the data folder cannot be used: a sentence for the person who started the server."""


def default_root() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/corral")
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "corral"


def sentence(error: OSError) -> str:
    """What the operating system refused, said for a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk is full: there is no room left for {error.filename or 'the data folder'}."
    return f"{error.filename or 'The data folder'} cannot be used: {error.strerror or error}."


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns what the operating system refuses inside the block into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(sentence(error)) from error


def make_private(folder: Path, mode: int = 0o700) -> Path:
    """Creates `folder` (and what is missing above it) without touching the mode of any folder that exists."""
    if folder.is_dir():
        return folder
    make_private(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(mode)  # mkdir's own mode would be cut by the umask
    return folder


def make_root(root: Path) -> Path:
    """The data folder. As root, others may pass through it and see nothing: the servers run as another user."""
    if os.geteuid() != 0:
        return make_private(root)
    make_private(root, 0o711)
    mode = stat.S_IMODE(root.stat().st_mode)
    if not mode & stat.S_IXOTH:
        root.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)
    return root


def make_run(root: Path) -> Path:
    """`run/`: the servers' user passes through it to the sockets."""
    return make_private(make_root(root) / "run", 0o711 if os.geteuid() == 0 else 0o700)


def load_secrets(root: Path) -> dict[str, str]:
    """The folder's secrets, generated at the first call. Two first calls at once agree on one file."""
    path = root / "secrets.json"
    with refusals():
        if not path.exists():
            _write_secrets(path)
        loaded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _write_secrets(path: Path) -> None:
    fresh = {name: secrets.token_urlsafe(32) for name in SECRET_NAMES}
    handle, temporary = tempfile.mkstemp(dir=make_root(path.parent), prefix=".secrets-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(fresh, file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike rename, refuses to replace the file of a faster first call
    finally:
        os.unlink(temporary)


def check_version(root: Path) -> None:
    """Marks a new data folder with its layout; refuses one whose layout is another."""
    path = root / "VERSION"
    with refusals():
        if not path.exists():
            path.write_text(f"{VERSION}\n", encoding="utf-8")
        found = path.read_text(encoding="utf-8").strip()
    if found != VERSION:
        raise DataError(
            f"The data folder {root} has layout {found or 'unknown'}, this Corral reads layout {VERSION}: "
            "start the Corral that made it, or point CORRAL_DATA at another folder."
        )


def check_room(root: Path, *, needed: int) -> None:
    """Refuses a start that would run into a full disk. `needed` is in bytes."""
    with refusals():
        free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"The disk is full: {root} has {free // 2**20} MB left, and {needed // 2**20} MB are needed to start."
        )


def socket_folder(root: Path) -> Path:
    """Where the embedded servers listen: `run/sockets`, or a short private folder when that path is too long.

    Not under TMPDIR: every process of this folder must find the same place, whatever its environment.
    """
    inside = root / "run" / "sockets"
    if len(os.fsencode(inside / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
        return inside
    tag = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return Path("/tmp") / f"corral-{os.geteuid()}-{tag}"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds this data folder for one `manage.py up`. The lock dies with its process, whatever kills it."""
    path = root / "run" / "lock"
    with refusals():
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise DataError(f"Corral already runs on {root}, as process {holder}.") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
