"""A chat template of a model's file, compiled once (sandbox.py), and what it is given. Pure."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jinja2

from apps.inference.prompt import sandbox, shapes
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.sandbox import MAX_TEXT, TemplateError
from apps.inference.types import Message, ToolCall

_MAX_SOURCE = 1024 * 1024
_HARMONY = ("<|start|>", "<|end|>", "<|channel|>")

# llama.cpp's own choice for a chat with a model whose file brings no template.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Asked:
    """What a request wants of a template besides its messages."""

    tools: tuple[dict[str, Any], ...] = ()
    think: bool | str | None = None


NOTHING = Asked()


class Template:
    """Compiled once; a source that does not compile is remembered and refuses each rendering.

    `marks` are the vocabulary's special tokens as Hugging Face names them (`bos_token`, …).
    """

    def __init__(self, source: str, *, marks: Mapping[str, str]) -> None:
        self.source = source
        self._marks = dict(marks)
        self._sandbox = sandbox.environment()
        self._template: jinja2.Template | None = None
        self._shape: shapes.Shape | None = None
        self._harmony = all(mark in source for mark in _HARMONY)
        self._failure = ""
        if len(source) > _MAX_SOURCE:
            self._failure = "The model's chat template is too long."
            return
        try:
            self._template = self._sandbox.from_string(source)
        except Exception as error:  # the source is a stranger's: what its compiling raises is not known beforehand
            self._failure = sandbox.sentence(error)

    def render(self, said: Conversation, asked: Asked = NOTHING) -> str:
        """The prompt's text, ready for the reply. Raises TemplateError; MemoryError passes through."""
        shape = self._shape_for(said)
        return self._guarded(shapes.messages(said.messages, shape, harmony=self._harmony), asked)

    def _shape_for(self, said: Conversation) -> shapes.Shape:
        """Only calls of tools have more than one shape; which one this template wants is tried out once."""
        if not any(message.tool_calls for message in said.messages):
            return shapes.PLAIN
        if self._shape is None:
            self._shape = shapes.find(lambda messages: self._guarded(messages, NOTHING))
        return self._shape

    def _guarded(self, messages: list[dict[str, Any]], asked: Asked) -> str:
        if self._template is None:
            raise TemplateError(self._failure)
        self._sandbox.steps_left = sandbox.MAX_STEPS
        try:
            return self._written(self._template, messages, asked)
        except MemoryError:
            raise
        except Exception as error:  # any kind can come out of a stranger's template; none may end the child
            raise TemplateError(sandbox.sentence(error)) from error

    def _written(self, template: jinja2.Template, messages: list[dict[str, Any]], asked: Asked) -> str:
        pieces, length = [], 0
        given = variables(asked, harmony=self._harmony)
        for piece in template.generate(messages=messages, **self._marks, **given):
            length += len(piece)
            if length > MAX_TEXT:
                raise OverflowError("the prompt is too long")
            pieces.append(piece)
        return "".join(pieces)


def variables(asked: Asked, *, harmony: bool = False) -> dict[str, Any]:
    """What Hugging Face and llama.cpp give to every template, and how much to think in the words that are in use."""
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "add_generation_prompt": True,
        "tools": list(asked.tools) or None,
        "documents": None,
        "date_string": now.strftime("%d %b %Y"),  # Llama 3's
        "datetime": now.strftime("%b %d %Y %H:%M:%S GMT"),  # this and the next are Firefunction's
        "functions": json.dumps(asked.tools, indent=2, ensure_ascii=False) if asked.tools else "",
    }
    if asked.think is not None:
        given["enable_thinking"] = given["thinking"] = bool(asked.think)
    if isinstance(asked.think, str):
        given["reasoning_effort"] = "high" if harmony and asked.think == "max" else asked.think
    return given


def rehearse() -> None:
    """Use what Python and jinja2 load only when it is first needed, while this process may still open files."""
    source = r"""{% macro f(x) %}{{ x | tojson }}{% endmacro %}{{ f("\n\u00e9") }}{{ strftime_now("%d %B %Y") }}
        {% for m in messages | selectattr("role") %}{{ m.content.strip() | upper }}{% break %}{% endfor %}"""
    call = Message("assistant", tool_calls=(ToolCall("f", {"é": 1}),))
    said = Conversation((Message("user", "é"), call))
    Template(source, marks={}).render(said)
    for broken in ("{% if %}", "{{ raise_exception('x') }}", "{{ ''.__class__.__mro__ }}", "{{ messages + 1 }}"):
        with suppress(TemplateError):
            Template(broken, marks={}).render(said)
