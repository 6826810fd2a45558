"""Which template makes the prompt, what is told of the reply, and images and what is only shown."""

import pytest

from apps.errors import Problem
from apps.inference.prompt.building import IMAGE_TOKENS, Builder
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.types import Message
from tests.inference.prompt.words import Letters, read

BRIEF = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}a:"
THINKS = BRIEF + "{% if enable_thinking %}<think>{% endif %}{# </think> #}"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
HI = (Message("user", "hi"),)


def chat(template: str = BRIEF, tool_use: str = "", num_ctx: int = 10000, **job: object) -> Prompt:
    job = {"kind": "chat", "messages": HI, "num_ctx": num_ctx, **job}
    return Builder(Letters(template, tool_use=tool_use)).build(PromptJob(**job))  # type: ignore[arg-type]


def test_the_file_s_template_for_tools_is_used_where_tools_are_sent() -> None:
    assert chat(tool_use="T", tools=(TOOL,)).text == "T"
    assert chat(tool_use="T").text == "u:hi;a:"
    assert chat(tool_use="T", tools=(TOOL,), tool_choice="none").text == "u:hi;a:"
    assert chat(tools=(TOOL,)).text == "u:hi;a:"


def test_how_to_read_the_reply_comes_with_the_prompt_and_crosses_the_pipe() -> None:
    prompt = chat("<tool_call>" + THINKS, tools=(TOOL,), think=True)
    assert prompt.reply is not None
    assert (prompt.reply.calls, prompt.reply.tools) == ("hermes", ("f",))
    assert (prompt.reply.thinking, prompt.reply.thinks_already) == (("<think>", "</think>"), True)
    assert not prompt.reply.forced
    assert Prompt.from_data(prompt.as_data()) == prompt


@pytest.mark.parametrize(("choice", "forced"), [("auto", False), ("required", True), ("f", True), ("none", False)])
def test_a_choice_of_a_tool_forces_the_call(choice: str, forced: bool) -> None:
    reply = chat(tools=(TOOL,), tool_choice=choice).reply
    assert reply is not None
    assert reply.forced is forced


def test_a_raw_prompt_is_read_as_it_comes() -> None:
    assert chat(kind="generate", messages=(), prompt="<think>", raw=True).reply is None


def test_a_begun_reply_is_continued_behind_its_thoughts() -> None:
    begun = Message("assistant", "So ", thinking="hm")
    assert chat(THINKS, messages=(*HI, begun)).text == "u:hi;a:<think>hm</think>So "
    assert chat(THINKS, messages=(*HI, begun), think=True).text == "u:hi;a:<think>hm</think>So "
    assert chat(THINKS, messages=(*HI, Message("assistant", thinking="hm"))).text == "u:hi;a:<think>hm"
    assert chat(messages=(*HI, begun)).text == "u:hi;a:So "


# --- Images ------------------------------------------------------------------------------------------------------


def test_images_stand_where_the_text_says_or_before_it_and_are_numbered_through() -> None:
    said = (
        Message("user", "see [img] and [img]", images=("a", "b")),
        Message("assistant", "ok"),
        Message("user", "and", images=("c", "d")),
    )
    prompt = chat(messages=said)
    assert prompt.text == "u:see [img-0] and [img-1];a:ok;u:[img-2][img-3]and;a:"
    assert prompt.images == 4


def test_a_prompt_may_bring_images_too() -> None:
    prompt = chat(kind="generate", messages=(), prompt="what?", images=("a",))
    assert (prompt.text, prompt.images) == ("u:[img-0]what?;a:", 1)
    raw = chat(kind="generate", messages=(), prompt="[img-0] what?", images=("a",), raw=True)
    assert (raw.text, raw.images) == ("[img-0] what?", 1)


def test_an_image_weighs_what_the_contract_says_and_keeps_its_number_when_others_are_dropped() -> None:
    said = tuple(Message("user", str(number), images=("x",)) for number in range(3))
    prompt = chat(messages=said, num_ctx=2 * IMAGE_TOKENS + 100)
    assert (prompt.text, prompt.images, prompt.dropped_messages) == ("u:[img-1]1;u:[img-2]2;a:", 2, 1)


def test_a_prompt_is_never_cut_through_an_image() -> None:
    with pytest.raises(Problem, match="the prompt is longer than the context length"):
        chat(messages=(Message("user", "x" * 99, images=("x",)),), num_ctx=64)


def test_only_the_number_of_images_crosses_the_pipe() -> None:
    job = PromptJob(
        kind="chat", num_ctx=9, messages=(Message("user", "x", images=("A" * 1000,)),), images=("B" * 1000,)
    )
    assert len(str(job.as_data())) < 1000
    again = PromptJob.from_data(job.as_data())
    assert (len(again.messages[0].images), len(again.images)) == (1, 1)


# --- Only to be shown --------------------------------------------------------------------------------------------


def test_a_prompt_that_is_only_to_be_shown_has_no_tokens() -> None:
    prompt = chat(render_only=True)
    assert (prompt.text, prompt.tokens, prompt.reply) == ("u:hi;a:", (), None)


def test_an_earlier_reply_is_shown_before_it() -> None:
    prompt = chat(kind="generate", messages=(), prompt="hi", context=tuple(map(ord, "old")), render_only=True)
    assert prompt.text == "oldu:hi;a:"


def test_what_is_shown_is_what_is_left_after_messages_were_dropped() -> None:
    said = (Message("system", "Be brief."), *(Message("user", f"{number:03}") for number in range(200)))
    prompt = chat(messages=said, num_ctx=60, render_only=True)
    assert prompt.text.startswith("s:Be brief.;")
    assert prompt.text.endswith("u:199;a:")
    assert "u:000;" not in prompt.text


def test_a_raw_prompt_is_shown_untouched() -> None:
    assert chat(kind="generate", messages=(), prompt="hi", raw=True, render_only=True).text == "hi"


def test_what_would_be_refused_can_still_be_shown() -> None:
    assert read(chat(messages=(Message("user", "x" * 99),), num_ctx=20, render_only=True).tokens) == ""
