"""What a reply turns out to be made of."""

from dataclasses import dataclass

from apps.inference.types import ToolCall


@dataclass(frozen=True, slots=True)
class Said:
    """Text for the reader. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Text of the thinking. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """Whole calls of offered tools, each with an id of its own."""

    calls: tuple[ToolCall, ...]


Piece = Said | Thought | Called
