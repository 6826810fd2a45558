"""What a model thinks before it answers, told from the answer (contract, section 20.1).

Leading whitespace, then the opening tag, then thinking up to the closing tag; whitespace behind either tag is dropped.
Where anything else comes first, all of it is the answer.
"""

from apps.inference.parsing.pieces import Piece, Said, Thought
from apps.inference.parsing.tags import MAX_BLANK, beginning


class Thinking:
    def __init__(self, tags: tuple[str, str], *, already: bool) -> None:
        self._opening, self._closing = tags
        self._held = ""
        self._state = self._skip if already else self._begin
        self._pieces: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        self._state(text)
        return self._drain()

    def close(self) -> list[Piece]:
        self._say(self._held) if self._state == self._begin else self._think(self._held)
        self._held = ""
        return self._drain()

    def _begin(self, text: str) -> None:
        self._held += text
        start = self._held.lstrip()
        blank = len(self._held) - len(start)
        if blank <= MAX_BLANK and start.startswith(self._opening):
            self._held, self._state = "", self._skip
            self._skip(start[len(self._opening) :])
        elif blank > MAX_BLANK or not self._opening.startswith(start):
            held, self._held, self._state = self._held, "", self._say
            self._say(held)

    def _skip(self, text: str) -> None:
        """Behind the opening tag."""
        if rest := text.lstrip():
            self._state = self._read
            self._read(rest)

    def _read(self, text: str) -> None:
        text = self._held + text
        at = text.find(self._closing)
        if at < 0:
            safe = len(text) - beginning(text, (self._closing,))
            self._think(text[:safe])
            self._held = text[safe:]
            return
        self._think(text[:at])
        self._held, self._state = "", self._skip_last
        self._skip_last(text[at + len(self._closing) :])

    def _skip_last(self, text: str) -> None:
        """Behind the closing tag."""
        if rest := text.lstrip():
            self._state = self._say
            self._say(rest)

    def _say(self, text: str) -> None:
        if text:
            self._pieces.append(Said(text))

    def _think(self, text: str) -> None:
        if text:
            self._pieces.append(Thought(text))

    def _drain(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces
