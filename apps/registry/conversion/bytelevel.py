"""Byte-level BPE (GPT-2's), out of tokenizer.json: Llama 3, Qwen, SmolLM. Pure.

llama.cpp knows the patterns that split a text before BPE by name. The names here are found by the pattern itself; a
pattern that is not in the table is refused, as another one would cut texts where the model was not trained to.
"""

from collections.abc import Mapping
from typing import Any

from apps.registry.conversion.vocabulary import Vocabulary, added, begins, laid_out, merges, numbered, steps, wrong

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AROUND = (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = {
    r"\p{N}{1,3}".join(_AROUND): "llama-bpe",
    r"\p{N}".join(_AROUND): "qwen2",
}


def read(tokenizer: Mapping[str, Any]) -> Vocabulary:
    """Raises Problem("invalid") for a tokenizer.json of another kind."""
    model = tokenizer["model"]
    texts, kinds = laid_out(numbered(model.get("vocab")), added(tokenizer), {})
    return Vocabulary(
        model="gpt2",
        tokens=texts,
        types=kinds,
        pre=pattern(tokenizer.get("pre_tokenizer")),
        merges=[f"{left} {right}" for left, right in merges(model)],
        begins=begins(tokenizer),
    )


def pattern(part: Any) -> str:
    """llama.cpp's name of what splits a text."""
    kinds = list(steps(part))
    for step in kinds:
        if step.get("type") == "Split":
            given = step.get("pattern")
            text = given.get("Regex") if isinstance(given, dict) else None
            if text not in PATTERNS:
                raise wrong(f"its pre-tokenizer's pattern is not known: {str(text)[:200]}")
            return PATTERNS[text]
    names = [step.get("type") for step in kinds]
    if names == ["ByteLevel"] and kinds[0].get("add_prefix_space") is not True:
        return "gpt-2"
    if names == ["Digits", "ByteLevel"] and kinds[0].get("individual_digits") is True:
        return "smollm"
    raise wrong(f"its pre-tokenizer is not known: {names}")
