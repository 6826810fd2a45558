"""Which tokens begin, end and fill a text, and the chat template: from the small JSON files beside a tokenizer."""

from collections.abc import Iterator, Mapping
from typing import Any

from gguf import GGUFWriter

from apps.errors import Problem
from apps.registry.conversion.source import Source
from apps.registry.conversion.vocabulary import Vocabulary

MAX_TEMPLATE_BYTES = 1024 * 1024
_IDS = {  # the name in a tokenizer_config.json -> the GGUF's
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "sep": "seperator_token_id",
    "pad": "padding_token_id",
    "cls": "cls_token_id",
    "mask": "mask_token_id",
}
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}


def write(writer: GGUFWriter, source: Source, vocabulary: Vocabulary) -> None:
    """The ids, whether a prompt begins with the first of them, and the chat template where there is one."""
    settings = source.json("tokenizer_config.json")
    found = ids(source, settings, vocabulary)
    _require(found, vocabulary)
    if vocabulary.model == "bert":  # llama.cpp begins and ends a text with these two, whatever they are called
        found |= {"bos": found["cls"], "eos": found["sep"]}
    for name, number in found.items():
        writer.add_uint32(f"tokenizer.ggml.{_IDS[name]}", number)
    if "eos" in found and (others := [number for number in _ends(source) if number != found["eos"]]):
        writer.add_eot_token_id(others[0])
    begins = settings.get("add_bos_token", vocabulary.begins)
    if vocabulary.model != "bert":
        sure = begins if isinstance(begins, bool) else vocabulary.model == "llama"
        writer.add_add_bos_token(sure and "bos" in found)
        writer.add_add_eos_token(settings.get("add_eos_token") is True)
    if template := chat_template(source, settings):
        writer.add_chat_template(template)


def ids(source: Source, settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, int]:
    """By their texts where these are said and known, else as config.json numbers them."""
    usual = {f"{name}_token": text for name, text in _BERT.items()} if vocabulary.model == "bert" else {}
    texts = {**usual, **source.json("special_tokens_map.json"), **settings}
    config = source.json("config.json")
    by_text = {token: number for number, token in reversed(list(enumerate(vocabulary.tokens)))}
    found = {}
    for name in _IDS:
        said = texts.get(f"{name}_token")
        text = said.get("content") if isinstance(said, dict) else said
        number = (
            by_text.get(text) if isinstance(text, str) else next(iter(_numbers(config.get(f"{name}_token_id"))), None)
        )
        if number is not None and number < len(vocabulary.tokens):
            found[name] = number
    return found


def _require(found: Mapping[str, int], vocabulary: Vocabulary) -> None:
    """What is not said, llama.cpp guesses: another vocabulary's id, which may be an ordinary word of this one."""
    for name in ("cls", "sep", "unk") if vocabulary.model == "bert" else ("eos",):
        if name not in found:
            raise Problem("invalid", f"the tokenizer's files do not say which token is {name}_token, or it has none")


def chat_template(source: Source, settings: Mapping[str, Any]) -> str:
    """Of several templates the one called `default`."""
    said: Any = source.text("chat_template.jinja") or source.json("chat_template.json").get("chat_template")
    said = said or settings.get("chat_template")
    if isinstance(said, list):
        said = next((it.get("template") for it in said if isinstance(it, dict) and it.get("name") == "default"), "")
    if said is not None and not isinstance(said, str):
        raise Problem("invalid", "tokenizer_config.json: chat_template must be a text")
    if said and len(said.encode("utf-8", "replace")) > MAX_TEMPLATE_BYTES:
        raise Problem("invalid", f"the chat template is longer than {MAX_TEMPLATE_BYTES} bytes")
    return said or ""


def _ends(source: Source) -> list[int]:
    """Every token that ends a reply, as generation_config.json and config.json list them."""
    files = (source.json("generation_config.json"), source.json("config.json"))
    return list(dict.fromkeys(number for file in files for number in _numbers(file.get("eos_token_id"))))


def _numbers(value: Any) -> Iterator[int]:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
            yield number
