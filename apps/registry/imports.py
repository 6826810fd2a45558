"""Models of an Ollama installation on this machine: its folder holds `manifests/<host>/<namespace>/<model>/<tag>` and
`blobs/sha256-<hex>` (wire contract, section 16). They keep their registry as host and become the library's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from apps.errors import Problem
from apps.registry import blobs, commits, digests, manifest
from apps.registry.models import Model
from apps.registry.names import ModelName
from apps.registry.resolve import Target


@dataclass(frozen=True)
class Found:
    name: ModelName
    file: Path


def hint(folder: str | Path) -> str | None:
    """A sentence for whoever has an Ollama folder with models in it and does not know that they can be brought over."""
    count = sum(1 for _ in found(Path(folder).expanduser()))
    if not count:
        return None
    models = "model" if count == 1 else "models"
    return f"{count} {models} of Ollama in {folder} can be brought over: manage.py import_models {folder}"


def found(folder: Path) -> Iterator[Found]:
    """Every manifest whose path spells a name. A folder that cannot be read holds none."""
    root = folder / "manifests"
    for file in sorted(root.glob("*/*/*/*")):
        name = _name(file.relative_to(root).parts)
        if name is not None and file.is_file():
            yield Found(name, file)


def bring(one: Found, *, folder: Path, report: Callable[[str], None]) -> bool:
    """Copies one model, checking every hash. False when it was here already.

    Raises Problem when a file is missing or not what its name says.
    """
    body = one.file.read_bytes()
    present = Model.objects.named(one.name).select_related("manifest").first()
    if present is not None and present.manifest.digest == digests.hexadecimal(digests.of(body)):
        return False
    document = manifest.parse(body)
    for layer in (document.config, *document.layers):
        report(f"{one.name.short()}: {layer.digest} ({layer.size} bytes)")
        blobs.write(_file(folder, layer.digest), expected=layer.digest, user=None)
    commits.commit(body=body, target=Target(one.name), actor=None, action="model.import")
    return True


def _name(parts: tuple[str, ...]) -> ModelName | None:
    host, namespace, model, tag = parts
    try:
        return ModelName.parse(f"{host}/{namespace}/{model}:{tag}")
    except Problem:
        return None


def _file(folder: Path, digest: str) -> Iterator[bytes]:
    plain = folder / "blobs" / f"sha256-{digests.hexadecimal(digest)}"
    for file in (plain, plain.with_name(digest)):
        if file.is_file():
            return blobs.file_chunks(file)
    raise Problem("invalid", f"{plain} is missing")
