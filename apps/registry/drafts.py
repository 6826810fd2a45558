"""How a model is made out of another, or out of uploaded files (wire contract, section 8)."""

from collections.abc import Callable, Iterator
from typing import Any

from apps.accounts.models import User
from apps.registry import blobs, commits, manifest, modelfile, sources
from apps.registry.manifest import Document, Layer
from apps.registry.models import Model
from apps.registry.resolve import Target
from apps.registry.sources import Draft, Steps
from apps.registry.specs import CreateSpec

_REPLACED_BY = {
    manifest.TEMPLATE: "template",
    manifest.PROMPT: "template",
    manifest.SYSTEM: "system",
    manifest.PARAMS: "parameters",
    manifest.MESSAGES: "messages",
}


def build(
    *,
    spec: CreateSpec,
    user: User | None,
    target: Target,
    report: Callable[..., None],
    check: Callable[[], None] = lambda: None,
) -> Model:
    """Makes the model and says each step: `report(status)`, while quantising with digest, total and completed.

    What `report` and `check` raise ends it, and nothing but garbage is left; `check` is called at least every
    fraction of a second. `user` None is the server itself (the starter model), which may use every blob and has no
    models to build from.
    """
    steps = Steps(report, check)
    draft = sources.from_model(spec, user, steps) if spec.from_ and user else sources.from_files(spec, user, steps)
    sources.add_adapter(draft, spec, user, steps)
    additions = list(_additions(spec, draft))
    dropped = {kind for kind in _REPLACED_BY if _REPLACED_BY[kind] in {name for name, _, _ in additions}}
    draft.layers = [layer for layer in draft.layers if layer.media_type not in dropped]
    for layer in draft.layers:
        report(f"{'creating new' if layer.digest in draft.made else 'using existing'} layer {layer.digest}")
    for _, media_type, content in additions:
        draft.layers.append(_small_layer(media_type, content, user, draft.layers, report))
    config = manifest.dump_config(_config(spec, draft.config))
    config_layer = Layer(manifest.CONFIG, blobs.write_bytes(config, user=None).digest, len(config))
    report("writing manifest")
    body = Document(config_layer, tuple(dict.fromkeys(draft.layers))).dump()
    model = commits.commit(body=body, target=target, actor=user)
    report("success")
    return model


def _additions(spec: CreateSpec, draft: Draft) -> Iterator[tuple[str, str, bytes]]:
    """The new layers in the contract's order (template, system, licences, params, messages): the spec's field, the
    media type, the bytes."""
    if spec.template and (spec.template.strip() != modelfile.DEFAULT_TEMPLATE or draft.texts.get("template")):
        # What show prints where there is no template counts as none, unless there is one that it replaces.
        yield "template", manifest.TEMPLATE, spec.template.encode("utf-8", "replace")
    if spec.system:
        yield "system", manifest.SYSTEM, spec.system.encode("utf-8", "replace")
    for license_ in spec.licenses:
        yield "licenses", manifest.LICENSE, license_.encode("utf-8", "replace")
    if spec.parameters:
        merged = {**draft.texts.get("params", {}), **spec.parameters}
        yield "parameters", manifest.PARAMS, manifest.compact(dict(sorted(merged.items())))
    if spec.messages:
        yield "messages", manifest.MESSAGES, manifest.compact(list(spec.messages))


def _small_layer(
    media_type: str, content: bytes, user: User | None, present: list[Layer], report: Callable[..., None]
) -> Layer:
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
