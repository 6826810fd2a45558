"""The content blocks of one answer, made piece by piece; each piece gives the events that tell of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from apps.api.anthropic import wire


@dataclass(frozen=True)
class Style:
    """How the caller wants it. Thinking not shown leaves an empty block; `estimate` is the prompt's, in tokens."""

    model: str
    estimate: int = 1
    shows_thinking: bool = True
    single_call: bool = False


class Content:
    """`blocks` in the order in which they were said; the last may be open and is then not whole."""

    def __init__(self, style: Style) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.called = False
        self._style = style
        self._open = ""  # the type of the open block
        self._pieces: list[str] = []

    def say(self, text: str) -> Iterator[bytes]:
        if text:
            yield from self._into("text")
            self._pieces.append(text)
            yield self._delta("text_delta", "text", text)

    def think(self, text: str) -> Iterator[bytes]:
        if text:
            yield from self._into("thinking")
            self._pieces.append(text)
            if self._style.shows_thinking:
                yield self._delta("thinking_delta", "thinking", text)

    def call(self, calls: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        for call in calls:
            if not (self.called and self._style.single_call):
                yield from self.close()
                yield from self._call(call)

    def close(self) -> Iterator[bytes]:
        """The end of the block that is open, if one is."""
        if self._open == "thinking":
            yield from self._sign()
        elif self._open:
            self.blocks[-1]["text"] = "".join(self._pieces)
        if self._open:
            yield self._stop()

    def _into(self, kind: str) -> Iterator[bytes]:
        if self._open != kind:
            yield from self.close()
            self._open, self._pieces = kind, []
            yield from self._start({"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})})

    def _start(self, block: dict[str, Any]) -> Iterator[bytes]:
        """Anthropic sends a ping behind the start of the first block."""
        self.blocks.append(block)
        yield wire.event("content_block_start", index=self._index, content_block=block)
        if len(self.blocks) == 1:
            yield wire.event("ping")

    def _sign(self) -> Iterator[bytes]:
        text, signature = "".join(self._pieces), wire.signature(self._pieces)
        self.blocks[-1] |= {"thinking": text if self._style.shows_thinking else "", "signature": signature}
        yield self._delta("signature_delta", "signature", signature)

    def _call(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        """A call comes whole, so its arguments are one delta."""
        self.called = True
        yield from self._start({"type": "tool_use", "id": wire.call_id(call["id"]), "name": call["name"], "input": {}})
        yield self._delta("input_json_delta", "partial_json", wire.dumps(call["arguments"]))
        self.blocks[-1]["input"] = call["arguments"]
        yield self._stop()

    def _stop(self) -> bytes:
        self._open = ""
        return wire.event("content_block_stop", index=self._index)

    def _delta(self, kind: str, name: str, text: str) -> bytes:
        """There is one for every token of every stream, so it is written without a dictionary."""
        quoted = encode_basestring(text) if text.isascii() else wire.dumps(text)
        return wire.to_bytes(
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":'
            f'{self._index},"delta":{{"type":"{kind}","{name}":{quoted}}}}}\n\n'
        )

    @property
    def _index(self) -> int:
        return len(self.blocks) - 1
