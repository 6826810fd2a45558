"""A model's vocabulary without its weights: text to tokens and back. No Django."""

import ctypes
from collections.abc import Iterator, Sequence
from functools import cached_property

from apps.inference.engine.lib import held, last_complaint, lib
from apps.inference.engine.seams import Seam, stands_alone

_INT32_MIN = -(2**31)
_META_BYTES = 1024
_CUT_OUT = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED | lib.LLAMA_TOKEN_ATTR_UNKNOWN
_STRETCHWISE = ("gpt2", "gemma4", "llama")  # tokenizers known to keep nothing from one stretch of a text to the next
_attributes = held("llama_vocab_get_attr")
_MARKS = {
    "bos_token": lib.llama_vocab_bos,
    "eos_token": lib.llama_vocab_eos,
    "pad_token": lib.llama_vocab_pad,
    "sep_token": lib.llama_vocab_sep,
    "mask_token": lib.llama_vocab_mask,
}
_INFILL = (lib.llama_vocab_fim_pre, lib.llama_vocab_fim_suf, lib.llama_vocab_fim_mid)


class VocabularyError(Exception):
    """The file holds no vocabulary that llama.cpp can use."""


class Vocabulary:
    """Loaded with `vocab_only`: tens of megabytes and some hundred milliseconds, whatever the model's size.

    One thread at a time. `bos` is the text of that token, empty where there is none; `add_bos` says whether the model
    wants it added to a text; `marks` are the texts of the special tokens that there are, by Hugging Face's names, and
    always of the first and the last; `infill` are the tokens before a prefix, before a suffix and before what is to be
    filled in between, or None; `size` counts the tokens.
    """

    def __init__(self, path: str) -> None:
        params = lib.llama_model_default_params()
        params.vocab_only = True
        self._model = lib.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise VocabularyError(last_complaint().replace(path, "the file") or "llama.cpp gives no reason")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.size = int(lib.llama_vocab_n_tokens(self._vocab))
        if self.size <= 0:
            raise VocabularyError("the file has no tokens")
        self.add_bos = bool(lib.llama_vocab_get_add_bos(self._vocab))
        self.bos = self.text(lib.llama_vocab_bos(self._vocab))
        self.architecture = self._meta("general.architecture")
        self.marks = self._marks()
        self.infill = self._infill()

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids. `add_special` lets the vocabulary add its first and last token, `parse_special` reads markers."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            tokens = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocab, raw, len(raw), tokens, room, add_special, parse_special)
            if count >= 0:
                return list(tokens[:count])
            if count == _INT32_MIN:
                raise VocabularyError("the text is too long to be tokenised")
            room = -count

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """The bytes of the tokens, markers included. They need not end on a whole character."""
        ids = (lib.llama_token * len(tokens))(*tokens)
        room = 16 * len(tokens) + 8
        while True:
            text = ctypes.create_string_buffer(room)
            count = lib.llama_detokenize(self._vocab, ids, len(tokens), text, room, False, True)
            if count >= 0:
                return text.raw[:count]
            room = -count

    def text(self, token: int) -> str:
        """How a token is spelled in the vocabulary, markers included; empty for one that is not there (negative)."""
        if token < 0:
            return ""
        return str(lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    @cached_property
    def seam(self) -> Seam | None:
        """The end of a turn, if texts may be cut behind it. It takes some tens of milliseconds to find out, once."""
        token = lib.llama_vocab_eot(self._vocab)
        token = lib.llama_vocab_eos(self._vocab) if token < 0 else token
        if self._meta("tokenizer.ggml.model") not in _STRETCHWISE or lib.llama_vocab_get_add_eos(self._vocab):
            return None
        special = dict(self._special())
        marker = special.pop(token, "")
        strips = token >= 0 and _attributes(self._vocab, token) & lib.LLAMA_TOKEN_ATTR_RSTRIP
        return Seam(marker, token) if not strips and stands_alone(marker, special.values()) else None

    def chat_template(self, name: str = "") -> str:
        """The file's own Jinja template, or the one of that name; an empty text where there is none."""
        template = lib.llama_model_chat_template(self._model, name.encode() or None)
        return template.decode("utf-8", "replace") if template else ""

    @property
    def n_ctx_train(self) -> int:
        """The context the model was trained for, in tokens; 0 if the file doesn't say."""
        value = self._meta(f"{self.architecture}.context_length")
        return int(value) if value.isdigit() else 0

    def close(self) -> None:
        """Give the memory back. May be called twice; nothing else may be called after."""
        model, self._model = self._model, None
        if model:
            lib.llama_model_free(model)

    def _special(self) -> Iterator[tuple[int, str]]:
        """What llama.cpp takes out of a text before it tokenises the rest."""
        for token in range(self.size):
            if _attributes(self._vocab, token) & _CUT_OUT:
                yield token, self.text(token)

    def _marks(self) -> dict[str, str]:
        unknown = self._meta("tokenizer.ggml.unknown_token_id")
        tokens = {name: ask(self._vocab) for name, ask in _MARKS.items()}
        tokens["unk_token"] = int(unknown) if unknown.isdigit() and int(unknown) < self.size else -1
        there = {name: self.text(token) for name, token in tokens.items() if token >= 0}
        return {"bos_token": "", "eos_token": "", **there}

    def _infill(self) -> tuple[int, int, int] | None:
        """llama.cpp finds them by the file's metadata, else by the spellings that are in use."""
        first, second, third = (int(ask(self._vocab)) for ask in _INFILL)
        return None if min(first, second, third) < 0 else (first, second, third)

    def _meta(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(_META_BYTES)
        count = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, _META_BYTES)
        return buffer.value.decode("utf-8", "replace") if count >= 0 else ""
