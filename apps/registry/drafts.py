"""How a model is made out of another, or out of uploaded files (wire contract, section 8)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import blobs, capabilities, commits, gguf, manifest, resolve
from apps.registry.manifest import Document, Layer
from apps.registry.models import Model
from apps.registry.resolve import Target
from apps.registry.specs import CreateSpec

Progress = Callable[[str], None]

_REPLACED_BY = {manifest.SYSTEM: "system", manifest.PARAMS: "parameters", manifest.MESSAGES: "messages"}


@dataclass
class _Draft:
    """A manifest in the making. `config` is the config layer's content, `params` the base's options."""

    layers: list[Layer] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)


def build(*, spec: CreateSpec, user: User | None, target: Target, report: Progress) -> Model:
    """Makes the model and says each step; what `report` raises ends it, and nothing but garbage is left.

    `user` None is the server itself (the starter model), which may use every blob and has no models to build from.
    """
    draft = _from_model(spec, user, report) if spec.from_ and user else _from_files(spec, user, report)
    for layer in draft.layers:
        report(f"using existing layer {layer.digest}")
    for media_type, content in _additions(spec, draft):
        draft.layers.append(_small_layer(media_type, content, user, draft.layers, report))
    config = manifest.dump_config(_config(spec, draft.config))
    config_layer = Layer(manifest.CONFIG, blobs.write_bytes(config, user=None).digest, len(config))
    report("writing manifest")
    body = Document(config_layer, tuple(dict.fromkeys(draft.layers))).dump()
    model = commits.commit(body=body, target=target, actor=user)
    report("success")
    return model


def _from_model(spec: CreateSpec, user: User, report: Progress) -> _Draft:
    """The base's layers but for the kinds that are replaced, each noting where it came from."""
    try:
        base = resolve.find(spec.from_, user)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        report("pulling manifest")
        raise Problem("not_found", "pull model manifest: file does not exist", status=500) from None
    _refuse_quantize(spec, base.manifest.config)
    source = resolve.short(base, user)
    document = base.manifest.document
    dropped = {kind for kind, field_name in _REPLACED_BY.items() if getattr(spec, field_name)}
    layers = [replace(layer, source=source) for layer in document.layers if layer.media_type not in dropped]
    return _Draft(layers, base.manifest.config, base.manifest.texts.get("params", {}))


def _refuse_quantize(spec: CreateSpec, config: dict[str, Any]) -> None:
    if not spec.quantize:
        return
    if config.get("file_type") not in ("F16", "BF16", "F32"):
        raise Problem("invalid", "quantization is only supported for F16, BF16 and F32 models", status=500)
    raise Problem("invalid", "this server does not serve quantize yet")


def _from_files(spec: CreateSpec, user: User | None, report: Progress) -> _Draft:
    draft = _Draft()
    models = []
    for name, digest in sorted((spec.files or {}).items()):
        found = _parsed(name, digest, user, report)
        projector = found.architecture == "clip"
        draft.layers.append(Layer(manifest.PROJECTOR if projector else manifest.WEIGHTS, digest, found.size))
        models += [] if projector else [found]
    if len(models) != 1:
        raise Problem("invalid", f"a model is made of one GGUF file with weights; {len(models)} were given")
    draft.layers.sort(key=lambda layer: layer.media_type != manifest.WEIGHTS)
    draft.config = {
        "model_format": "gguf",
        "model_family": models[0].architecture,
        "model_families": [models[0].architecture],
        "model_type": capabilities.parameter_text(models[0].parameter_count),
        "file_type": models[0].file_type,
    }
    _refuse_quantize(spec, draft.config)
    return draft


def _parsed(name: str, digest: str, user: User | None, report: Progress) -> gguf.Gguf:
    """Reads one file's head. Raises Problem for what is not there, no GGUF, or of a kind that is not served."""
    known = name.lower().endswith(".gguf")
    present = blobs.has(digest, user)
    if not known and not (present and _is_gguf(digest)):
        raise Problem("invalid", "unknown type")
    report("parsing GGUF")
    if not present:
        raise Problem("invalid", f'blob "{digest}" not found')
    found = gguf.read(blobs.path(digest))
    if not found.architecture:
        raise Problem("invalid", f"{name} does not say its architecture (general.architecture)")
    if found.metadata.get("general.type") == "adapter":
        raise Problem("invalid", "this server does not serve ADAPTER yet")
    if found.metadata.get("split.count", 0) not in (0, 1):
        raise Problem("invalid", "this server does not serve split GGUF files yet: merge them first")
    return found


def _is_gguf(digest: str) -> bool:
    with blobs.path(digest).open("rb") as file:
        return file.read(4) == b"GGUF"


def _additions(spec: CreateSpec, draft: _Draft) -> Iterator[tuple[str, bytes]]:
    """The new layers in the contract's order: system, licences, params, messages."""
    if spec.system:
        yield manifest.SYSTEM, spec.system.encode("utf-8", "replace")
    for license_ in spec.licenses:
        yield manifest.LICENSE, license_.encode("utf-8", "replace")
    if spec.parameters:
        merged = {**draft.params, **spec.parameters}
        yield manifest.PARAMS, manifest.compact(dict(sorted(merged.items())))
    if spec.messages:
        yield manifest.MESSAGES, manifest.compact(list(spec.messages))


def _small_layer(media_type: str, content: bytes, user: User | None, present: list[Layer], report: Progress) -> Layer:
    stored = blobs.write_bytes(content, user=user)
    report(f"{'creating new' if stored.created else 'using existing'} layer {stored.digest}")
    same = next((layer for layer in present if (layer.media_type, layer.digest) == (media_type, stored.digest)), None)
    return same or Layer(media_type, stored.digest, stored.size)


def _config(spec: CreateSpec, base: dict[str, Any]) -> dict[str, Any]:
    info = spec.info
    named = {
        "renderer": spec.renderer,
        "parser": spec.parser,
        "requires": spec.requires,
        "model_family": info.get("model_family"),
        "base_name": info.get("base_name"),
        "file_type": info.get("quantization_level"),
        "model_type": info.get("parameter_size"),
        "context_length": int(info.get("context_length", 0)),
        "embedding_length": int(info.get("embedding_length", 0)),
    }
    words = [*(base.get("capabilities") or ()), *info.get("capabilities", ())]
    return {**base, **{key: value for key, value in named.items() if value}, "capabilities": list(dict.fromkeys(words))}
