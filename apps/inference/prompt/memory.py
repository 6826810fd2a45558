"""What was tokenised before is not tokenised again: a conversation brings its earlier turns each time. Pure."""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from apps.inference.engine.seams import Seam

ROOM = 2_000_000  # characters and tokens that are remembered, of all users together
_OWN = 64  # what a piece counts beside them


class Tokenizer(Protocol):
    @property
    def seam(self) -> Seam | None: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


class Memory:
    """The tokens of the pieces that users have sent; what was not used for longest is forgotten first.

    A key says whose they are: nobody is answered sooner for what somebody else has said, as that would tell of it.
    Without a key nothing is remembered.
    """

    def __init__(self, vocabulary: Tokenizer, *, room: int = ROOM) -> None:
        self._vocabulary = vocabulary
        self._room = room
        self._held = 0
        self._pieces: OrderedDict[tuple[str, str], array[int]] = OrderedDict()

    def tokens(self, text: str, *, first: bool, key: str) -> list[int]:
        """As the vocabulary has them, markers read; `first` lets it add its own first token."""
        seam = self._vocabulary.seam if key else None
        if seam is None or seam.text not in text:
            return self._vocabulary.tokenize(text, add_special=first, parse_special=True)
        tokens = self._vocabulary.tokenize("", add_special=True, parse_special=True) if first else []
        pieces = seam.cut(text)
        known = [self._recall((key, piece)) for piece in pieces]
        for missing, run in groupby(zip(pieces, known, strict=True), lambda pair: pair[1] is None):
            if missing:
                tokens += self._learn(key, [piece for piece, _ in run], seam)
            else:
                for _, part in run:
                    tokens.extend(part or ())
        return tokens

    def _learn(self, key: str, run: Sequence[str], seam: Seam) -> list[int]:
        """Tokenise the pieces together, which costs less than one by one."""
        tokens = self._vocabulary.tokenize("".join(run), add_special=False, parse_special=True)
        parts = seam.split(tokens)
        if len(parts) == len(run):
            for piece, part in zip(run, parts, strict=True):
                self._remember((key, piece), array("i", part))
        return tokens

    def _recall(self, piece: tuple[str, str]) -> "array[int] | None":
        if piece in self._pieces:
            self._pieces.move_to_end(piece)
        return self._pieces.get(piece)

    def _remember(self, piece: tuple[str, str], tokens: "array[int]") -> None:
        if piece in self._pieces:
            return
        self._pieces[piece] = tokens
        self._held += _weight(piece, tokens)
        while self._pieces and self._held > self._room:
            self._held -= _weight(*self._pieces.popitem(last=False))


def _weight(piece: tuple[str, str], tokens: "array[int]") -> int:
    return len(piece[1]) + len(tokens) + _OWN
