"""Prompts over a vocabulary of letters: what is rendered, shared, dropped and cut."""

import dataclasses

import pytest

from apps.errors import Problem
from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.types import Message
from tests.inference.prompt.words import Letters, read

BRIEF = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}a:"
WITH_BOS = "{{ bos_token }}" + BRIEF
USER_FIRST = "{% if messages[0].role == 'assistant' %}{{ raise_exception('user first') }}{% endif %}" + BRIEF
HI = (Message("user", "hi"),)


def chat(num_ctx: int = 1000, template: str = BRIEF, *, add_bos: bool = False, **job: object) -> Prompt:
    job = {"kind": "chat", "messages": HI, "num_ctx": num_ctx, **job}
    return Builder(Letters(template, add_bos=add_bos)).build(PromptJob(**job))  # type: ignore[arg-type]


def generate(num_ctx: int = 1000, template: str = BRIEF, *, add_bos: bool = False, **job: object) -> Prompt:
    return chat(num_ctx, template, add_bos=add_bos, **{"kind": "generate", "messages": (), "prompt": "hi", **job})


def turns(count: int) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[number % 2], f"{number:03}") for number in range(count))


def test_a_chat_is_rendered_and_tokenised() -> None:
    prompt = chat()
    assert (read(prompt.tokens), prompt.text) == ("u:hi;a:", "u:hi;a:")


def test_the_first_token_is_added_once_whoever_writes_it() -> None:
    assert read(chat(template=BRIEF, add_bos=True).tokens) == "^u:hi;a:"
    assert read(chat(template=WITH_BOS, add_bos=True).tokens) == "^u:hi;a:"
    assert read(chat(template=WITH_BOS, add_bos=False).tokens) == "^u:hi;a:"


def test_a_reply_that_was_begun_is_continued_word_for_word() -> None:
    assert read(chat(messages=(*HI, Message("assistant", " It is "))).tokens) == "u:hi;a: It is "


def test_an_earlier_reply_stands_before_the_prompt_without_a_second_first_token() -> None:
    prompt = generate(template=WITH_BOS, add_bos=True, context=tuple(map(ord, "^old")))
    assert read(prompt.tokens) == "^oldu:hi;a:"
    assert prompt.public_tokens == 0


def test_a_raw_prompt_is_sent_untouched_behind_the_vocabulary_s_first_token() -> None:
    assert read(generate(raw=True, add_bos=True).tokens) == "^hi"
    assert generate(raw=True).public_tokens == 0


def test_without_a_template_generate_sends_the_prompt_and_chat_speaks_chatml() -> None:
    assert read(generate(template="", system="x").tokens) == "hi"
    assert read(chat(template="").tokens) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("token", [-1, 0x110000, 2**40])
def test_a_context_of_another_model_is_refused(token: int) -> None:
    with pytest.raises(Problem, match="context holds a token that this model does not know") as caught:
        generate(context=(token,))
    assert caught.value.status == 400


def test_a_template_that_fails_is_a_500_with_its_text() -> None:
    with pytest.raises(Problem, match="refuses these messages: user first") as caught:
        chat(template=USER_FIRST, messages=(Message("assistant", "x"), *HI))
    assert caught.value.status == 500


# --- What users share --------------------------------------------------------------------------------------------


def test_what_the_version_says_is_public_and_nothing_behind_it() -> None:
    stored = (Message("user", "1+1?"), Message("assistant", "2"))
    prompt = chat(version_system="Be brief.", stored=stored)
    assert read(prompt.tokens[: prompt.public_tokens]) == "s:Be brief.;u:1+1?;a:2;u:"


def test_what_the_version_says_is_tokenised_once_for_all_users() -> None:
    vocabulary = Letters(BRIEF, seam=";")
    builder = Builder(vocabulary)
    for user in ("ann", "bob", "cy"):
        job = PromptJob(kind="chat", num_ctx=1000, messages=HI, version_system="Be brief.", share_key=user)
        prompt = builder.build(job)
        assert read(prompt.tokens) == "s:Be brief.;u:hi;a:"
        assert read(prompt.tokens[: prompt.public_tokens]) == "s:Be brief.;u:"
    assert sum("brief" in text for text in vocabulary.read) == 1, vocabulary.read


