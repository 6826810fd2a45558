"""The chat templates of published models and the vocabularies that come with llama.cpp (tests/llama_sources.py).

Each template renders what plain jinja2 renders without our limits, and raises where that raises.
"""

import functools
import itertools
import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import jinja2
import jinja2.ext
import pytest

from apps.inference.engine.vocabulary import Vocabulary
from apps.inference.prompt.building import Builder
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.job import PromptJob
from apps.inference.prompt.sandbox import TemplateError
from apps.inference.prompt.template import Asked, Template, variables
from apps.inference.types import Message, ToolCall
from tests.llama_sources import models_folder

MARKS = {"bos_token": "<s>", "eos_token": "</s>"}
USER, SYSTEM = Message("user", "Is it <warm> in Łódź?"), Message("system", "Be brief & true.")
CALL = ToolCall("get_weather", {"city": "needle", "days": 2}, "abcdefghi")
ANSWER = Message("tool", '{"degrees": 31}', tool_name="get_weather", tool_call_id="abcdefghi")
PLACES = {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "description": "How many"}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": PLACES, "required": ["city"]},
    },
}
TALKS: dict[str, tuple[Message, ...]] = {
    "plain": (USER,),
    "system": (SYSTEM, USER),
    "reply": (USER, Message("assistant", "Yes."), USER),
    "thinking": (USER, Message("assistant", "Yes.", thinking="It is summer."), USER),
}


class Generation(jinja2.ext.Extension):
    """Marks of replies for training: only their content counts."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Noon(datetime):
    """A clock that stands still: some templates print the second."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 1, 2, 12, tzinfo=tz)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("template", "sandbox"):
        monkeypatch.setattr(f"apps.inference.prompt.{module}.datetime", Noon)


@pytest.fixture(scope="module")
def models() -> Path:
    return models_folder()


@pytest.fixture(scope="module")
def sources(models: Path) -> dict[str, str]:
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(models.glob("templates/*.jinja"))}
    assert len(found) >= 65
    return found


@functools.cache
def compiled(source: str) -> jinja2.Template:
    def refuse(text: str) -> None:
        raise ValueError(text)

    extensions: Any = ["jinja2.ext.loopcontrols", Generation]
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = functools.partial(json.dumps, **{"ensure_ascii": False})
    environment.globals.update(raise_exception=refuse, strftime_now=lambda form: Noon.now().strftime(form))
    return environment.from_string(source)


@functools.cache
def own(source: str) -> Template:
    return Template(source, marks=MARKS)


def plain(source: str, messages: list[dict[str, Any]], asked: Asked) -> str | None:
    """What jinja2 itself makes of it, with the globals that Hugging Face gives; None where it raises."""
    try:
        return compiled(source).render(messages=messages, **MARKS, **variables(asked))
    except Exception:  # whatever a template may raise
        return None


def ours(source: str, said: tuple[Message, ...], asked: Asked) -> str | None:
    try:
        return own(source).render(Conversation(said), asked)
    except TemplateError:
        return None


def written(message: Message) -> dict[str, Any]:
    thought = {"reasoning_content": message.thinking, "thinking": message.thinking} if message.thinking else {}
    return {"role": message.role, "content": message.content, **thought}


@pytest.mark.parametrize("think", [None, True, False])
@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["bare", "tools"])
@pytest.mark.parametrize("talk", TALKS)
def test_every_template_says_what_plain_jinja_says(
    sources: dict[str, str], talk: str, tools: tuple[dict[str, Any], ...], think: bool | None
) -> None:
    said, asked = TALKS[talk], Asked(tools=tools, think=think)
    expected = {name: plain(source, [*map(written, said)], asked) for name, source in sources.items()}
    for name, source in sources.items():
        assert ours(source, said, asked) == expected[name], name
    shown = [text for text in expected.values() if text and "Łódź" in text]
    assert len(shown) >= 60


