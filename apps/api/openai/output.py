"""The output items of one response, built piece by piece; each piece gives the events that tell of it. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from apps.api.openai import wire

Event = tuple[str, dict[str, Any]]


class Output:
    """`items` holds what has been said, the open item as far as it is. At most one item is open."""

    def __init__(self, *, logprobs: bool, single_call: bool) -> None:
        self.items: list[dict[str, Any]] = []
        self._logprobs = logprobs
        self._single_call = single_call
        self._called = False
        self._open = ""  # the type of the open item
        self._text: list[str] = []
        self._tokens: list[dict[str, Any]] = []

    def think(self, text: str) -> Iterator[Event]:
        if self._open != "reasoning":
            yield from self._close_open()
            yield from self._begin({"id": wire.new_id("rs_"), "type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            yield "response.reasoning_summary_part.added", {**self._at("summary_index"), "part": part}
        self._text.append(text)
        yield "response.reasoning_summary_text.delta", {**self._at("summary_index"), "delta": text}

    def say(self, text: str, logprobs: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
        tokens = [wire.token(item) for item in logprobs] if self._logprobs else []
        if not text and not tokens:
            return
        if self._open != "message":
            yield from self._close_open()
            yield from self._begin_message()
        self._text.append(text)
        self._tokens.extend(tokens)
        yield "response.output_text.delta", {**self._at("content_index"), "delta": text, "logprobs": tokens}

    def call(self, calls: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
        yield from self._close_open()
        for call in calls:
            if not (self._single_call and self._called):
                yield from self._whole_call(call)

    def close(self) -> Iterator[Event]:
        """The end. A response without any output has one empty message."""
        if not self.items:
            yield from self._begin_message()
        yield from self._close_open()

    def _begin_message(self) -> Iterator[Event]:
        yield from self._begin({"id": wire.new_id("msg_"), "type": "message", "role": "assistant", "content": []})
        yield "response.content_part.added", {**self._at("content_index"), "part": _part("", [])}

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        self._open, self._text, self._tokens = item["type"], [], []
        self.items.append(item if item["type"] == "reasoning" else {**item, "status": "in_progress"})
        yield "response.output_item.added", {"output_index": len(self.items) - 1, "item": dict(self.items[-1])}

    def _close_open(self) -> Iterator[Event]:
        kind, text = self._open, "".join(self._text)
        if kind == "reasoning":
            yield from self._close_reasoning(text)
        elif kind == "message":
            yield from self._close_message(text)
        self._open = ""

    def _close_reasoning(self, text: str) -> Iterator[Event]:
        part = {"type": "summary_text", "text": text}
        at = self._at("summary_index")
        yield "response.reasoning_summary_text.done", {**at, "text": text}
        yield "response.reasoning_summary_part.done", {**at, "part": part}
        yield self._done(summary=[part], encrypted_content=text)

    def _close_message(self, text: str) -> Iterator[Event]:
        part = _part(text, self._tokens)
        at = self._at("content_index")
        yield "response.output_text.done", {**at, "text": text, "logprobs": self._tokens}
        yield "response.content_part.done", {**at, "part": part}
        yield self._done(status="completed", content=[part])

    def _whole_call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        self._called = True
        arguments = wire.dumps(call["arguments"])
        about = {"id": wire.new_id("fc_"), "type": "function_call", "call_id": call["id"], "name": call["name"]}
        yield from self._begin({**about, "arguments": ""})
        at = self._at()
        yield "response.function_call_arguments.delta", {**at, "delta": arguments}
        yield "response.function_call_arguments.done", {**at, "name": call["name"], "arguments": arguments}
        yield self._done(status="completed", arguments=arguments)
        self._open = ""

    def _done(self, **changes: Any) -> Event:
        self.items[-1] = {**self.items[-1], **changes}
        return "response.output_item.done", {"output_index": len(self.items) - 1, "item": self.items[-1]}

    def _at(self, part: str = "") -> dict[str, Any]:
        """Where a piece belongs: an item has one part at most, so its index is 0."""
        place: dict[str, Any] = {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}
        return {**place, part: 0} if part else place


def _part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
