"""What a manifest's blobs say: its config, its small layers, its weights' metadata, and what the model can do."""

import json
from dataclasses import dataclass
from typing import Any

from apps.errors import Problem
from apps.registry import blobs, capabilities, gguf, manifest
from apps.registry.manifest import Document, Layer


@dataclass(frozen=True)
class Contents:
    """`texts` has the keys system, template, params, messages and license, each only if there is such a layer."""

    config: dict[str, Any]
    texts: dict[str, Any]
    info: dict[str, Any]
    capabilities: tuple[str, ...]


def read(document: Document) -> Contents:
    """Raises Problem("invalid") for a layer that is not what its media type says."""
    config = manifest.load(_bytes(document.config), what="config")
    texts = _texts(document)
    info = _info(document)
    projectors = [gguf.read(blobs.path(layer.digest)).metadata for layer in document.of_type(manifest.PROJECTOR)]
    words = capabilities.derive(config=config, metadata=info, template=texts.get("template", ""), projectors=projectors)
    return Contents(config, texts, info, words)


def _info(document: Document) -> dict[str, Any]:
    weights = document.of_type(manifest.WEIGHTS)
    if not weights:
        return {}
    found = gguf.read(blobs.path(weights[0].digest))
    return {**found.scalars(), "parameter_count": found.parameter_count}


def _texts(document: Document) -> dict[str, Any]:
    texts: dict[str, Any] = {}
    for layer in document.of_type(manifest.SYSTEM):
        texts["system"] = _text(layer)
    for layer in document.of_type(manifest.TEMPLATE, manifest.PROMPT):
        texts["template"] = _text(layer)
    for layer in document.of_type(manifest.PARAMS):
        texts["params"] = manifest.load(_bytes(layer), what="params layer")
    for layer in document.of_type(manifest.MESSAGES):
        texts["messages"] = _messages(layer)
    licenses = [_text(layer) for layer in document.of_type(manifest.LICENSE)]
    return texts | ({"license": licenses} if licenses else {})


def _messages(layer: Layer) -> list[dict[str, Any]]:
    try:
        messages = json.loads(_bytes(layer))
    except (ValueError, RecursionError):
        messages = None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Problem("invalid", "the messages layer is not a list of messages")
    return messages


def _text(layer: Layer) -> str:
    return _bytes(layer).decode("utf-8", "replace")


def _bytes(layer: Layer) -> bytes:
    if layer.size > manifest.MAX_BYTES:
        raise Problem("invalid", f"a layer of type {layer.media_type} is longer than {manifest.MAX_BYTES} bytes")
    return blobs.path(layer.digest).read_bytes()
