"""The files that a model was sent as: names and open descriptors, read within bounds."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from apps.errors import Problem
from apps.registry.conversion import safetensors
from apps.registry.conversion.safetensors import Tensor

MAX_JSON_BYTES = 64 * 1024 * 1024  # a tokenizer.json of 262,144 tokens has 33 MiB
MAX_TEXT_BYTES = 16 * 1024 * 1024
INDEX = "model.safetensors.index.json"


class Source:
    """`files` maps a name, as the client gave it, to a descriptor that is open for reading."""

    def __init__(self, files: Mapping[str, int]) -> None:
        self._files = dict(files)

    def has(self, name: str) -> bool:
        return name in self._files

    def json(self, name: str, *, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
        """The object in the file `name`, or an empty one where it was not sent."""
        value = self.value(name, limit=limit)
        if not isinstance(value, dict):
            raise Problem("invalid", f"{name} is not a JSON object")
        return value

    def value(self, name: str, *, limit: int = MAX_JSON_BYTES) -> Any:
        """As `json`, for a file that may hold a list."""
        if not self.has(name):
            return {}
        try:
            return json.loads(self.bytes(name, limit=limit))
        except (ValueError, RecursionError):
            raise Problem("invalid", f"{name} is not JSON") from None

    def text(self, name: str) -> str:
        """The file's text, or nothing where it was not sent."""
        return self.bytes(name, limit=MAX_TEXT_BYTES).decode("utf-8", "replace") if self.has(name) else ""

    def bytes(self, name: str, *, limit: int) -> bytes:
        file = self._files[name]
        size = os.fstat(file).st_size
        if size > limit:
            raise Problem("invalid", f"{name} is longer than {limit} bytes")
        return os.pread(file, size, 0)

    def tensors(self) -> dict[str, Tensor]:
        """Those of all safetensors files together. Raises Problem("invalid") where one is there twice or a file is
        missing that the index names."""
        names = sorted(name for name in self._files if name.lower().endswith(".safetensors"))
        self._require_shards(names)
        found: dict[str, Tensor] = {}
        for name in names:
            for key, tensor in safetensors.read(self._files[name], name).items():
                if key in found:
                    raise Problem("invalid", f"tensor {key!r} is there twice, the second time in {name}")
                found[key] = tensor
        return found

    def _require_shards(self, names: list[str]) -> None:
        mapped = self.json(INDEX).get("weight_map", {})
        wanted = set(mapped.values()) if isinstance(mapped, dict) else set()
        for name in names:
            if shard := re.fullmatch(r"(.+)-(\d{5})-of-(\d{5})\.safetensors", name):
                wanted |= {
                    f"{shard[1]}-{number:05}-of-{shard[3]}.safetensors" for number in range(1, int(shard[3]) + 1)
                }
        missing = sorted(str(name) for name in wanted - set(names))
        if missing:
            raise Problem("invalid", f"{missing[0]} is missing; {len(missing)} of the model's files were not sent")
