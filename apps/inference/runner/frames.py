"""What a run has to say, as frames of its log: texts that follow each other become one frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from apps.inference.engine.engine import Text
from apps.inference.parsing import Called, Parser, Piece, Said
from apps.inference.types import EMBEDDINGS, TEXT, THINKING, TOOL_CALLS

Pair = tuple[str, dict[str, Any]]
Logprobs = list[dict[str, Any]]

_LOGPROB = 200  # of a token's probability with its alternatives, roughly


@dataclass(slots=True)
class Frame:
    """One frame while it still grows. `items` are tool calls, logprobs or vectors."""

    kind: str
    texts: list[str] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    def pair(self) -> Pair:
        if self.kind == TOOL_CALLS:
            return self.kind, {"calls": self.items}
        if self.kind == EMBEDDINGS:
            return self.kind, {"vectors": self.items}
        data: dict[str, Any] = {"t": "".join(self.texts)}
        return self.kind, {**data, "lp": self.items} if self.items else data


class Frames:
    """Takes what the engine says of one run, in order. Without a parser all of it is text."""

    def __init__(self, parser: Parser | None = None) -> None:
        self._parser = parser
        self._frames: list[Frame] = []
        self._kind = TEXT  # of the last text
        self.size = 0  # characters, roughly

    def __bool__(self) -> bool:
        return bool(self._frames)

    def hear(self, event: Text) -> None:
        """A part of the reply. Its logprobs go with the first text it releases, or alone where it releases none."""
        if self._parser:
            self._add(self._parser.feed(event.text), [logprob.as_data() for logprob in event.logprobs])
        elif event.logprobs:
            self._add([Said(event.text)] if event.text else [], [logprob.as_data() for logprob in event.logprobs])
        else:
            self._add_text(TEXT, event.text)

    def close(self) -> None:
        """The reply is over."""
        if self._parser:
            self._add(self._parser.close(), [])

    def show(self, vectors: list[list[float]]) -> None:
        """As texts: most readers hand them on as they are, and to read and write a million numbers takes a second."""
        texts = [orjson.dumps(vector).decode() for vector in vectors]
        self._last(EMBEDDINGS).items += texts
        self.size += sum(map(len, texts))

    def take(self) -> list[Pair]:
        """All of it; nothing is left here."""
        frames, self._frames, self.size = self._frames, [], 0
        return [frame.pair() for frame in frames]

    def _add(self, pieces: Sequence[Piece], logprobs: Logprobs) -> None:
        if logprobs and all(isinstance(piece, Called) for piece in pieces):
            self._add_logprobs(logprobs)
            logprobs = []
        for piece in pieces:
            if isinstance(piece, Called):
                self._add_calls(piece)
                continue
            self._add_text(TEXT if isinstance(piece, Said) else THINKING, piece.text)
            self._add_logprobs(logprobs)
            logprobs = []

    def _add_logprobs(self, logprobs: Logprobs) -> None:
        if logprobs:
            self._last(self._kind).items += logprobs
            self.size += len(logprobs) * _LOGPROB

    def _add_text(self, kind: str, text: str) -> None:
        self._kind = kind
        self._last(kind).texts.append(text)
        self.size += len(text)

    def _add_calls(self, called: Called) -> None:
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in called.calls]
        self._last(TOOL_CALLS).items += calls
        self.size += len(str(calls))

    def _last(self, kind: str) -> Frame:
        if not self._frames or self._frames[-1].kind != kind:
            self._frames.append(Frame(kind))
        return self._frames[-1]
