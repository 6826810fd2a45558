"""Safetensors -> GGUF: starts the process that reads them (apps/registry/conversion) on blobs of the store."""

from collections.abc import Callable, Mapping
from io import FileIO
from typing import Any, Final

from apps.errors import Problem
from apps.registry import blobs, children
from apps.registry.gguf import Gguf

Check = Callable[[], None]

MAX_FILES: Final = 512
_MODULE = "apps.registry.conversion"
_MEMORY_BYTES = 6 * 1024**3  # a tokenizer of 262,144 tokens, and copies of one tensor
_HEAD_BYTES = 256 * 1024**2  # what a GGUF may have beside the tensors


def convert(files: Mapping[str, str], *, output: FileIO, check: Check, base: Gguf | None = None) -> str:
    """Writes the model (an adapter of `base`, where that is given) in `files` (name -> digest) into `output`.

    Returns the type of most of its numbers: F32, F16 or BF16. Raises Problem with a sentence for what cannot be
    converted.
    """
    if len(files) > MAX_FILES:
        raise Problem("invalid", f"a model is made of {MAX_FILES} files at most; {len(files)} were given")
    paths = {name: blobs.path(digest) for name, digest in files.items()}
    more: dict[str, Any] = {"base": _heads(base)} if base else {}
    done = children.run(
        _MODULE,
        files=paths,
        output=output,
        output_bytes=2 * sum(path.stat().st_size for path in paths.values()) + _HEAD_BYTES,
        memory_bytes=_MEMORY_BYTES,
        heard=lambda name: None,
        check=check,
        **more,
    )
    return str(done["file_type"])


def _heads(base: Gguf) -> dict[str, Any]:
    """What an adapter must know of its base."""
    architecture = base.architecture
    heads = base.metadata.get(f"{architecture}.attention.head_count")
    shared = base.metadata.get(f"{architecture}.attention.head_count_kv", heads)
    if not isinstance(heads, int) or not isinstance(shared, int):
        raise Problem("invalid", "the base model does not say how many heads it has")
    return {"architecture": architecture, "heads": heads, "kv_heads": shared}
