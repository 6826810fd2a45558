"""Manifests and configs (wire contract, section 16): verbatim bytes in, dataclasses out, and back. Pure.

The digest of a model is the sha256 of its manifest's bytes, so what was received is kept byte for byte.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.errors import Problem
from apps.registry import digests

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
WEIGHTS = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
ADAPTER = "application/vnd.ollama.image.adapter"
TEMPLATE = "application/vnd.ollama.image.template"
PROMPT = "application/vnd.ollama.image.prompt"  # the older name of TEMPLATE
SYSTEM = "application/vnd.ollama.image.system"
PARAMS = "application/vnd.ollama.image.params"
MESSAGES = "application/vnd.ollama.image.messages"
LICENSE = "application/vnd.ollama.image.license"

MAX_BYTES = 4 * 1024 * 1024
MAX_LAYERS = 4096


@dataclass(frozen=True)
class Layer:
    """`source` is the model a layer was taken from ("from" on the wire), `name` a tensor's file."""

    media_type: str
    digest: str
    size: int
    source: str = ""
    name: str = ""

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return data | ({"from": self.source} if self.source else {}) | ({"name": self.name} if self.name else {})

    @classmethod
    def from_data(cls, data: Any) -> "Layer":
        if not isinstance(data, dict):
            raise Problem("invalid", "the manifest is broken: a layer is not an object")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise Problem("invalid", "the manifest is broken: a layer has no size")
        media_type, source, name = (str(data.get(key) or "") for key in ("mediaType", "from", "name"))
        return cls(media_type, digests.parse(str(data.get("digest"))), size, source, name)


@dataclass(frozen=True)
class Document:
    """A manifest's content. `size` is what the model list shows: all layers and the config, in bytes."""

    config: Layer
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        return self.config.size + sum(layer.size for layer in self.layers)

    def of_type(self, *media_types: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.media_type in media_types]

    def dump(self) -> bytes:
        return compact(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.config.as_data(),
                "layers": [layer.as_data() for layer in self.layers],
            }
        )


def compact(value: Any) -> bytes:
    """JSON as Ollama writes layers: no blanks, one newline at the end, half surrogates replaced."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def parse(body: bytes) -> Document:
    """Raises Problem("invalid") on anything that is not a manifest with a config."""
    data = load(body, what="manifest")
    layers = data.get("layers") or []
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise Problem("invalid", "the manifest is broken: its layers are no list, or too many")
    return Document(Layer.from_data(data.get("config")), tuple(Layer.from_data(layer) for layer in layers))


def load(body: bytes, *, what: str) -> dict[str, Any]:
    """A JSON object of at most MAX_BYTES."""
    if len(body) > MAX_BYTES:
        raise Problem("invalid", f"the {what} is longer than {MAX_BYTES} bytes")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("invalid", f"the {what} is not JSON") from None
    if not isinstance(data, dict):
        raise Problem("invalid", f"the {what} is not a JSON object")
    return data


CONFIG_KEYS = (
    "model_format", "model_family", "model_families", "model_type", "file_type", "renderer", "parser", "requires",
    "remote_host", "remote_model", "capabilities", "context_length", "embedding_length", "base_name", "draft",
)  # fmt: skip
_ALWAYS = {"model_format", "model_family", "model_families", "model_type", "file_type"}


def dump_config(config: Mapping[str, Any]) -> bytes:
    """The config layer's bytes, keys in Ollama's order, empty optional ones left out."""
    kept = {key: config.get(key) for key in CONFIG_KEYS if key in _ALWAYS or config.get(key)}
    return compact({**kept, "architecture": "amd64", "os": "linux"})
