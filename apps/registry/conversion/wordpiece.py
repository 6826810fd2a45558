"""BERT's WordPiece: out of tokenizer.json or vocab.txt. Pure.

llama.cpp marks the beginning of a word where the file marks its continuation: `##ing` becomes `ing`, `the` becomes
`\u2581the`; special tokens stay as they are.
"""

from collections.abc import Mapping
from typing import Any

from gguf import TokenType

from apps.registry.conversion.config import MAX_VOCABULARY
from apps.registry.conversion.vocabulary import Vocabulary, added, laid_out, numbered, steps, wrong

_WORD = "\u2581"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read(tokenizer: Mapping[str, Any], settings: Mapping[str, Any]) -> Vocabulary:
    """`settings` are tokenizer_config.json's."""
    model = tokenizer["model"]
    if model.get("continuing_subword_prefix", "##") != "##":
        raise wrong("its words do not continue with ##")
    normal = next((step for step in steps(tokenizer.get("normalizer")) if step.get("type") == "BertNormalizer"), {})
    return _vocabulary(numbered(model.get("vocab")), added(tokenizer), {**_as_normalizer(settings), **normal})


def from_lines(text: str, settings: Mapping[str, Any]) -> Vocabulary:
    """vocab.txt: one token a line, its number is its id."""
    tokens = {number: line.rstrip("\r") for number, line in enumerate(text.removesuffix("\n").split("\n"))}
    if not text or len(tokens) > MAX_VOCABULARY:
        raise wrong("it is empty or too long", "vocab.txt")
    return _vocabulary(tokens, {}, _as_normalizer(settings))


def _vocabulary(
    tokens: Mapping[int, str], extra: Mapping[int, tuple[str, bool]], normalizer: Mapping[str, Any]
) -> Vocabulary:
    if normalizer.get("handle_chinese_chars", True) is not True:
        raise wrong("it does not part Chinese characters, as llama.cpp always does")
    types: dict[int, int] = {number: TokenType.CONTROL for number, token in tokens.items() if token in _SPECIAL}
    texts, kinds = laid_out(tokens, extra, types)
    lower = normalizer.get("lowercase", True) is not False
    accents = normalizer.get("strip_accents")
    return Vocabulary(
        model="bert",
        tokens=[_marked(text) if kind == TokenType.NORMAL else text for text, kind in zip(texts, kinds, strict=True)],
        types=kinds,
        flags={
            "normalizer.lowercase": lower,
            "normalizer.strip_accents": accents if isinstance(accents, bool) else lower,
        },
        begins=True,
    )


def _as_normalizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json's words for what tokenizer.json calls a normalizer."""
    names = {"do_lower_case": "lowercase", "strip_accents": "strip_accents"}
    return {name: settings[key] for key, name in names.items() if settings.get(key) is not None} | {
        "handle_chinese_chars": settings.get("tokenize_chinese_chars", True)
    }


def _marked(token: str) -> str:
    return token[2:] if token.startswith("##") else _WORD + token
