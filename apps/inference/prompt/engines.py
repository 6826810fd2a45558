"""Which template makes a job's prompt (the wire contract, section 19.1), and what it makes of a conversation. Pure.

A TEMPLATE, the request's or the version's, wins over the Jinja in the model's file: whoever writes one means it.
Of the file's own, the one named tool_use is for requests with tools.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from apps.inference import parsing
from apps.inference.parsing.reply import Reply
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.job import PromptJob
from apps.inference.prompt.modelfile import GoTemplate
from apps.inference.prompt.template import CHATML, NOTHING, Asked, Template

_KEPT = 32
_TAIL = 256  # characters of a prompt in which an opened thinking is looked for
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


class File(Protocol):
    """What is needed of the model's file."""

    architecture: str

    @property
    def marks(self) -> Mapping[str, str]: ...

    def chat_template(self, name: str = "") -> str: ...


@dataclass(frozen=True)
class Engine:
    """One template and how to use it. `strips`: a Go template does not see the thoughts in earlier replies."""

    template: Template | GoTemplate
    strips: bool = False

    @property
    def source(self) -> str:
        return self.template.source

    def render(self, said: Conversation, asked: Asked = NOTHING) -> str:
        """The text up to where the model goes on. Raises TemplateError."""
        if isinstance(self.template, GoTemplate):
            return self.template.render(_stripped(said) if self.strips else said, asked)
        text = self.template.render(said, asked)
        return text + self._begun(said, asked, text)

    def reply(self, asked: Asked, text: str, *, forced: bool = False) -> Reply:
        """How the answer to a prompt is to be read."""
        return parsing.choose(
            self.source,
            go=isinstance(self.template, GoTemplate),
            tools=[str((tool.get("function") or {}).get("name", "")) for tool in asked.tools],
            definitions=asked.tools,
            think=asked.think,
            prompt_tail=text[-_TAIL:],
            forced=forced,
        )

    def _begun(self, said: Conversation, asked: Asked, text: str) -> str:
        """The beginning of the reply, word for word, behind what was thought before it."""
        if said.begun is None or not said.begun.thinking:
            return said.begun.content if said.begun else ""
        reply = self.reply(replace(asked, think=True), text)
        if reply.thinking is None:
            return said.begun.content
        opening, closing = reply.thinking
        thought = ("" if reply.thinks_already else opening) + said.begun.thinking
        return thought + closing + said.begun.content if said.begun.content else thought


class Engines:
    """Those of one model. Compiled templates are remembered, requests' own too."""

    def __init__(self, file: File) -> None:
        source, tool_use = file.chat_template(), file.chat_template("tool_use")
        self.has_jinja = bool(source)
        self._jinja = Engine(Template(source or CHATML, marks=file.marks))
        self._tool_use = Engine(Template(tool_use, marks=file.marks)) if tool_use else self._jinja
        self._strips = file.architecture.startswith("qwen3")
        self._go: OrderedDict[tuple[str, bool], Engine] = OrderedDict()

    def of(self, job: PromptJob) -> Engine:
        """Raises TemplateError for a TEMPLATE that is none."""
        if source := job.template or job.version_template:
            return self._from_go(source, strips=self._strips or "deepseek-r1" in job.model)
        return self._tool_use if job.offered else self._jinja

    def _from_go(self, source: str, *, strips: bool) -> Engine:
        key = (source, strips)
        if key not in self._go:
            self._go[key] = Engine(GoTemplate(source), strips)
        self._go.move_to_end(key)
        while len(self._go) > _KEPT:
            self._go.popitem(last=False)
        return self._go[key]


def _stripped(said: Conversation) -> Conversation:
    """Without the thoughts that stand in replies before the last message of a user (the contract, section 20.1)."""
    users = [place for place, message in enumerate(said.messages) if message.role == "user"]
    last = users[-1] if users else 0
    kept = tuple(
        replace(message, content=_THOUGHT.sub("", message.content, count=1))
        if message.role == "assistant" and place < last and _THOUGHT.match(message.content)
        else message
        for place, message in enumerate(said.messages)
    )
    return replace(said, messages=kept)
