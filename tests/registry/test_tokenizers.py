"""Each kind of tokenizer, converted and then asked through llama.cpp."""

from pathlib import Path
from typing import Any

import pytest

from apps.errors import Problem
from apps.registry.conversion import bytelevel, sentencepiece, special, vocabulary, wordpiece
from apps.registry.conversion.source import Source
from tests.converting import convert
from tests.registry.checkpoints import (
    LLAMA3,
    QWEN2,
    SPECIAL,
    byte_level,
    decoder,
    sentence_json,
    sentence_model,
    sentence_pieces,
)
from tests.registry.native import Loaded, loaded

PIECES = [text for text, _, _ in sentence_pieces()]


def with_files(tmp_path: Path, **files: Any) -> Path:
    checkpoint = decoder("LlamaForCausalLM")
    checkpoint.files = files
    convert(checkpoint.save(tmp_path / "model"), tmp_path / "model.gguf")
    return tmp_path / "model.gguf"


def texts(model: Loaded, names: list[str], text: str, **how: Any) -> list[str]:
    return [names[token] for token in model.tokens(text, **how)]


@pytest.mark.parametrize(("pattern", "digits"), [(LLAMA3, [265]), (QWEN2, [49, 50])])
def test_byte_level_merges_and_special_tokens_are_found(pattern: str, digits: list[int], tmp_path: Path) -> None:
    settings = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "chat_template": "{{ messages }}"}
    path = with_files(tmp_path, **{"tokenizer.json": byte_level(pattern, bos=True), "tokenizer_config.json": settings})
    with loaded(path) as model:
        assert model.tokens("hello world<|end|>", special=True) == [266, 259, 264, 267]
        assert model.tokens("h", begin=False) == [104]
        assert model.tokens("12", begin=False) == digits
        assert model.ends(267)
        assert not model.ends(266)


@pytest.mark.parametrize("given", [True, False])
def test_the_tokenizers_own_word_decides_whether_a_prompt_begins_with_bos(given: bool, tmp_path: Path) -> None:
    settings = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "add_bos_token": given}
    path = with_files(tmp_path, **{"tokenizer.json": byte_level(), "tokenizer_config.json": settings})
    with loaded(path) as model:
        assert (model.tokens("h")[0] == 266) is given


def test_a_tokenizer_that_does_not_say_where_a_reply_ends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="do not say which token is eos_token"):
        with_files(tmp_path, **{"tokenizer.json": byte_level()})


def test_ends_may_be_told_by_number(tmp_path: Path) -> None:
    said = {"generation_config.json": {"eos_token_id": [267, 40]}, "tokenizer_config.json": {"eos_token": SPECIAL[1]}}
    path = with_files(tmp_path, **{"tokenizer.json": byte_level(), **said})
    with loaded(path) as model:
        assert [model.ends(token) for token in (267, 40, 41)] == [True, True, False]


@pytest.mark.parametrize("form", ["tokenizer.model", "tokenizer.json"])
@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_cuts_alike_from_both_files(form: str, prefix: bool, tmp_path: Path) -> None:
    pieces = sentence_pieces()
    content: Any = (sentence_model if form.endswith("model") else sentence_json)(pieces, prefix=prefix)
    settings = {"bos_token": "<s>", "eos_token": "</s>"}
    path = with_files(tmp_path, **{form: content, "tokenizer_config.json": settings})
    with loaded(path) as model:
        first = "\u2581hello" if prefix else "hello"
        assert texts(model, PIECES, "hello world") == ["<s>", first, "\u2581world"]
        assert texts(model, PIECES, "\u00e9", begin=False)[-2:] == ["<0xC3>", "<0xA9>"]
        assert texts(model, PIECES, "</s>", special=True)[-1] == "</s>"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no tokens"),
        (b"\x0a\xff\xff\xff\xff\x0f", "damaged"),
        (b"\xff" * 20, "damaged"),
        (b"\x0b", "damaged"),
        (b"\x0a\x02\x18\x63", "damaged"),
        (sentence_model(sentence_pieces(), kind=1), "only sentencepiece's BPE"),
    ],
)
def test_a_tokenizer_model_that_is_none_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Problem, match=why):
        sentencepiece.read(raw, {})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vocab": {}}, "empty"),
        ({"vocab": {"a": 10**9}}, "no whole number"),
        ({"vocab": {"a": True}}, "no whole number"),
        ({"merges": "a b"}, "no list"),
        ({"merges": ["a"]}, "no pair"),
        ({"merges": [["a", 1]]}, "no pair"),
    ],
)
def test_a_tokenizer_json_that_lies_is_refused(change: dict[str, Any], why: str) -> None:
    tokenizer = byte_level()
    tokenizer["model"] |= change
    with pytest.raises(Problem, match=why):
        bytelevel.read(tokenizer)


@pytest.mark.parametrize("entries", [7, [7], [{"id": -1, "content": "x"}], [{"id": 3}]])
def test_added_tokens_that_lie_are_refused(entries: Any) -> None:
    with pytest.raises(Problem, match="added_tokens"):
        vocabulary.added({"added_tokens": entries})


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"type": "ByteLevel", "add_prefix_space": False}, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}]},
         "smollm"),
        ({"type": "Split", "pattern": {"Regex": LLAMA3}}, "llama-bpe"),
        ({"type": "Split", "pattern": {"Regex": QWEN2}}, "qwen2"),
    ],
)  # fmt: skip
def test_patterns_have_the_names_that_llama_cpp_gives_them(part: dict[str, Any], name: str) -> None:
    assert bytelevel.pattern(part) == name


@pytest.mark.parametrize("part", [None, {"type": "Whitespace"}, {"type": "Split", "pattern": {"Regex": "x"}}])
def test_a_pattern_that_is_not_known_is_refused(part: Any) -> None:
    with pytest.raises(Problem, match="pre-tokenizer"):
        bytelevel.pattern(part)


def test_word_pieces_of_another_kind_are_refused() -> None:
    model = {"type": "WordPiece", "vocab": {"a": 0}, "continuing_subword_prefix": "@@"}
    with pytest.raises(Problem, match="continue with ##"):
        wordpiece.read({"model": model}, {})
    with pytest.raises(Problem, match="Chinese"):
        wordpiece.from_lines("a\n", {"tokenize_chinese_chars": False})


def test_a_vocabulary_fills_the_embeddings_rows_and_no_more() -> None:
    words = wordpiece.from_lines("[PAD]\na\n", {})
    assert words.padded(4).tokens == ["[PAD]", "\u2581a", "[PAD2]", "[PAD3]"]
    with pytest.raises(Problem, match="2 tokens, the embedding 1 rows"):
        words.padded(1)


def test_the_default_one_of_several_chat_templates_counts() -> None:
    templates = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    assert special.chat_template(Source({}), {"chat_template": templates}) == "yes"
    with pytest.raises(Problem, match="must be a text"):
        special.chat_template(Source({}), {"chat_template": 7})
