"""Tiny GGUF files of a few kilobytes: sound heads, random weights. They are read, never run."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy
from gguf import GGUFWriter

logging.getLogger("gguf").setLevel(logging.WARNING)

CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
TOOLS_TEMPLATE = "{% if tools %}{{ tools }}{% endif %}" + CHAT_TEMPLATE


def tiny(**about: Any) -> bytes:
    """A whole file; `about` is what `tiny_parts` takes, but for `tensors`."""
    (data,) = tiny_parts(**about).values()
    return data


def tiny_parts(
    *,
    tensors: int = 0,
    architecture: str = "llama",
    template: str = TOOLS_TEMPLATE,
    vocabulary: int = 1500,
    file_type: int = 15,
    seed: int = 0,
    extra: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """The file split into files of so many tensors each, by name; 0 splits nothing. `extra` adds metadata: strings,
    whole numbers, truth values and lists of them."""
    with tempfile.TemporaryDirectory() as folder:
        writer = GGUFWriter(Path(folder) / "tiny.gguf", architecture, split_max_tensors=tensors)
        _describe(writer, template, vocabulary, file_type)
        for key, value in (extra or {}).items():
            _add(writer, key, value)
        numbers = numpy.random.default_rng(seed)
        for name, shape in (("token_embd.weight", (vocabulary, 8)), ("blk.0.attn_q.weight", (8, 8)), ("norm", (8,))):
            writer.add_tensor(name, numbers.random(shape, dtype=numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _describe(writer: GGUFWriter, template: str, vocabulary: int, file_type: int) -> None:
    writer.add_name("Tiny One")
    writer.add_context_length(2048)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1000000.0)
    writer.add_file_type(file_type)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token {number}" for number in range(vocabulary)])
    writer.add_token_types([1] * vocabulary)
    writer.add_array("tiny.short", [1, 2, 3])
    if template:
        writer.add_chat_template(template)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
