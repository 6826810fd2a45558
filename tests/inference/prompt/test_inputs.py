"""The texts of an embedding (contract, 7.1)."""

import pytest

from apps.errors import Problem
from apps.inference.prompt import inputs
from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import Prompt, PromptJob
from tests.inference.prompt.words import Letters, read


class Framed(Letters):
    """A first and a last token around every text, as BERT's."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        tokens = [ord(letter) for letter in text]
        return [ord("["), *tokens, ord("]")] if add_special else tokens


def embed(*texts: str, num_ctx: int = 10, n_ctx_train: int = 0, truncate: bool = True) -> Prompt:
    job = PromptJob(kind="embed", inputs=texts, num_ctx=num_ctx, truncate=truncate)
    return Builder(Framed(n_ctx_train=n_ctx_train)).build(job)


def test_each_text_gets_the_vocabulary_s_own_tokens() -> None:
    prompt = embed("ab", "", "cde")
    assert [read(tokens) for tokens in prompt.inputs] == ["[ab]", "[]", "[cde]"]
    assert (prompt.tokens, prompt.dropped_tokens, prompt.reply) == ((), 0, None)


def test_a_long_text_is_cut_from_the_end_and_keeps_its_frame() -> None:
    prompt = embed("x" * 8, "0123456789")
    assert [read(tokens) for tokens in prompt.inputs] == ["[xxxxxxxx]", "[01234567]"]
    assert prompt.dropped_tokens == 2


def test_the_context_that_the_model_was_trained_for_is_a_limit_too() -> None:
    assert read(embed("0123456789", n_ctx_train=6).inputs[0]) == "[0123]"


def test_what_may_not_be_cut_is_refused_in_the_contract_s_words() -> None:
    assert read(embed("x" * 8, truncate=False).inputs[0]) == "[xxxxxxxx]"
    with pytest.raises(Problem) as caught:
        embed("x" * 9, truncate=False)
    assert (caught.value.status, caught.value.message) == (400, "the input length exceeds the context length")


def test_a_context_that_holds_nothing_but_the_frame_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        embed("xyz", num_ctx=2)
    assert caught.value.message == inputs.NO_ROOM
