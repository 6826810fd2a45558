"""Calls that hold to their schema wherever they stand in a text, byte by byte and with the real vocabulary."""

from typing import Any

import pytest

from apps.errors import Problem
from apps.inference.engine.grammar import Grammar, Written
from apps.inference.engine.matching import constrain
from tests.fakes import TOKENIZER
from tests.inference.engine.test_grammar import CLOCK, WEATHER, fits

STRICT = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
HERMES = Written("<tool_call>", "</tool_call>")
PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
OSLO = '{"name": "weather", "arguments": {"city": "Oslo"}}'


def says(text: str, *tools: dict[str, Any], written: Written = HERMES) -> bool:
    grammar = Grammar("strict", tools=tools or (STRICT, CLOCK), written=written)
    return fits(constrain(grammar, TOKENIZER), text)


@pytest.mark.parametrize(
    "text",
    [
        "It rains.",
        "",
        " \n",
        "a < b, <tool, {braces} and [lists]",
        PARIS,
        f"\n{PARIS}\n",
        f"```json\n{PARIS}\n```",
        f"```\n{PARIS}\n```\n",
        "```python\nprint({})\n```",
        "```json\n[1, 2]\n```",
        f"<tool_call>\n{PARIS}\n</tool_call>",
        f"Let me see. <tool_call>{PARIS}</tool_call>",
        f"<tool_call>\n{PARIS}\n</tool_call>\n<tool_call>\n{PARIS}\n</tool_call> Done.",
        '<tool_call>{"name": "clock", "arguments": {"any": [1, {"thing": null}]}}</tool_call>',
    ],
)
def test_text_is_free_and_calls_are_held(text: str) -> None:
    assert says(text)


@pytest.mark.parametrize(
    "text",
    [
        OSLO,
        f"```json\n{OSLO}\n```",
        f"  ```\n {OSLO}\n```",
        f"<tool_call>{OSLO}</tool_call>",
        f"Well. <tool_call>\n{PARIS}\n</tool_call> <tool_call>{OSLO}</tool_call>",
        '<tool_call>{"name": "weather", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "stranger", "arguments": {}}</tool_call>',
        f"<tool_call>{PARIS}",
        "<tool_call>words</tool_call>",
        '{"weather": "fine"}',
    ],
)
def test_a_call_that_breaks_its_schema_cannot_be_said(text: str) -> None:
    assert not says(text)


def test_a_tool_that_is_not_strict_may_be_called_with_anything() -> None:
    assert says(OSLO, WEATHER)
    assert not says(OSLO, STRICT)


def test_a_shape_without_tags_has_a_name_of_its_own_for_arguments() -> None:
    llama = Written(arguments="parameters")
    assert says(PARIS.replace("arguments", "parameters"), written=llama)
    assert not says(OSLO.replace("arguments", "parameters"), written=llama)
    assert says("It rains. <tool_call>", written=llama)


def test_what_cannot_be_kept_is_refused_with_its_reason() -> None:
    bad = {"type": "function", "function": {"name": "odd", "strict": True, "parameters": {"not": {}}}}
    with pytest.raises(Problem, match=r'^the format cannot be used: Unimplemented keys: \["not"\]$'):
        constrain(Grammar("strict", tools=(bad,), written=HERMES), TOKENIZER)


def test_it_survives_the_way_to_the_runner() -> None:
    grammar = Grammar("strict", tools=(STRICT,), written=HERMES)
    assert Grammar.from_data(grammar.as_data()) == grammar
