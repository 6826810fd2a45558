"""The render child for real: what it answers, what it survives, and that nobody else is harmed."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
import psutil
import pytest

from apps.errors import Problem
from apps.inference.engine.vocabulary import Vocabulary
from apps.inference.prompt.client import MAX_CHARACTERS, Renderer
from apps.inference.prompt.job import PromptJob
from apps.inference.prompt.process import Child
from apps.inference.types import Message, ToolCall
from tests.inference.prompt.conftest import MakeModel, MakeRenderer

HELLO = PromptJob(kind="chat", num_ctx=4096, messages=(Message("user", "Say hello"),))
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HISTORY = (
    Message("system", "Be brief."),
    Message("user", "My name is Ada."),
    Message("assistant", "Hi Ada."),
    Message("user", "What is my name?"),
)
# Behaves unless it is asked for something else by the user's words.
ON_DEMAND = (
    "{% macro fan(n) %}{{ fan(n - 1) if n }}{{ fan(n - 1) if n }}{% endmacro %}"
    "{% if messages[0].content == 'loop' %}"
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    "{% elif messages[0].content == 'hoard' %}{% set ns = namespace(x=['y' * 1000000]) %}"
    "{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% set z = ns.x | join %}{% endfor %}{{ z }}"
    "{% elif messages[0].content == 'native' %}{% for a in range(99) %}"
    "{% set x = ('a ' * 5000000) | wordcount %}{% endfor %}"
    "{% elif messages[0].content == 'memory' %}{% set ns = namespace(x=[]) %}{% for a in range(999) %}"
    "{{ ns.x.append('y' * 9999000 ~ a) }}{% endfor %}"
    "{% elif messages[0].content == 'fan' %}{{ fan(40) }}"
    "{% else %}{{ messages[0].content }}{% endif %}"
)


def job(text: str, **more: object) -> PromptJob:
    return PromptJob(kind="chat", num_ctx=4096, messages=(Message("user", text),), **more)  # type: ignore[arg-type]


def child(renderer: Renderer) -> psutil.Process:
    assert renderer._child is not None
    return psutil.Process(renderer._child.pid)


def leave(orphan: Child) -> None:
    """What is left of a parent that was killed: nothing at the other ends."""
    assert orphan._process.stdin is not None
    orphan._process.stdin.close()
    os.close(orphan._answers)


# --- The real model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [HISTORY[1:2], HISTORY, HISTORY[1:]])
def test_a_chat_is_what_plain_jinja_makes_of_the_file_s_template(
    qwen: Renderer, gguf_path: Path, messages: tuple[Message, ...]
) -> None:
    vocabulary = Vocabulary(str(gguf_path))
    plain = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(vocabulary.chat_template())
    text = plain.render(messages=[vars(message) for message in messages], add_generation_prompt=True)
    prompt = qwen.render(PromptJob(kind="chat", num_ctx=4096, messages=messages))
    assert prompt.text == text
    assert list(prompt.tokens) == vocabulary.tokenize(text, add_special=True, parse_special=True)
    vocabulary.close()


def test_what_is_done_meanwhile_is_not_the_child_s_time(gguf_path: Path) -> None:
    """Also where the answer is larger than a pipe, so that the child cannot be rid of it before."""
    renderer = Renderer(model_path=str(gguf_path), deadline=1.0)
    renderer.render(job("hi"))
    long = PromptJob(kind="chat", num_ctx=65536, messages=(Message("user", "a horse " * 15_000),))
    prompt = renderer.render(long, meanwhile=lambda: time.sleep(2.5))
    assert len(prompt.text) > 100_000 and len(prompt.tokens) > 20_000
    renderer.close()


def test_half_a_surrogate_pair_crosses_the_pipe(qwen: Renderer) -> None:
    prompt = qwen.render(job("half \ud83d of an emoji"))
    assert "half \ud83d of an emoji" in prompt.text and len(prompt.tokens) > 30


def test_prompts_have_the_lengths_that_ollama_recorded(qwen: Renderer) -> None:
    assert len(qwen.render(HELLO).tokens) == 31
    assert len(qwen.render(PromptJob(kind="generate", num_ctx=4096, prompt="Say hello")).tokens) == 31
    assert len(qwen.render(PromptJob(kind="chat", num_ctx=4096, messages=HISTORY)).tokens) == 39
    assert len(qwen.render(PromptJob(kind="generate", num_ctx=4096, prompt="1, 2, 3,", raw=True)).tokens) == 8


def test_a_context_makes_the_next_prompt_longer(qwen: Renderer) -> None:
    first = qwen.render(HELLO)
    second = qwen.render(PromptJob(kind="generate", num_ctx=4096, prompt="More", context=first.tokens))
    assert second.tokens[: len(first.tokens)] == first.tokens
    assert len(second.tokens) > len(first.tokens)


def test_the_version_s_system_is_public_up_to_the_user_s_first_word(qwen: Renderer, gguf_path: Path) -> None:
    prompt = qwen.render(job("Ahoy there", version_system="You are a pirate."))
    vocabulary = Vocabulary(str(gguf_path))
    shared = vocabulary.detokenize(prompt.tokens[: prompt.public_tokens]).decode()
    vocabulary.close()
    assert shared == "<|im_start|>system\nYou are a pirate.<|im_end|>\n<|im_start|>user\n"


def test_two_hundred_messages_are_fitted_with_the_system_and_the_last(qwen: Renderer) -> None:
    said = tuple(
        Message(("user", "assistant")[n % 2], f"Message {n} of a long talk about nothing.") for n in range(199)
    )
    prompt = qwen.render(PromptJob(kind="chat", num_ctx=512, messages=(HISTORY[0], *said)))
    assert len(prompt.tokens) <= 512
    assert prompt.text.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert "Message 198 " in prompt.text
    assert "Message 0 " not in prompt.text


def test_what_a_prompt_was_made_of_is_shown_as_ollama_recorded_it(qwen: Renderer) -> None:
    asked = PromptJob(kind="generate", num_ctx=4096, prompt="hi", system="be brief", render_only=True)
    assert qwen.render(asked).text == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tools_reach_the_model_and_the_reply_is_to_be_read_for_calls(qwen: Renderer) -> None:
    call = Message("assistant", tool_calls=(ToolCall("get_weather", {"city": "Rom"}),))
    said = (Message("user", "hi"), call, Message("tool", "sun", tool_name="get_weather"))
    prompt = qwen.render(PromptJob(kind="chat", num_ctx=4096, messages=said, tools=(TOOL,)))
    assert f"<tools>\n{json.dumps(TOOL)}\n</tools>" in prompt.text
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rom"}}\n</tool_call>' in prompt.text
    assert "<tool_response>\nsun\n</tool_response>" in prompt.text
    assert prompt.reply is not None
    assert (prompt.reply.calls, prompt.reply.tools) == ("hermes", ("get_weather",))


def test_texts_for_an_embedding_come_back_as_tokens(qwen: Renderer) -> None:
    prompt = qwen.render(PromptJob(kind="embed", num_ctx=4, inputs=("hi", "", "one two three four five six")))
    assert [len(tokens) for tokens in prompt.inputs] == [1, 0, 4]
    assert prompt.dropped_tokens == 2


def test_a_modelfile_s_template_is_executed_in_the_child(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer("jinja")
    template = '{{ range .Messages }}{{ .Role }} {{ .Content | printf "%q" }} {{ end }}{{ .Tools }}'
    prompt = renderer.render(job("hi", template=template, tools=(TOOL,)))
    assert prompt.text.startswith('user "hi" [{"type":"function",')
    with pytest.raises(Problem, match="unclosed action"):
        renderer.render(job("hi", template="{{ .Prompt"))
    with pytest.raises(Problem):
        renderer.render(
            job("hi", template='{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}{{ .Messages }}')
        )
    assert renderer.render(job("hi")).text == "jinja"


def test_two_hundred_messages_come_whole_and_keep_nobody_waiting_for_long(qwen: Renderer) -> None:
    """How long they take is measured in benchmarks/."""
    said = tuple(
        Message(("user", "assistant")[n % 2], f"Message {n} of a long talk: {'word ' * 20}") for n in range(200)
    )
    talk = PromptJob(kind="chat", num_ctx=32768, messages=said)
    begun = time.monotonic()
    prompts = [qwen.render(talk) for _ in range(15)]
    assert time.monotonic() - begun < 10
    assert {prompt.dropped_tokens for prompt in prompts} == {0}
    assert all(f"Message {n} of" in prompts[0].text for n in range(200))


# --- What a child survives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("loop", "it takes more than 1000000 steps"),
        ("fan", "it takes more than 1000000 steps|took longer than 0.5 seconds"),
        ("hoard", "a text is too long"),
        ("native", "took longer than 0.5 seconds"),
        ("memory", "needs more memory than it may have|took longer than 0.5 seconds"),
    ],
)
def test_a_bomb_is_refused_in_time_and_the_next_prompt_works(make_renderer: MakeRenderer, word: str, text: str) -> None:
    renderer = make_renderer(ON_DEMAND, deadline=0.5)
    renderer.render(job("hi"))
    begun = time.monotonic()
    with pytest.raises(Problem, match=text):
        renderer.render(job(word))
    assert time.monotonic() - begun < 4
    assert renderer.render(job("hello")).text == "hello"


def test_a_template_that_explodes_while_it_is_compiled_hurts_only_its_own_prompts(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer("{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}")
    for _ in range(2):
        with pytest.raises(Problem):
            renderer.render(HELLO)
    assert renderer.render(PromptJob(kind="generate", num_ctx=64, prompt="hell", raw=True)).tokens[0] == 258


def test_a_template_error_leaves_the_child_alive(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer("{{ raise_exception('no') if messages[0].content == 'x' }}")
    renderer.render(job("hi"))
    before = child(renderer).pid
    with pytest.raises(Problem, match="refuses these messages: no") as caught:
        renderer.render(job("x"))
    assert caught.value.status == 500
    assert child(renderer).pid == before


def test_a_killed_child_is_replaced_unnoticed(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer()
    renderer.render(HELLO)
    first = child(renderer)
    first.kill()
    assert renderer.render(HELLO).tokens
    assert child(renderer).pid != first.pid


def test_a_child_stopped_dead_is_killed_at_the_deadline(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer(deadline=0.2)
    renderer.render(HELLO)
    first = child(renderer)
    first.suspend()
    with pytest.raises(Problem, match="took longer than 0.2 seconds"):
        renderer.render(HELLO)
    assert not first.is_running()
    assert renderer.render(HELLO).tokens


def test_an_idle_child_ends_when_nobody_holds_its_input(make_model: MakeModel) -> None:
    orphan = Child(str(make_model()))
    orphan.receive(until=time.monotonic() + 10)
    leave(orphan)
    assert orphan._process.wait(timeout=5) == 0


def test_a_child_in_a_loop_ends_though_nobody_is_left_to_kill_it(make_model: MakeModel) -> None:
    orphan = Child(str(make_model(ON_DEMAND)))
    orphan.receive(until=time.monotonic() + 10)
    line = json.dumps({"deadline": 0.3, "job": job("native").as_data()}) + "\n"
    orphan.send(line.encode(), until=time.monotonic() + 5)
    leave(orphan)
    orphan._process.wait(timeout=5)


# --- How it is used ----------------------------------------------------------------------------------------------


def test_many_threads_get_each_their_own_prompt(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer(ON_DEMAND)
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda number: renderer.render(job(f"text {number}")).text, range(100)))
    assert texts == [f"text {number}" for number in range(100)]


def test_a_renderer_becomes_ready_without_anyone_waiting(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer()
    assert not renderer.ready()
    renderer.start()
    renderer.start()
    limit = time.monotonic() + 10
    while not renderer.ready():
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert renderer.render(HELLO).tokens


def test_a_file_without_a_vocabulary_is_told(tmp_path: Path, make_renderer: MakeRenderer) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"nothing of the kind")
    renderer = make_renderer(path=path)
    for _ in range(2):
        with pytest.raises(Problem, match="prompts cannot be prepared") as caught:
            renderer.render(HELLO)
        assert str(path) not in caught.value.message


def test_a_closed_renderer_takes_no_more_prompts(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer()
    renderer.render(HELLO)
    gone = child(renderer)
    renderer.close()
    renderer.close()
    assert not gone.is_running()
    with pytest.raises(Problem, match="being unloaded"):
        renderer.render(HELLO)


def test_closing_ends_a_prompt_that_is_being_made(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer(ON_DEMAND, deadline=20)
    renderer.render(job("hi"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(renderer.render, job("native"))
        time.sleep(0.2)
        renderer.close()
        with pytest.raises(Problem):
            waiting.result(timeout=5)


def test_more_text_than_a_child_can_hold_is_refused_before_it_is_sent(make_renderer: MakeRenderer) -> None:
    with pytest.raises(Problem) as caught:
        make_renderer().render(job("x" * (MAX_CHARACTERS + 1)))
    assert caught.value.status == 413


def test_a_child_inherits_no_secret_and_may_open_nothing(
    make_renderer: MakeRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_SECRET_KEY", "hush")
    renderer = make_renderer()
    renderer.render(HELLO)
    process = child(renderer)
    assert "CORRAL_SECRET_KEY" not in process.environ()
    limits = Path(f"/proc/{process.pid}/limits")
    if limits.exists():
        hard = {line[:26].strip(): line[26:].split()[1] for line in limits.read_text().splitlines()[1:]}
        assert (hard["Max open files"], hard["Max core file size"]) == ("0", "0")
        assert int(hard["Max address space"]) < 2 * 1024**3
    if os.geteuid() == 0:
        assert process.uids().real != 0
    assert os.getsid(process.pid) == process.pid


def test_a_crash_in_native_code_is_a_sentence(make_renderer: MakeRenderer) -> None:
    renderer = make_renderer(ON_DEMAND, deadline=5)
    renderer.render(job("hi"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(renderer.render, job("native"))
        struck: set[int] = set()
        while len(struck) < 2:  # a job whose child dies gets one more, and no third
            time.sleep(0.1)
            victim = renderer._child
            if victim is not None and victim.pid not in struck:
                os.kill(victim.pid, signal.SIGSEGV)
                struck.add(victim.pid)
        with pytest.raises(Problem, match="ended unexpectedly"):
            waiting.result(timeout=5)
    assert renderer.render(job("hi")).text == "hi"
