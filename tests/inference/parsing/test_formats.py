"""Calls in every shape, and what only looks like one."""

import re

import pytest

from apps.inference.parsing import Called, Parser, Reply, Said
from tests.inference.parsing.replies import CASES, PARIS, Case, meaning, read


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.calls}: {case.text[:40]}")
def test_a_reply_means_what_its_format_says(case: Case) -> None:
    assert read(case.reply, case.text) == case.means


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.calls}: {case.text[:40]}")
def test_a_reply_means_the_same_letter_by_letter(case: Case) -> None:
    assert read(case.reply, *case.text) == case.means


def _object(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {{{arguments}}}}}'


OWN_WORDS = [  # of Qwen2.5-Coder 0.5B with its own template and two tools, at temperature 0
    (_object("add", '"a": 3, "b": 4'), [("add", {"a": 3, "b": 4})]),
    ('```json\n{\n  "name": "get_weather",\n  "arguments": {\n    "city": "Oslo"\n  }\n}\n```',
     [("get_weather", {"city": "Oslo"})]),
    (_object("get_weather", '"city": "Paris"') + "\n" + _object("add", '"a": 10, "b": 5'), None),
    (_object("Joke about Tools", '"joke": "Why did the tomato turn red?"'), None),
    ("I am Qwen, an Alibaba Cloud developed language model.", None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "calls"), OWN_WORDS)
def test_a_small_models_own_words_are_read(words: str, calls: list[object] | None) -> None:
    assert read(Reply("hermes", ("get_weather", "add")), *words) == (words if calls is None else calls,)


def test_every_call_has_an_id_of_its_own() -> None:
    parser = Parser(Reply("hermes", ("now",)))
    pieces = parser.feed('<tool_call>{"name": "now"}</tool_call>' * 3)
    ids = [call.id for piece in pieces if isinstance(piece, Called) for call in piece.calls]
    assert len(set(ids)) == 3 and all(re.fullmatch("call_[a-z0-9]{8}", name) for name in ids)


def test_a_call_comes_out_as_soon_as_its_object_closes() -> None:
    parser = Parser(Reply("hermes", ("get_weather",)))
    assert meaning(parser.feed('<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}')) == ([PARIS],)


def test_text_is_held_only_while_it_may_be_a_tag() -> None:
    parser = Parser(Reply("hermes", ("now",)))
    assert parser.feed("So <") == [Said("So ")]
    assert parser.feed("tool") == []
    assert parser.feed("box>") == [Said("<toolbox>")]


def test_an_object_is_let_go_at_the_first_key_that_no_call_has() -> None:
    parser = Parser(Reply("json", ("now",)))
    assert parser.feed('{"ci') == []
    assert parser.feed('ty": ') == [Said('{"city": ')]
    assert parser.feed("1}") == [Said("1}")]


def test_without_tools_all_is_text() -> None:
    text = '<tool_call>{"name": "now"}</tool_call>'
    assert read(Reply(), text) == (text,)


def test_an_empty_reply_is_nothing() -> None:
    assert [read(case.reply) for case in CASES] == [()] * len(CASES)