@pytest.mark.parametrize("add_bos", [False, True])
@pytest.mark.parametrize(
    "job",
    [
        {"version_system": "Be brief.", "stored": (Message("user", "1+1?"), Message("assistant", "2"))},
        {"version_system": "Be; brief.", "messages": (Message("user", "a;0;"),)},
        {"version_system": "[img-0]; is it.", "messages": (Message("user", "what?", images=("x",)),)},
        {"messages": (Message("system", "My secret."), *HI)},
        {"messages": ()},
        {"kind": "generate", "prompt": "hi", "messages": (), "context": tuple(map(ord, "old;"))},
        {"version_system": "Be brief.", "messages": turns(9), "num_ctx": 40},
    ],
)
def test_a_prompt_cut_behind_what_is_public_is_the_same(job: dict[str, object], add_bos: bool) -> None:
    template = "{% for m in messages %}^{{ m.role[0] }}:{{ m.content }};{% endfor %}^a:"
    job = {"kind": "chat", "messages": HI, "num_ctx": 1000, "share_key": "ann", **job}
    whole, cut = (
        Builder(Letters(template, add_bos=add_bos, seam=seam)).build(PromptJob(**job))  # type: ignore[arg-type]
        for seam in ("", ";")
    )
    assert cut == whole and whole.tokens


def test_a_user_who_says_what_the_sentinels_say_shares_no_more() -> None:
    for said in ("a", "0", "", ";a:"):
        prompt = chat(version_system="Be brief.", messages=(Message("user", said),))
        assert read(prompt.tokens[: prompt.public_tokens]) == "s:Be brief.;u:"


def test_a_system_message_of_a_user_is_never_public() -> None:
    prompt = chat(version_system="Be brief.", messages=(Message("system", "My secret."), *HI))
    assert read(prompt.tokens[: prompt.public_tokens]) == "s:"
    prompt = generate(version_system="Be brief.", system="My secret.")
    assert read(prompt.tokens[: prompt.public_tokens]) == "s:"


def test_two_versions_of_one_builder_keep_their_prefixes_apart() -> None:
    builder = Builder(Letters(BRIEF))
    job = PromptJob(kind="chat", num_ctx=1000, messages=HI, version_system="Be brief.")
    for system in ("Be brief.", "Rhyme.", *map(str, range(40)), "Be brief."):
        prompt = builder.build(dataclasses.replace(job, version_system=system))
        assert read(prompt.tokens[: prompt.public_tokens]) == f"s:{system};u:"


def test_a_version_whose_own_messages_its_template_refuses_shares_nothing() -> None:
    ask = "{% if messages | length < 3 %}{{ raise_exception('too few') }}{% endif %}" + BRIEF
    assert chat(template=ask, messages=turns(3)).public_tokens == 0


# --- What does not fit -------------------------------------------------------------------------------------------


def test_messages_are_dropped_from_the_front_but_for_the_system_s() -> None:
    prompt = chat(30, version_system="Be brief.", messages=turns(9))
    assert prompt.text == read(prompt.tokens) == "s:Be brief.;a:007;u:008;a:"
    assert (prompt.dropped_messages, prompt.dropped_tokens) == (7, 7 * len("u:000;"))


def test_a_prompt_of_exactly_the_context_drops_nothing() -> None:
    full = "u:000;a:001;u:002;a:"
    assert chat(len(full), messages=turns(3)).dropped_messages == 0


def test_a_template_that_wants_a_user_first_still_gets_one() -> None:
    prompt = chat(30, USER_FIRST, messages=turns(9))
    assert read(prompt.tokens) == "u:006;a:007;u:008;a:"
    assert read(chat(26, USER_FIRST, messages=turns(9)).tokens) == "u:006;a:007;u:008;a:"


def test_a_begun_reply_keeps_its_question() -> None:
    said = (*turns(7), Message("assistant", "BEGUN"))
    assert read(chat(16, messages=said).tokens) == "u:006;a:BEGUN"


def test_a_last_message_that_is_too_long_is_cut_in_the_middle() -> None:
    prompt = chat(24, num_keep=4, messages=(*turns(2), Message("user", "x" * 50 + "0123456789")))
    assert read(prompt.tokens) == "u:xx" + "3456789;a:"
    assert prompt.dropped_tokens == len("u:000;a:001;u:;a:") + 60 - 14


def test_a_raw_prompt_that_is_too_long_is_cut_too() -> None:
    prompt = generate(24, raw=True, prompt="x" * 50 + "0123456789", num_keep=4)
    assert read(prompt.tokens) == "xxxx0123456789"
    assert prompt.dropped_tokens == 46


def test_with_truncate_off_nothing_is_dropped_and_the_size_is_told() -> None:
    with pytest.raises(Problem, match="exceeds the available context size") as caught:
        chat(30, messages=turns(9), truncate=False)
    assert caught.value.status == 400


def test_with_shift_off_messages_are_dropped_but_the_last_is_not_cut() -> None:
    assert chat(30, messages=turns(9), shift=False).dropped_messages == 5
    with pytest.raises(Problem, match="the prompt is longer than the context length"):
        chat(30, messages=(Message("user", "x" * 90),), shift=False)
