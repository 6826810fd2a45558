"""Whatever comes, however it is cut: the same result, nothing raised, nothing lost."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from apps.inference.parsing import Called, Parser, Piece, Reply
from tests.inference.parsing.replies import CASES, TOOLS, meaning
from tests.inference.parsing.test_harmony import REPLIES

FORMS = ("hermes", "xml", "glm", "llama3", "mistral", "deepseek", "gemma", "json", "harmony", "")
TAGS = ("<think>", "</think>")
_THINKING = (None, TAGS, ("[THINK]", "[/THINK]"))
_WORDS = sorted(
    {
        *(case.text for case in CASES),
        *(text for text, _ in REPLIES),
        *("<tool_call>", "</tool_call>", "<function=", "</function>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", ";"),
        *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "```tool_code\n"),
        *("```json\n", "```", "<start_function_call>call:", "<escape>", "<end_function_call>", "<|start|>assistant"),
        *("<|channel|>analysis", "<|message|>", "<|end|>", "<|call|>", " to=functions.now", "<think>", "</think>"),
        *(
            '{"name": "now", "arguments": ',
            "{}",
            "}",
            "[",
            "]",
            '"',
            "\\",
            "now",
            "(",
            ")",
            " ",
            "\n",
            "\t\r\n",
            "é",
            "🐎",
        ),
        *(">>", "[THINK]", "[/THINK]", "a", " " * 300),
    }
)

replies = st.builds(
    Reply,
    calls=st.sampled_from(FORMS),
    tools=st.just(TOOLS),
    call_tag=st.sampled_from(["", "", ">>", "{", "["]),
    thinking=st.sampled_from(_THINKING),
    thinks_already=st.booleans(),
    forced=st.booleans(),
)
texts = st.lists(st.sampled_from(_WORDS) | st.text(max_size=5), max_size=8).map("".join)
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def pieces(reply: Reply, text: str, sizes: list[int]) -> list[Piece]:
    """The sizes are used in turn, again and again."""
    parser, found, at, turn = Parser(reply), list[Piece](), 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        found += parser.feed(text[at : at + size])
        at, turn = at + size, turn + 1
    return found + parser.close()


@given(replies, texts, cuts)
@example(Reply("json", TOOLS), " " * 129 + '{"name": "now", "arguments": {}}', [1])
@example(Reply("harmony", TOOLS), "<|channel|>" + "x" * 501 + "<|message|>" + "<|channel|>", [1])
@example(Reply("mistral", TOOLS), "[TOOL_CALLS]" + "x" * 128 + "{}", [1])
def test_how_a_reply_is_cut_changes_nothing(reply: Reply, text: str, sizes: list[int]) -> None:
    whole = meaning(pieces(reply, text, [len(text) or 1]))
    assert meaning(pieces(reply, text, sizes)) == whole == meaning(pieces(reply, text, [1]))


@given(replies.filter(lambda reply: reply.calls != "harmony" or reply.forced), texts, cuts)
def test_what_is_no_call_is_never_lost(reply: Reply, text: str, sizes: list[int]) -> None:
    """Between the texts that come out, only calls are missing, and whitespace and tags around them and the thinking."""
    marks = [re.escape(mark) for tags in _THINKING if tags and reply.thinking for mark in tags]
    blank = rf"(?:{'|'.join([chr(92) + 's', *marks])})*"
    called = rf"[\s\S]*?(?:{'|'.join(TOOLS)})[\s\S]*?"
    pattern = [blank]
    for part in meaning(pieces(reply, text, sizes)):
        pattern += (
            [called] if isinstance(part, list) else [re.escape(part if isinstance(part, str) else part[1]), blank]
        )
    assert re.fullmatch("".join(pattern), text)


@given(replies, st.binary(max_size=400))
def test_random_bytes_are_text_or_thought(reply: Reply, data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = pieces(reply, text, [7])
    assert not any(isinstance(piece, Called) for piece in found)
    assert len(text.strip()) <= sum(len(piece.text) for piece in found if not isinstance(piece, Called)) <= len(text)


@given(texts)
def test_a_reply_crosses_processes_as_it_is(text: str) -> None:
    reply = Reply("hermes", TOOLS, call_tag=text, thinking=TAGS, thinks_already=True, texts=("now.a",))
    assert Reply.from_data(reply.as_data()) == reply
