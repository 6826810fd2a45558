"""Images inside a prompt: what they become, and where they stand. Pure.

In a job's tokens an image is one number below 0: -1 is the place of its first image, -2 of its second, and so on.
The projector makes rows of embeddings of it, and for some models words around and between them. In a sequence's tokens
every row has an id of its own, below 0 too and made from the image's bytes, so that slots compare rows as they compare
tokens: the same image in the same place is a common prefix, another image is not.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apps.inference.engine.backend import Tokens

BLIND = "this model does not support images"
UNREADABLE = "an image could not be read"
MOVING = 3  # sections of a grid that are counted from the image's own position
_BELOW_ZERO = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """An image, or a slice of one: `values` are float32 of [rows, width], `ids` stand for them in a sequence's tokens.
    Unless `causal` all rows see one another, and must be computed in one batch.

    With a `grid` they are numbered in more than one dimension (M-RoPE)."""

    ids: Tokens
    values: NDArray[np.float32]
    causal: bool = True
    grid: "Grid | None" = None

    @property
    def span(self) -> int:
        """How many positions they take of a sequence's."""
        return self.grid.span if self.grid else len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The positions of rows, int32 of [sections, rows]: time, height and width as if the image stood at position 0, and
    a section that stays as it is. What comes behind the image is `span` positions further than its first."""

    positions: NDArray[np.int32]
    span: int

    def part(self, first: int, length: int, *, start: int) -> NDArray[np.int32]:
        """Those of `length` rows from the `first` on, of an image at the position `start`."""
        part = self.positions[:, first : first + length].copy()
        part[:MOVING] += start
        return part


Piece = Tokens | Rows


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Rows at their place in a sequence: from token `start` to before `end`."""

    start: int
    rows: Rows

    @property
    def end(self) -> int:
        return self.start + len(self.rows.ids)

    @property
    def saved(self) -> int:
        """How many positions fewer than rows it takes."""
        return len(self.rows.ids) - self.rows.span

    def part(self, start: int, length: int) -> NDArray[np.float32]:
        """The rows of `length` tokens from `start` on."""
        first = start - self.start
        return self.rows.values[first : first + length]

    def positions(self, start: int, length: int, *, begin: int) -> NDArray[np.int32] | None:
        """Of the same rows, where they have more than one each and the picture stands at the position `begin`."""
        grid = self.rows.grid
        return grid.part(start - self.start, length, start=begin) if grid else None


class Look(Protocol):
    """An image that is read, and not encoded yet. To be closed."""

    tokens: int

    def pieces(self) -> tuple[Piece, ...]:
        """Encode it, which takes long. Raises Problem."""
        ...

    def close(self) -> None: ...


class Projector(Protocol):
    """projector.Projector, or a fake. Used by one thread at a time."""

    def read(self, image: bytes) -> Look:
        """Raises Problem for what is no image, and for any image where the model cannot take one."""
        ...


def place(number: int) -> int:
    """What stands in a job's tokens for its image of this number."""
    return -1 - number


def places(tokens: Tokens) -> list[int]:
    """The numbers of the images that stand in a job's tokens, in order, one as often as it stands there."""
    return [-1 - int(token) for token in tokens[tokens < 0]]


def row_ids(digest: bytes, piece: int, rows: int) -> Tokens:
    """Those of one piece of the image with this digest."""
    data = hashlib.shake_256(digest + piece.to_bytes(4, "little")).digest(4 * rows)
    return (np.frombuffer(data, dtype=np.uint32) | _BELOW_ZERO).view(np.int32)


def expand(tokens: Tokens, images: Mapping[int, Sequence[Piece]]) -> tuple[Tokens, tuple[Picture, ...]]:
    """A job's tokens with all that its images take in their places, and where their rows stand."""
    parts: list[Tokens] = []
    pictures: list[Picture] = []
    length = 0
    for piece in _pieces(tokens, images):
        if isinstance(piece, Rows):
            pictures.append(Picture(length, piece))
        part = piece.ids if isinstance(piece, Rows) else piece
        parts.append(part)
        length += len(part)
    return np.concatenate(parts) if parts else tokens, tuple(pictures)


def _pieces(tokens: Tokens, images: Mapping[int, Sequence[Piece]]) -> list[Piece]:
    pieces: list[Piece] = []
    done = 0
    for at in np.flatnonzero(tokens < 0).tolist():
        pieces += [tokens[done:at], *images[-1 - int(tokens[at])]]
        done = at + 1
    return [*pieces, tokens[done:]]
