"""A prompt and a suffix: what is filled in between (contract, 3.1 and 3.5)."""

import pytest

from apps.errors import Problem
from apps.inference.prompt.building import Builder
from apps.inference.prompt.client import Renderer
from apps.inference.prompt.job import Prompt, PromptJob
from tests.inference.prompt.words import Letters, read

GO = "<PRE>{{ .Prompt }}{{ if .Suffix }}<SUF>{{ .Suffix }}<MID>{{ end }}"


def fill(num_ctx: int = 100, *, add_bos: bool = False, infill: bool = True, **job: object) -> Prompt:
    job = {
        "kind": "generate",
        "prompt": "ab",
        "suffix": "yz",
        "num_ctx": num_ctx,
        "model": "host/library/m:latest",
        **job,
    }
    return Builder(Letters("x", add_bos=add_bos, infill=infill)).build(PromptJob(**job))  # type: ignore[arg-type]


def test_the_vocabulary_s_marks_stand_around_prompt_and_suffix() -> None:
    prompt = fill()
    assert prompt.text == read(prompt.tokens) == "‹ab|yz›"
    assert read(fill(add_bos=True).tokens) == "^‹ab|yz›"
    assert prompt.reply is None


def test_marks_that_are_in_the_code_are_code() -> None:
    assert read(fill(prompt="a›b").tokens) == "‹a.b|yz›"


def test_a_template_that_knows_a_suffix_is_used_instead() -> None:
    assert read(fill(version_template=GO).tokens) == "<PRE>ab<SUF>yz<MID>"
    assert read(fill(version_template=GO, infill=False).tokens) == "<PRE>ab<SUF>yz<MID>"


def test_a_version_s_template_without_a_suffix_leaves_it_to_the_vocabulary() -> None:
    assert read(fill(version_template="{{ .Prompt }}").tokens) == "‹ab|yz›"


def test_a_request_s_template_is_used_as_it_is() -> None:
    assert read(fill(template="{{ .Suffix }}<{{ .Prompt }}").tokens) == "yz<ab"


def test_a_model_that_cannot_is_refused_in_the_contract_s_words() -> None:
    with pytest.raises(Problem) as caught:
        fill(infill=False)
    assert (caught.value.status, caught.value.message) == (400, "host/library/m:latest does not support insert")


def test_a_raw_prompt_takes_no_suffix() -> None:
    assert read(fill(raw=True).tokens) == "ab"


def test_what_is_nearest_to_the_gap_is_kept_and_the_rest_is_counted() -> None:
    prompt = fill(28, prompt="a" * 50 + "0123456789", suffix="01234" + "z" * 50)
    assert read(prompt.tokens) == "‹" + "aaa0123456789" + "|" + "01234" + "›"
    assert prompt.dropped_tokens == 118 - 21
    assert read(fill(28, prompt="a" * 50).tokens) == "‹" + "a" * 16 + "|yz›"


def test_what_may_not_be_shortened_is_refused() -> None:
    with pytest.raises(Problem, match="exceeds the available context size"):
        fill(20, prompt="a" * 50, truncate=False)


def test_only_the_text_is_made_where_only_that_is_asked_for() -> None:
    prompt = fill(render_only=True)
    assert (prompt.text, prompt.tokens) == ("‹ab|yz›", ())


def test_the_real_model_has_marks_of_its_own(qwen: Renderer) -> None:
    prompt = qwen.render(PromptJob(kind="generate", num_ctx=4096, prompt="def gcd(a, b):\n", suffix="\n    return a"))
    assert prompt.text == "<|fim_prefix|>def gcd(a, b):\n<|fim_suffix|>\n    return a<|fim_middle|>"
    assert (prompt.tokens[0], prompt.tokens[-1]) == (151659, 151660)
    assert prompt.tokens.count(151661) == 1
