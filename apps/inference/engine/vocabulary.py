"""A model's vocabulary without its weights: text to tokens and back. No Django."""

import ctypes
from collections.abc import Sequence
from typing import Any

from apps.inference.engine.lib import last_complaint, lib

_INT32_MIN = -(2**31)
_META_BYTES = 1024


class VocabularyError(Exception):
    """The file holds no vocabulary that llama.cpp can use."""


class Vocabulary:
    """Loaded with `vocab_only`: tens of megabytes and some hundred milliseconds, whatever the model's size.

    One thread at a time. `bos` and `eos` are the texts of those tokens, empty where there is none; `add_bos` says
    whether the model wants its first token added to a text; `size` counts the tokens.
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
        self.bos = self._text(lib.llama_vocab_bos(self._vocab))
        self.eos = self._text(lib.llama_vocab_eos(self._vocab))

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

    def chat_template(self) -> str:
        """The file's own Jinja template, or an empty text."""
        template = lib.llama_model_chat_template(self._model, None)
        return template.decode("utf-8", "replace") if template else ""

    @property
    def n_ctx_train(self) -> int:
        """The context the model was trained for, in tokens; 0 if the file doesn't say."""
        value = self._meta(f"{self._meta('general.architecture')}.context_length")
        return int(value) if value.isdigit() else 0

    def close(self) -> None:
        """Give the memory back. May be called twice; nothing else may be called after."""
        model, self._model = self._model, None
        if model:
            lib.llama_model_free(model)

    def _text(self, token: Any) -> str:
        if token < 0:
            return ""
        return str(lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def _meta(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(_META_BYTES)
        count = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, _META_BYTES)
        return buffer.value.decode("utf-8", "replace") if count >= 0 else ""
