"""A model that is told to be difficult: a megabyte of it costs seconds at most, and nothing is held without end."""

import time

import pytest

from apps.inference.parsing import Parser, Piece, Reply, Said, choose
from apps.inference.parsing.calling import MAX_HELD
from tests.inference.parsing.replies import TOOLS, meaning

SIZE = 1 << 20
SECONDS = 6.0  # on a machine that is busy with other tests

HOSTILE = [
    ("hermes", "<tool_call>"),
    ("hermes", '<tool_call>{"a":"'),
    ("hermes", "<tool_call>{"),
    ("hermes", "<tool_call>[[[]]]"),
    ("hermes", "<"),
    ("hermes", " \n"),
    ("xml", "<function="),
    ("xml", "<function=now><parameter=a>"),
    ("glm", "<tool_call><arg_key>"),
    ("glm", "</arg_key><arg_value>"),
    ("llama3", "<|python_tag|>now("),
    ("llama3", "<|python_tag|>{};"),
    ("mistral", "[TOOL_CALLS]now[ARGS]"),
    ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁sep｜>"),
    ("gemma", "```tool_code"),
    ("gemma", "```tool_code\nnow(" + "-" * 9000 + "1)```"),
    ("gemma", '<start_function_call>call:now{"\\'),
    ("gemma", "<start_function_call>call:now{a:<escape>"),
    ("json", '{"name":'),
    ("json", '{"name": "now", "arguments": {"a": ['),
    ("json", "```json\n"),
    ("json", "{"),
    ("harmony", "<|channel|>"),
    ("harmony", "<|end|>a"),
    ("harmony", "<|channel|>analysis to=functions.now<|message|>"),
    ("harmony", "to="),
]
BEGINNINGS = {"</arg_key><arg_value>": "<tool_call>now<arg_key>"}


@pytest.mark.parametrize(("calls", "word"), HOSTILE)
@pytest.mark.parametrize("size", [5, SIZE])
def test_a_megabyte_is_read_in_time(calls: str, word: str, size: int) -> None:
    text = BEGINNINGS.get(word, "") + word * (SIZE // len(word))
    parser = Parser(Reply(calls, TOOLS, thinking=("<think>", "</think>")))
    began = time.monotonic()
    found: list[Piece] = []
    for start in range(0, len(text), size):
        found += parser.feed(text[start : start + size])
    found += parser.close()
    assert time.monotonic() - began < SECONDS
    assert found


@pytest.mark.parametrize(
    "word", ["{{if ", "{{ .ToolCalls", "}}{{ .a", "{{.", "}}{{ .Thinking }}", "{{ if .ToolCalls }} {{"]
)
def test_a_megabyte_of_template_is_looked_through_in_time(word: str) -> None:
    began = time.monotonic()
    template = "{{ if .ToolCalls }}" + word * (SIZE // len(word))
    reply = choose(template, go=True, tools=["now"], think=True, prompt_tail="", forced=False)
    assert time.monotonic() - began < SECONDS
    assert reply.calls == "json"


def test_a_call_without_end_is_let_go_as_text() -> None:
    parser = Parser(Reply("hermes", TOOLS))
    text = '<tool_call>{"name": "now", "arguments": {"a": "' + "x" * MAX_HELD
    pieces = parser.feed(text) + parser.feed('"}}</tool_call>')
    assert meaning(pieces + parser.close()) == (text + '"}}</tool_call>',)


def test_an_object_without_end_streams_once_it_is_too_long_for_a_call() -> None:
    parser = Parser(Reply("json", TOOLS))
    assert parser.feed('{"name": "' + "x" * (MAX_HELD - 20)) == []
    assert sum(len(piece.text) for piece in parser.feed("x" * 40) if isinstance(piece, Said)) > MAX_HELD


def test_brackets_too_deep_are_text() -> None:
    deep = "[" * 500 + "]" * 500
    text = f'<tool_call>{{"name": "now", "arguments": {{"a": {deep}}}}}</tool_call>'
    parser = Parser(Reply("hermes", TOOLS))
    assert meaning(parser.feed(text) + parser.close()) == (text,)
