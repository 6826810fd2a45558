"""What is thought apart from what is said."""

import pytest

from apps.inference.parsing import Parser, Reply, Said, Thought
from tests.inference.parsing.replies import PARIS, read

TAGS = ("<think>", "</think>")
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'

SPLITS = [
    ("<think>a b</think>c", (("thought", "a b"), "c")),
    (" \n<think>\n a\n</think>\n\n c ", (("thought", "a\n"), "c ")),
    ("<think>\n\n</think>\n\nc", ("c",)),
    ("so <think>a</think>", ("so <think>a</think>",)),
    ("  so", ("  so",)),
    ("<thin air", ("<thin air",)),
    ("<think>never ends </thin", (("thought", "never ends </thin"),)),
    ("<think>a</think>b<think>c</think>", (("thought", "a"), "b<think>c</think>")),
    ("<think>a < b </ c</think>", (("thought", "a < b </ c"),)),
    ("<think>", ()),
    (" \n", (" \n",)),
]


@pytest.mark.parametrize(("text", "means"), SPLITS)
def test_thinking_is_split_off(text: str, means: tuple[object, ...]) -> None:
    assert read(Reply(thinking=TAGS), text) == means


@pytest.mark.parametrize(("text", "means"), SPLITS)
def test_tags_may_come_in_pieces(text: str, means: tuple[object, ...]) -> None:
    assert read(Reply(thinking=TAGS), *text) == means


def test_a_reply_may_begin_inside_the_thinking() -> None:
    assert read(Reply(thinking=TAGS, thinks_already=True), "\na</think>\n\nb") == (("thought", "a"), "b")


def test_thinking_streams() -> None:
    parser = Parser(Reply(thinking=TAGS))
    assert parser.feed("<think>\nfirst <") == [Thought("first ")]
    assert parser.feed("second</think>\n") == [Thought("<second")]
    assert parser.feed("third") == [Said("third")]


def test_without_think_the_tags_are_text() -> None:
    assert read(Reply(), "<think>a</think>b") == ("<think>a</think>b",)


def test_calls_are_read_behind_the_thinking_and_not_inside() -> None:
    reply = Reply("hermes", ("get_weather",), thinking=TAGS)
    assert read(reply, f"<think>{CALL}</think>\n\n{CALL}") == (("thought", CALL), [PARIS])


def test_a_forced_call_may_follow_the_thinking() -> None:
    reply = Reply("json", ("get_weather",), thinking=TAGS, forced=True)
    text = '<think>hm</think>{"name": "get_weather", "arguments": {"city": "Paris"}}'
    assert read(reply, text) == (("thought", "hm"), [PARIS])


def test_whitespace_without_end_is_text() -> None:
    text = " " * 5000 + "<think>a</think>"
    assert read(Reply(thinking=TAGS), text) == read(Reply(thinking=TAGS), *text) == (text,)
