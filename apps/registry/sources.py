"""What a model is made out of: another model, uploaded GGUF or safetensors files, adapters (contract, section 8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import adapters, blobs, capabilities, converting, gguf, manifest, merging, quantizing, resolve
from apps.registry.gguf import Gguf
from apps.registry.manifest import Layer
from apps.registry.specs import CreateSpec

Check = Callable[[], None]


@dataclass(frozen=True)
class Steps:
    """Whom a create tells what it does: `report(status, **fields)`; `check` raises where it shall stop."""

    report: Callable[..., None]
    check: Check


@dataclass
class Draft:
    """A manifest in the making. `config` is the config layer's content, `texts` the base's small layers, `made` the
    digests of layers that were not there before."""

    layers: list[Layer] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)

    @property
    def weights(self) -> Layer:
        found = next((layer for layer in self.layers if layer.media_type == manifest.WEIGHTS), None)
        if found is None:
            raise Problem("invalid", "no base model was found")
        return found


def from_model(spec: CreateSpec, user: User, steps: Steps) -> Draft:
    """The base's layers, each noting where it came from; then what is asked to be done to them."""
    try:
        base = resolve.find(spec.from_, user)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        steps.report("pulling manifest")
        raise Problem("not_found", "pull model manifest: file does not exist", status=500) from None
    source, row = resolve.short(base, user), base.manifest
    layers = [replace(layer, source=source) for layer in row.document.layers]
    draft = Draft(layers, row.config, row.texts)
    if spec.quantize:
        _quantize_layer(draft, spec, steps)
    return draft


def from_files(spec: CreateSpec, user: User | None, steps: Steps) -> Draft:
    files = spec.files or {}
    if is_safetensors(files):
        _require(files, user)
        return _from_safetensors(spec, files, steps)
    draft = _from_ggufs(files, user, steps)
    if spec.quantize:
        _quantize_layer(draft, spec, steps)
    return draft


def add_adapter(draft: Draft, spec: CreateSpec, user: User | None, steps: Steps) -> None:
    """Behind the base's own layers. Raises Problem("invalid") for one that does not fit the base."""
    if not spec.adapters:
        return
    base = gguf.read(blobs.path(draft.weights.digest))
    if is_safetensors(spec.adapters):
        _require(spec.adapters, user)
        steps.report("converting adapter")
        stored = blobs.produce(
            lambda output: converting.convert(spec.adapters, output=output, check=steps.check, base=base),
            check=steps.check,
        )
        digest, size = stored.digest, stored.size
        draft.made |= {digest} if stored.created else set()
    else:
        if len(spec.adapters) > 1:
            raise Problem("invalid", "only one adapter is currently supported")
        ((name, digest),) = spec.adapters.items()
        found = _parsed(name, digest, user, steps)
        if merging.is_part(found):
            raise Problem("invalid", f"{name} is a part of a split GGUF file: merge it first")
        size = found.size
    adapters.check(gguf.read(blobs.path(digest)), base)
    last = max(index for index, layer in enumerate(draft.layers) if layer.media_type in _BINARY)
    draft.layers.insert(last + 1, Layer(manifest.ADAPTER, digest, size))


def is_safetensors(files: Mapping[str, str]) -> bool:
    return any(name.lower().endswith(".safetensors") for name in files)


_BINARY = (manifest.WEIGHTS, manifest.PROJECTOR, manifest.ADAPTER)


def _from_ggufs(files: Mapping[str, str], user: User | None, steps: Steps) -> Draft:
    given = {name: (digest, _parsed(name, digest, user, steps)) for name, digest in sorted(files.items())}
    parts = {name: (digest, found) for name, (digest, found) in given.items() if merging.is_part(found)}
    made: set[str] = set()
    if parts:
        name, stored = _merged(parts, steps)
        made |= {stored.digest} if stored.created else set()
        whole = {name: (stored.digest, gguf.read(blobs.path(stored.digest)))}
        given = whole | {name: one for name, one in given.items() if name not in parts}
    layers, models = [], []
    for name, (digest, found) in given.items():
        if found.metadata.get("general.type") == "adapter":
            raise Problem("invalid", f"{name} is an adapter: name it under adapters, and its base under from or files")
        projector = found.architecture == "clip"
        layers.append(Layer(manifest.PROJECTOR if projector else manifest.WEIGHTS, digest, found.size))
        models += [] if projector else [found]
    if len(models) != 1:
        raise Problem("invalid", f"a model is made of one GGUF file with weights; {len(models)} were given")
    layers.sort(key=lambda layer: layer.media_type != manifest.WEIGHTS)
    return Draft(layers, _config(models[0], models[0].file_type), {}, made)


