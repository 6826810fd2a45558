"""Which kind of tokenizer was sent, and the vocabulary that it becomes."""

from typing import Any

from apps.errors import Problem
from apps.registry.conversion import bytelevel, sentencepiece, wordpiece
from apps.registry.conversion.source import MAX_TEXT_BYTES, Source
from apps.registry.conversion.vocabulary import Vocabulary, wrong


def read(source: Source) -> Vocabulary:
    """Raises Problem("invalid") where there is none, or one of a kind that llama.cpp does not have."""
    tokenizer = source.json("tokenizer.json")
    settings = source.json("tokenizer_config.json")
    model = tokenizer.get("model")
    if source.has(sentencepiece.NAME):
        return sentencepiece.read(source.bytes(sentencepiece.NAME, limit=MAX_TEXT_BYTES), tokenizer)
    if isinstance(model, dict):
        return _from_json(tokenizer, model, settings)
    if source.has("vocab.txt"):
        return wordpiece.from_lines(source.text("vocab.txt"), settings)
    raise Problem("invalid", "no tokenizer was sent: tokenizer.json, tokenizer.model or vocab.txt")


def _from_json(tokenizer: dict[str, Any], model: dict[str, Any], settings: dict[str, Any]) -> Vocabulary:
    kind = model.get("type")
    if kind == "WordPiece":
        return wordpiece.read(tokenizer, settings)
    if kind == "BPE":
        return sentencepiece.from_json(tokenizer) if model.get("byte_fallback") is True else bytelevel.read(tokenizer)
    raise wrong(f"its kind is {kind!r}; BPE and WordPiece can be converted")
