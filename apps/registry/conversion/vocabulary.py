"""What every kind of tokenizer becomes: the tokens in the order of their ids, and how texts are cut into them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gguf import GGUFWriter, TokenType

from apps.errors import Problem
from apps.registry.conversion.config import MAX_VOCABULARY

MAX_MERGES = 4_000_000


@dataclass(frozen=True)
class Vocabulary:
    """`model` is llama.cpp's kind: "gpt2" (byte-level BPE), "llama" (sentencepiece's BPE) or "bert" (WordPiece).

    `types` are gguf's TokenType. `pre` names the pattern that splits a text before BPE. `flags` go under
    `tokenizer.ggml.` as they are; `begins` says whether a prompt begins with the first special token, None where the
    tokenizer does not say.
    """

    model: str
    tokens: list[str]
    types: list[int]
    pre: str = "default"
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    flags: Mapping[str, bool] = field(default_factory=dict)
    begins: bool | None = None

    def padded(self, rows: int) -> "Vocabulary":
        """As many tokens as the embedding has rows; those that nobody can write are called [PAD<id>]."""
        count = len(self.tokens)
        if count > rows:
            raise Problem("invalid", f"the tokenizer has {count} tokens, the embedding {rows} rows")
        return replace(
            self,
            tokens=self.tokens + [f"[PAD{number}]" for number in range(count, rows)],
            types=self.types + [TokenType.UNUSED] * (rows - count),
            scores=self.scores + [-10000.0] * (rows - count) if self.scores else [],
        )

    def write(self, writer: GGUFWriter) -> None:
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list([token.encode("utf-8", "replace") for token in self.tokens])
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        for name, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{name}", value)


def numbered(vocabulary: Any) -> dict[int, str]:
    """A tokenizer.json's `vocab` by ids."""
    if not isinstance(vocabulary, dict) or not vocabulary or len(vocabulary) > MAX_VOCABULARY:
        raise wrong("its vocab is no object, empty or too large")
    if not all(_is_id(number) for number in vocabulary.values()):
        raise wrong("an id in its vocab is no whole number below 2,000,000")
    return {number: token for token, number in vocabulary.items()}


def added(tokenizer: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
    """id -> text and whether it is special, of a tokenizer.json's `added_tokens`."""
    entries = tokenizer.get("added_tokens") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise wrong("its added_tokens are no list")
    found = {}
    for entry in entries:
        number, content = entry.get("id"), entry.get("content")
        if not _is_id(number) or not isinstance(content, str):
            raise wrong("one of its added_tokens has no id or content")
        found[number] = (content, entry.get("special") is True)
    return found


def laid_out(
    tokens: Mapping[int, str], extra: Mapping[int, tuple[str, bool]], types: Mapping[int, int]
) -> tuple[list[str], list[int]]:
    """Tokens and types in the order of the ids; gaps become unused tokens. Special ones are controls, others of
    `extra` are taken from a text as they stand."""
    size = max([*tokens, *extra], default=-1) + 1
    texts = [f"[PAD{number}]" for number in range(size)]
    kinds: list[int] = [TokenType.UNUSED] * size
    for number, token in tokens.items():
        texts[number], kinds[number] = token, types.get(number, TokenType.NORMAL)
    for number, (content, special) in extra.items():
        texts[number] = content
        kinds[number] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    return texts, kinds


def merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A tokenizer.json's merges, in either of their two spellings."""
    given = model.get("merges")
    if not isinstance(given, list) or len(given) > MAX_MERGES:
        raise wrong("its merges are no list, or too many")
    return [_pair(merge) for merge in given]


def steps(part: Any) -> Iterable[Mapping[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or post-processor: itself, or what a Sequence holds."""
    if not isinstance(part, dict):
        return ()
    for key in ("pretokenizers", "normalizers", "processors"):
        if isinstance(part.get(key), list):
            return [step for step in part[key] if isinstance(step, dict)]
    return (part,)


def begins(tokenizer: Mapping[str, Any]) -> bool | None:
    """Whether the post-processor puts a special token before a text; None where it has no template."""
    for step in steps(tokenizer.get("post_processor")):
        single = step.get("single")
        if step.get("type") == "TemplateProcessing" and isinstance(single, list) and single:
            return isinstance(single[0], dict) and "SpecialToken" in single[0]
    return None


def wrong(why: str, name: str = "tokenizer.json") -> Problem:
    return Problem("invalid", f"{name} cannot be converted: {why}")


def _pair(merge: Any) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
        raise wrong("one of its merges is no pair of texts")
    return parts[0], parts[1]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_VOCABULARY
