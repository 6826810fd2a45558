"""Frames -> chunks and replies of /v1/completions (contract, section 13.3 and correction 7)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.api.openai import wire
from apps.api.openai.replies import Choice, ChoicesRenderer, Style
from apps.inference.types import TEXT
from apps.streams.log import Entry


class CompletionRenderer(ChoicesRenderer):
    """Thinking has no place in this form; the request asked for none."""

    def __init__(self, style: Style) -> None:
        super().__init__(style, prefix="cmpl-")
        self._written = [len(prefix) for prefix in style.prefixes] or [0] * style.choices

    def said(self, choice: Choice, entry: Entry) -> Iterable[bytes]:
        if entry.kind != TEXT:
            return ()
        lp = entry.data.get("lp") or ()
        return (self._chunk(choice, self._opening(choice) + entry.data["t"], None, lp),)

    def called(self, choice: Choice, calls: Sequence[dict[str, Any]]) -> Iterable[bytes]:
        return ()

    def finished(self, choice: Choice) -> Iterable[bytes]:
        return (self._chunk(choice, self._opening(choice), choice.finish_reason),)

    def close(self) -> Iterable[bytes]:
        if self.style.include_usage:
            yield wire.event({**self._about([]), "usage": self.usage})
        yield wire.DONE

    def object(self) -> dict[str, Any]:
        choices = [self._choice(choice) for choice in self.choices]
        head = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.style.model}
        fingerprint = {"system_fingerprint": wire.FINGERPRINT}
        return {**head, **fingerprint, "choices": choices, "usage": self.usage, **wire.dropped(self.ends)}

    def _choice(self, choice: Choice) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "text": self._opening(choice) + "".join(choice.text),
            "index": choice.index,
            "finish_reason": choice.finish_reason,
        }
        if self.style.logprobs:
            whole["logprobs"] = self._logprobs(choice, choice.logprobs)
        return whole

    def _opening(self, choice: Choice) -> str:
        """The prompt that is echoed, before the first piece."""
        begun, choice.begun = choice.begun, True
        return "" if begun or not self.style.prefixes else self.style.prefixes[choice.index]

    def _chunk(self, choice: Choice, text: str, reason: str | None, lp: Sequence[Mapping[str, Any]] = ()) -> bytes:
        piece: dict[str, Any] = {"text": text, "index": choice.index, "finish_reason": reason}
        if self.style.logprobs and lp:
            piece["logprobs"] = self._logprobs(choice, lp)
        usage = {"usage": None} if self.style.include_usage else {}
        dropped = wire.dropped([choice.end]) if choice.end is not None else {}
        return wire.event({**self._about([piece]), **usage, **dropped})

    def _about(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "choices": choices,
            "model": self.style.model,
            "system_fingerprint": wire.FINGERPRINT,
        }

    def _logprobs(self, choice: Choice, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The older form: lists side by side. Offsets are in characters and count on through a stream."""
        offsets = []
        for item in items:
            offsets.append(self._written[choice.index])
            self._written[choice.index] += len(item["token"])
        return {
            "tokens": [item["token"] for item in items],
            "token_logprobs": [item["logprob"] for item in items],
            "top_logprobs": [{each["token"]: each["logprob"] for each in item.get("top") or ()} for item in items],
            "text_offset": offsets,
        }
