"""What /api/show and /api/tags tell of a model, as plain dictionaries in the contract's key order (section 11).

Times stay datetimes: the doors write them. Keys that the contract leaves out when empty are left out here.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import blobs, capabilities, gguf, manifest, modelfile, names, parameters, resolve
from apps.registry.gguf import Gguf, LongArray
from apps.registry.manifest import Document
from apps.registry.modelfile import Command
from apps.registry.models import Manifest, Model

_HIDDEN = ("general.name", "tokenizer.chat_template")


def listing(user: User) -> list[dict[str, Any]]:
    """Every model that `user` may see, newest first to the second."""
    models = list(Model.objects.visible_to(user).select_related("manifest").defer("manifest__texts"))
    shown = names.shorten((model.full_name for model in models), user.username)
    models.sort(key=lambda model: (-int(model.modified_at.timestamp()), shown[model.full_name]))
    return [_entry(model, shown[model.full_name]) for model in models]


def details(row: Manifest) -> dict[str, Any]:
    """The six fields that show, tags and ps have in common."""
    config = row.config
    level = config.get("file_type") or ""
    if level in ("", "unknown"):
        level = capabilities.quantization(row.info.get("general.file_type"))
    return {
        "parent_model": next((layer.source for layer in row.document.of_type(manifest.WEIGHTS)), ""),
        "format": config.get("model_format") or "",
        "family": config.get("model_family") or "",
        "families": config.get("model_families"),
        "parameter_size": config.get("model_type") or "",
        "quantization_level": level,
    }


def describe(
    model: Model,
    *,
    user: User,
    verbose: bool = False,
    system: str = "",
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole reply of /api/show. `system` and `options` stand in for, and add to, what is stored."""
    row = model.manifest
    texts = {**row.texts, **({"system": system} if system else {})}
    params = {**texts.get("params", {}), **(options or {})}
    document = row.document
    weights = _read(document, manifest.WEIGHTS, verbose)
    projector = _read(document, manifest.PROJECTOR, verbose)
    reply = {
        "license": "\n".join(texts.get("license", [])),
        "modelfile": _modelfile(resolve.short(model, user), row.config, texts, params),
        "parameters": parameters.table(params),
        "template": texts.get("template") or row.info.get("tokenizer.chat_template", ""),
        "system": texts.get("system", ""),
        "details": details(row),
        "messages": [{"role": line.get("role", ""), "content": line.get("content", "")} for line in _messages(texts)],
        "model_info": model_info(weights) if weights else {},
        "projector_info": model_info(projector) if projector else {},
        "tensors": [{"name": it.name, "type": it.type, "shape": list(it.shape)} for it in _tensors(weights)],
        "capabilities": list(row.capabilities),
        "modified_at": model.modified_at,
        "requires": row.config.get("requires") or "",
        "remote_model": row.config.get("remote_model") or "",
        "remote_host": row.config.get("remote_host") or "",
    }
    always = ("modelfile", "details", "model_info", "modified_at")
    return {key: value for key, value in reply.items() if value or key in always}


def model_info(found: Gguf) -> dict[str, Any]:
    """The metadata under its own keys, sorted; arrays that were stepped over are None."""
    kept = {key: value for key, value in found.metadata.items() if key not in _HIDDEN}
    kept["general.parameter_count"] = found.parameter_count
    return {key: None if isinstance(kept[key], LongArray) else kept[key] for key in sorted(kept)}


def _entry(model: Model, name: str) -> dict[str, Any]:
    row = model.manifest
    entry = {
        "name": name,
        "model": name,
        "modified_at": model.modified_at,
        "size": row.size,
        "digest": row.digest,
        "details": {**details(row), **_lengths(row)},
    }
    optional = {
        "capabilities": list(row.capabilities),
        "remote_model": row.config.get("remote_model"),
        "remote_host": row.config.get("remote_host"),
    }
    return {**entry, **{key: value for key, value in optional.items() if value}}


def _lengths(row: Manifest) -> dict[str, int]:
    found = {
        key: row.config.get(key) or row.info.get(f"{row.architecture}.{key}")
        for key in ("context_length", "embedding_length")
    }
    return {key: value for key, value in found.items() if isinstance(value, int) and value}


def _modelfile(name: str, config: Mapping[str, Any], texts: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """As Ollama prints it, but FROM names the model: a path on the server's disk would help nobody."""
    commands = [Command("from", name), Command("template", texts.get("template") or modelfile.DEFAULT_TEMPLATE)]
    commands += [Command("system", texts["system"])] if texts.get("system") else []
    commands += [Command(word, str(config[word])) for word in ("renderer", "parser") if config.get(word)]
    commands += [Command("parameter", parameters.bare(value), key) for key, value in parameters.lines(params)]
    commands += [Command("license", text) for text in texts.get("license", [])]
    commands += [Command("message", line.get("content", ""), line.get("role", "")) for line in _messages(texts)]
    heading = '# Modelfile generated by "ollama show"\n# To build a new Modelfile based on this, replace FROM with:\n'
    return f"{heading}# FROM {name}\n\n{modelfile.dump(commands)}"


def _messages(texts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [line for line in texts.get("messages", []) if isinstance(line, dict)]


def _tensors(found: Gguf | None) -> tuple[gguf.Tensor, ...]:
    return found.tensors if found else ()


def _read(document: Document, media_type: str, verbose: bool) -> Gguf | None:
    """The head of the first layer of this type. Heads without long arrays are kept: a digest's never changes."""
    layer = next(iter(document.of_type(media_type)), None)
    if layer is None:
        return None
    try:
        return gguf.read(blobs.path(layer.digest), verbose=True) if verbose else _head(layer.digest)
    except FileNotFoundError:
        raise Problem("unavailable", f"the file of layer {layer.digest} is not on this host") from None


@lru_cache(maxsize=32)
def _head(digest: str) -> Gguf:
    return gguf.read(blobs.path(digest))
