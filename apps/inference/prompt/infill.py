"""Filling in between a prompt and a suffix with the vocabulary's own marks. Pure.

The order is prefix, suffix, middle, as llama.cpp's server and the makers of Qwen2.5-Coder and StarCoder give it.
"""

from dataclasses import dataclass
from typing import Protocol

_FREE = 4  # the reply gets at least 1/_FREE of a context that is too small
_BEFORE = 3, 4  # and what stands before gets so much of the rest


@dataclass(frozen=True)
class Marks:
    """The tokens before the prompt, before the suffix and before the reply, and their texts."""

    tokens: tuple[int, int, int]
    texts: tuple[str, str, str]


class Tokenizer(Protocol):
    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


@dataclass(frozen=True)
class Infill:
    """`first` holds what the vocabulary puts before every text. Marks inside of code are code, so they are not read."""

    marks: Marks
    first: list[int]
    before: list[int]
    behind: list[int]

    @classmethod
    def of(cls, vocabulary: Tokenizer, marks: Marks, *, prompt: str, suffix: str, first: list[int]) -> "Infill":
        before = vocabulary.tokenize(prompt, add_special=False, parse_special=False)
        return cls(marks, first, before, vocabulary.tokenize(suffix, add_special=False, parse_special=False))

    @property
    def tokens(self) -> list[int]:
        prefix, suffix, middle = self.marks.tokens
        return [*self.first, prefix, *self.before, suffix, *self.behind, middle]

    def cut(self, num_ctx: int) -> "Infill":
        """What is nearest to the gap: the end of the prompt and the beginning of the suffix."""
        room = max(2, num_ctx - num_ctx // _FREE - len(self.marks.tokens) - len(self.first))
        before = min(len(self.before), max(room * _BEFORE[0] // _BEFORE[1], room - len(self.behind)))
        return Infill(self.marks, self.first, self.before[len(self.before) - before :], self.behind[: room - before])


def text(marks: Marks, *, prompt: str, suffix: str) -> str:
    prefix, behind, middle = marks.texts
    return f"{prefix}{prompt}{behind}{suffix}{middle}"