def _merged(parts: Mapping[str, tuple[str, Gguf]], steps: Steps) -> tuple[str, blobs.Stored]:
    """The name of the first part and the file that they make."""
    names = merging.in_order({name: found for name, (_, found) in parts.items()})
    paths = [blobs.path(parts[name][0]) for name in names]
    steps.report("merging split GGUF")
    stored = blobs.produce(lambda output: merging.merge(paths, output=output, check=steps.check), check=steps.check)
    return names[0], stored


def _from_safetensors(spec: CreateSpec, files: Mapping[str, str], steps: Steps) -> Draft:
    """With `quantize` the converted file is only in between, and gone as soon as the smaller one is there."""
    steps.report("converting model")
    wanted = quantizing.named(spec.quantize)
    with blobs.scratch() as between:
        file_type = converting.convert(files, output=between, check=steps.check)
        found = gguf.read(Path(between.name))
        if not wanted or wanted == file_type:
            stored = blobs.keep(between, check=steps.check)
        else:
            stored = _quantized(Path(between.name), found, file_type, wanted, steps)
            file_type = wanted
    config = _config(found, file_type)
    made = {stored.digest} if stored.created else set()
    return Draft([Layer(manifest.WEIGHTS, stored.digest, stored.size)], config, {}, made)


def _quantize_layer(draft: Draft, spec: CreateSpec, steps: Steps) -> None:
    """The weights of the draft in another type. Those that have it already stay."""
    layer, wanted = draft.weights, quantizing.named(spec.quantize)
    found = gguf.read(blobs.path(layer.digest))
    before = quantizing.source_type(found, str(draft.config.get("file_type") or ""))
    if before == wanted:
        return
    stored = _quantized(blobs.path(layer.digest), found, before, wanted, steps)
    draft.layers[draft.layers.index(layer)] = replace(layer, digest=stored.digest, size=stored.size)
    draft.made |= {stored.digest} if stored.created else set()
    draft.config = {**draft.config, "file_type": wanted}


def _quantized(source: Path, found: Gguf, before: str, wanted: str, steps: Steps) -> blobs.Stored:
    def make(output: FileIO) -> None:
        quantizing.quantize(
            source, found, output=output, before=before, wanted=wanted, report=steps.report, check=steps.check
        )

    return blobs.produce(make, check=steps.check)


def _config(found: Gguf, file_type: str) -> dict[str, Any]:
    return {
        "model_format": "gguf",
        "model_family": found.architecture,
        "model_families": [found.architecture],
        "model_type": capabilities.parameter_text(found.parameter_count),
        "file_type": file_type,
    }


def _require(files: Mapping[str, str], user: User | None) -> None:
    for digest in files.values():
        if not blobs.has(digest, user):
            raise _absent(digest)


def _parsed(name: str, digest: str, user: User | None, steps: Steps) -> Gguf:
    """Reads one file's head. Raises Problem for what is not there, no GGUF, or of a kind that is not served."""
    known = name.lower().endswith(".gguf")
    present = blobs.has(digest, user)
    if not known and not (present and _is_gguf(digest)):
        raise Problem("invalid", "unknown type")
    steps.report("parsing GGUF")
    if not present:
        raise _absent(digest)
    found = gguf.read(blobs.path(digest))
    if not found.architecture and not merging.is_part(found):  # the first part has it for all
        raise Problem("invalid", f"{name} does not say its architecture (general.architecture)")
    return found


def _absent(digest: str) -> Problem:
    return Problem("invalid", f'blob "{digest}" not found')


def _is_gguf(digest: str) -> bool:
    with blobs.path(digest).open("rb") as file:
        return file.read(4) == b"GGUF"
