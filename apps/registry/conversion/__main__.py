"""`python -m apps.registry.conversion`: turns one model or adapter into a GGUF, confined; apps/registry/converting.py
starts it and says there what is passed."""

import logging
from typing import Any

from gguf import GGUFWriter, LlamaFileType

from apps.errors import Problem
from apps.registry import confinement
from apps.registry.conversion import adapters, encoders, special, tokenizers, writing
from apps.registry.conversion.config import Config
from apps.registry.conversion.decoders import ARCHITECTURES, Decoder
from apps.registry.conversion.encoders import Encoder
from apps.registry.conversion.planning import Ready, matched, precision
from apps.registry.conversion.source import Source

_FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
}
_ENCODERS = ("BertModel", "BertForMaskedLM")


def convert(command: dict[str, Any], tell: confinement.Tell) -> dict[str, Any]:
    """`command` has `files` (name -> descriptor), `output` (a descriptor) and, for an adapter, `base`."""
    source = Source(command["files"])
    writer, ready = adapters.begin(source, command["base"]) if "base" in command else _model(source)
    writing.write(writer, ready, command["output"], lambda name: tell({"tensor": name}))
    return {"file_type": precision(ready)}


def _model(source: Source) -> tuple[GGUFWriter, list[Ready]]:
    config = Config(source.json("config.json"))
    tensors = source.tensors()
    architecture = _architecture(config, source, bert=any(name.startswith("bert.") for name in tensors))
    writer = GGUFWriter(None, architecture.name)
    writer.add_type("model")
    architecture.describe(config, writer)
    ready = matched(architecture.planned(config), tensors, architecture.ignores)
    writer.add_file_type(_FILE_TYPES[precision(ready)])
    vocabulary = tokenizers.read(source).padded(config.integer("vocab_size", most=2**31))
    vocabulary.write(writer)
    special.write(writer, source, vocabulary)
    if isinstance(architecture, Encoder):
        writer.add_token_type_count(config.integer("type_vocab_size", most=65536, default=2))
    return writer, ready


def _architecture(config: Config, source: Source, *, bert: bool) -> Decoder | Encoder:
    names = config.texts("architectures")
    for name in names:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
        if name in _ENCODERS:
            return Encoder(encoders.pooling(source), "bert." if bert else "")
    said = ", ".join(names) or "config.json does not say one"
    known = ", ".join([*ARCHITECTURES, *_ENCODERS])
    raise Problem("invalid", f"unsupported architecture {said}; these can be converted: {known}"[:1000])


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    confinement.serve(convert)
