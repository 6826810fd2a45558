"""A reply as it arrives, in parts of any size: how it is cut never changes what comes out of it."""

from apps.inference.parsing.calling import Calling
from apps.inference.parsing.forms import form_of
from apps.inference.parsing.harmony import Harmony
from apps.inference.parsing.pieces import Piece, Said
from apps.inference.parsing.reading import Offer
from apps.inference.parsing.reply import Reply
from apps.inference.parsing.thinking import Thinking


class Parser:
    """Not for two threads at once. Raises KeyError where `reply` names a shape of calls that nobody knows."""

    def __init__(self, reply: Reply) -> None:
        self._content = _content(reply)
        split = reply.thinking and not isinstance(self._content, Harmony)
        self._thinking = Thinking(reply.thinking, already=reply.thinks_already) if split and reply.thinking else None

    def feed(self, text: str) -> list[Piece]:
        """What became certain with this text."""
        return self._split(self._thinking.feed(text) if self._thinking else [Said(text)] if text else [])

    def close(self) -> list[Piece]:
        """The reply is over: what was held back. Nothing may be fed after it."""
        pieces = self._split(self._thinking.close()) if self._thinking else []
        return pieces + self._content.close() if self._content else pieces

    def _split(self, pieces: list[Piece]) -> list[Piece]:
        if self._content is None:
            return pieces
        found: list[Piece] = []
        for piece in pieces:
            found += self._content.feed(piece.text) if isinstance(piece, Said) else [piece]
        return found


def _content(reply: Reply) -> Calling | Harmony | None:
    offer = Offer(frozenset(reply.tools), frozenset(reply.texts))
    if reply.calls == "harmony" and not reply.forced:
        return Harmony(offer, already=reply.thinks_already)
    return Calling(form_of(reply), offer) if reply.calls else None
