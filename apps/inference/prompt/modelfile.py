"""A Modelfile's TEMPLATE, or a request's: Go text/template over a conversation. Pure.

Source: the wire contract, sections 19.2 and 19.3. The interpreter is gotemplate's; here is what it is given.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from apps.inference.prompt import godata, gotemplate
from apps.inference.prompt.conversation import Conversation
from apps.inference.prompt.sandbox import TemplateError
from apps.inference.prompt.template import NOTHING, Asked
from apps.inference.types import Message, ToolCall

_APPENDED = "{{ .Response }}"


class GoTemplate:
    """Parsed once. Raises TemplateError for a source that is no template."""

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._template = gotemplate.Template.parse(source)
            if not self._template.variables & {"messages", "response"}:
                self._template = gotemplate.Template.parse(source + _APPENDED)
        except gotemplate.TemplateError as error:
            raise TemplateError(str(error)) from error

    @property
    def fills_in(self) -> bool:
        return "suffix" in self._template.variables

    def render(self, said: Conversation, asked: Asked = NOTHING) -> str:
        """The prompt's text with the beginning of the reply. Raises TemplateError."""
        messages = [*said.messages, said.begun] if said.begun else list(said.messages)
        system, collated = godata.collated(messages)
        if "messages" not in self._template.variables:
            return "".join(self._turns(collated, asked))
        values = {
            "System": system,
            "Messages": godata.messages(collated),
            "Tools": godata.tools(asked.tools),
            "Response": "",
        }
        return self._execute(values, asked)

    def fill(self, *, prompt: str, suffix: str, asked: Asked) -> str:
        return self._execute({"Prompt": prompt, "Suffix": suffix, "Response": ""}, asked)

    def _turns(self, messages: Sequence[Message], asked: Asked) -> Iterator[str]:
        """Old templates know one turn: they are executed once for each. The last ends where the reply begins."""
        turn: dict[str, Any] = {"System": "", "Prompt": "", "Response": ""}
        fields = {"system": "System", "user": "Prompt", "assistant": "Response"}
        for message in messages:
            field = fields.get(message.role)
            if field is None:
                continue
            if (field == "Prompt" and turn["Response"]) or (field == "System" and (turn["Prompt"] or turn["Response"])):
                yield self._execute(turn, asked)
                turn = {"System": "", "Prompt": "", "Response": ""}
            turn[field] = message.content
        yield self._execute(turn, asked, last=True)

    def _execute(self, values: dict[str, Any], asked: Asked, *, last: bool = False) -> str:
        template = self._template.until("Response") if last else self._template
        try:
            return template.execute({**values, **godata.thinking(asked.think)})
        except gotemplate.TemplateError as error:
            raise TemplateError(str(error)) from error


def rehearse() -> None:
    """As template.rehearse: use whatever is loaded late, while this process may still open files."""
    source = (
        '{{ range .Messages }}{{ .Content | printf "%q" }}{{ json .ToolCalls }}{{ end }}{{ .Tools }}{{ currentDate }}'
    )
    call = Message("assistant", tool_calls=(ToolCall("f", {"é": 1.5}),))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"é": {"type": "number"}}}}}
    for text in (source, "{{ .System }}{{ .Prompt }}"):
        GoTemplate(text).render(Conversation((Message("user", "é"), call)), Asked(tools=(tool,)))
    for broken in ("{{ if }}", "{{ .Messages.Nothing }}"):
        with suppress(TemplateError):
            GoTemplate(broken).render(Conversation((call,)))
