"""The channels of gpt-oss."""

import pytest

from apps.inference.parsing import Parser, Reply, Said, Thought
from tests.inference.parsing.replies import NOW, PARIS, ROME, TOOLS, read

HARMONY = Reply("harmony", TOOLS)
ANALYSIS = "<|channel|>analysis<|message|>hm hm<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"
SAID = "<|start|>assistant<|channel|>commentary<|message|>"
CALL = '<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}'
OLD_CALL = '<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Rome"}<|call|>'
OTHER = CALL.replace("get_weather", "rm")
HM = ("thought", "hm hm")

REPLIES = [
    (f"{ANALYSIS}{FINAL}Hello <b>.<|return|>", (HM, "Hello <b>.")),
    (f"{ANALYSIS}{FINAL}Hello", (HM, "Hello")),
    (f"{ANALYSIS}{CALL}<|call|>", (HM, [PARIS])),
    (f"{ANALYSIS}{CALL}", (HM, [PARIS])),
    (f"{CALL}<|call|>{OLD_CALL}", ([PARIS], [ROME])),
    (
        f"{ANALYSIS}<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>{CALL}<|call|>",
        (HM, "I look.", [PARIS]),
    ),
    (" to=functions.now<|channel|>commentary json<|message|><|call|>", ([NOW],)),
    (f"{ANALYSIS}{OTHER}<|call|>", (HM, f"{OTHER}<|call|>")),
    (f"{ANALYSIS}{CALL[:-1]}", (HM, CALL[:-1])),
    (CALL[:60], (CALL[:60],)),
    ("Hello, no channels", ("Hello, no channels",)),
    (" to be or not", (" to be or not",)),
    ("to", ("to",)),
    ('{"a": 1}', ('{"a": 1}',)),
    (f'{ANALYSIS}{{"a": 1}}', (HM, '{"a": 1}')),
    ("<|channel|>analysis<|message|>cut", (("thought", "cut"),)),
    ("<|channel|>anal", ()),
    (f"{ANALYSIS}<|start|>assistant", (HM,)),
    ("<|channel|>" + "x" * 600 + "<|message|>y", ("<|channel|>" + "x" * 600 + "<|message|>y",)),
]


@pytest.mark.parametrize(("text", "means"), REPLIES)
def test_channels_are_told_apart(text: str, means: tuple[object, ...]) -> None:
    assert read(HARMONY, text) == means


@pytest.mark.parametrize(("text", "means"), REPLIES)
def test_channels_are_told_apart_letter_by_letter(text: str, means: tuple[object, ...]) -> None:
    assert read(HARMONY, *text) == means


def test_channels_stream() -> None:
    parser = Parser(HARMONY)
    assert parser.feed("<|channel|>analysis<|message|>so <|") == [Thought("so ")]
    assert parser.feed("end|>" + FINAL + "well") == [Said("well")]


def test_channels_are_read_without_tools_too() -> None:
    assert read(Reply("harmony"), f"{ANALYSIS}{FINAL}Hello") == (HM, "Hello")


def test_a_reply_may_begin_inside_the_analysis() -> None:
    assert read(Reply("harmony", thinks_already=True), f"hm<|end|>{FINAL}Hello") == (("thought", "hm"), "Hello")
