"""Frames -> chunks and replies of /v1/chat/completions (contract, section 13.2)."""

from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any

from apps.api.openai import wire
from apps.api.openai.replies import Choice, ChoicesRenderer, Style
from apps.inference.types import THINKING
from apps.streams.log import Entry

ROLE = '"role":"assistant",'


class ChatRenderer(ChoicesRenderer):
    """A text frame becomes a chunk for every token of every stream, so what stays the same is made once a reply."""

    def __init__(self, style: Style) -> None:
        super().__init__(style, prefix="chatcmpl-")
        about = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": style.model}
        self._head = f'data: {wire.dumps(about)[:-1]},"system_fingerprint":"{wire.FINGERPRINT}","choices":['

    def said(self, choice: Choice, entry: Entry) -> Iterable[bytes]:
        text = _quoted(entry.data["t"])
        if entry.kind == THINKING:
            return (self._chunk(choice, f'"content":"","reasoning":{text}'),)
        logprobs = ""
        if self.style.logprobs and entry.data.get("lp"):
            content = {"content": [wire.token(item) for item in entry.data["lp"]], "refusal": None}
            logprobs = f',"logprobs":{wire.dumps(content)}'
        return (self._chunk(choice, f'"content":{text}', logprobs),)

    def called(self, choice: Choice, calls: Sequence[dict[str, Any]]) -> Iterable[bytes]:
        return [self._chunk(choice, f'"content":"","tool_calls":{wire.dumps([call])}') for call in calls]

    def finished(self, choice: Choice) -> Iterable[bytes]:
        opening = () if choice.begun else (self._chunk(choice, '"content":""'),)
        last = {"index": choice.index, "delta": {}, "finish_reason": choice.finish_reason}
        assert choice.end is not None
        extra = wire.dumps(wire.dropped([choice.end]))[1:-1]
        return (*opening, self._line(f"{wire.dumps(last)}]{',' if extra else ''}{extra}}}"))

    def close(self) -> Iterable[bytes]:
        if self.style.include_usage:
            yield self._line(f'],"usage":{wire.dumps(self.usage)}}}')
        yield wire.DONE

    def object(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.style.model,
            "system_fingerprint": wire.FINGERPRINT,
            "choices": [self._choice(choice) for choice in self.choices],
            "usage": self.usage,
            **wire.dropped(self.ends),
        }

    def _choice(self, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(choice.text)}
        if choice.thinking:
            message["reasoning"] = "".join(choice.thinking)
        if choice.calls:
            message["tool_calls"] = choice.calls
        whole: dict[str, Any] = {
            "index": choice.index,
            "message": message,
            "finish_reason": choice.finish_reason,
        }
        if self.style.logprobs:
            whole["logprobs"] = {"content": [wire.token(item) for item in choice.logprobs], "refusal": None}
        return whole

    def _chunk(self, choice: Choice, delta: str, logprobs: str = "") -> bytes:
        role, choice.begun = "" if choice.begun else ROLE, True
        return self._line(f'{{"index":{choice.index},"delta":{{{role}{delta}}},"finish_reason":null{logprobs}}}]}}')

    def _line(self, rest: str) -> bytes:
        return wire.to_bytes(f"{self._head}{rest}\n\n")


def _quoted(text: str) -> str:
    if text.isascii():
        return encode_basestring(text)
    return wire.dumps(text)