def with_call() -> Iterator[list[dict[str, Any]]]:
    """The talk in every shape that clients of Hugging Face's templates use, the most usual first."""
    for text, content in itertools.product((False, True), ("", None)):
        arguments = json.dumps(CALL.arguments) if text else CALL.arguments
        call = {"type": "function", "function": {"name": CALL.name, "arguments": arguments}, "id": CALL.id}
        answer = {**written(ANSWER), "name": ANSWER.tool_name, "tool_call_id": ANSWER.tool_call_id}
        yield [written(USER), {"role": "assistant", "content": content, "tool_calls": [call]}, answer]


def test_every_template_replays_a_call_and_its_answer_as_plain_jinja_does(sources: dict[str, str]) -> None:
    asked, whole = Asked(tools=(TOOL,)), 0
    for name, source in sources.items():
        texts = [text for messages in with_call() if (text := plain(source, messages, asked)) is not None]
        rendered = ours(source, (USER, Message("assistant", tool_calls=(CALL,)), ANSWER), asked)
        assert rendered in (texts or [None]), name
        good = [text for text in texts if "needle" in text and "degrees" in text and "{'city'" not in text]
        assert not good or rendered in good, name
        whole += bool(good)
    assert whole >= 55


# --- The vocabularies ----------------------------------------------------------------------------------------------


def vocabularies(models: Path) -> list[Path]:
    return sorted(models.glob("ggml-vocab-*.gguf"))


def test_every_vocabulary_tokenises_llama_cpp_s_own_examples(models: Path) -> None:
    compared = 0
    for path in vocabularies(models):
        vocabulary = Vocabulary(str(path))
        assert vocabulary.size > 1000
        asked = path.with_suffix(".gguf.inp")
        if asked.exists():
            texts = asked.read_bytes().decode().split("\n__ggml_vocab_test__\n")
            answers = path.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")[:-1]
            for text, answer in zip(texts[: len(answers)], answers, strict=True):
                tokens = vocabulary.tokenize(text, add_special=False, parse_special=False)
                assert tokens == [int(token) for token in answer.split()], (path.name, text)
                compared += 1
        vocabulary.close()
    assert compared > 500


def test_every_vocabulary_makes_a_prompt_and_an_embedding_s_input(models: Path) -> None:
    for path in vocabularies(models):
        vocabulary = Vocabulary(str(path))
        builder = Builder(vocabulary)
        prompt = builder.build(PromptJob(kind="chat", num_ctx=4096, messages=(USER,)))
        assert "warm" in prompt.text, path.name
        assert "warm" in vocabulary.detokenize(prompt.tokens).decode("utf-8", "replace"), path.name
        read = builder.build(PromptJob(kind="embed", num_ctx=8, inputs=("a", "to be or not to be " * 9)))
        assert len(read.inputs[0]) < 8 == len(read.inputs[1]), path.name
        vocabulary.close()


def test_bert_s_frame_stands_around_a_text_that_was_cut(models: Path) -> None:
    vocabulary = Vocabulary(str(models / "ggml-vocab-bert-bge.gguf"))
    read = Builder(vocabulary).build(PromptJob(kind="embed", num_ctx=8, inputs=("to be or not to be " * 9,)))
    assert (read.inputs[0][0], read.inputs[0][-1], len(read.inputs[0])) == (101, 102, 8)
    vocabulary.close()


def test_a_file_s_template_for_tools_is_found_by_its_name(models: Path) -> None:
    vocabulary = Vocabulary(str(models / "ggml-vocab-command-r.gguf"))
    named, usual = vocabulary.chat_template("tool_use"), vocabulary.chat_template()
    assert "directly-answer" in named
    assert "directly-answer" not in usual
    assert vocabulary.chat_template("no such") == ""
    vocabulary.close()


@pytest.mark.parametrize("name", ["starcoder", "refact", "deepseek-coder"])
def test_vocabularies_of_coders_have_marks_to_fill_in(models: Path, name: str) -> None:
    vocabulary = Vocabulary(str(models / f"ggml-vocab-{name}.gguf"))
    assert vocabulary.infill is not None, name
    job = PromptJob(kind="generate", num_ctx=4096, prompt="def f(", suffix="\n    return a")
    tokens = Builder(vocabulary).build(job).tokens
    assert all(tokens.count(mark) == 1 for mark in vocabulary.infill)
    assert tokens[-1] == vocabulary.infill[2]
    vocabulary.close()
