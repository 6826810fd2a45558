"""Calls told from the text around them, by their tags.

Text is held back only while it may still be a tag, a call, or the whitespace around calls. What turns out to be no call
is let go as it was, tags and all. A character is looked at once as part of a call and at most once more as text.
"""

import re
from collections import deque
from collections.abc import Mapping

from apps.inference.parsing.bodies import Body, Make
from apps.inference.parsing.forms import Form
from apps.inference.parsing.pieces import Called, Piece, Said
from apps.inference.parsing.reading import Offer
from apps.inference.parsing.tags import MAX_BLANK, beginning, blocks, possible

MAX_HELD = 256 * 1024  # characters of one call


class Calling:
    """Reads `form`'s calls of the tools in `offer`."""

    def __init__(self, form: Form, offer: Offer) -> None:
        self._form, self._offer = form, offer
        self._openings = tuple(form.openings)
        self._pattern = re.compile("|".join(map(re.escape, form.openings))) if form.openings else None
        self._pieces: list[Piece] = []
        self._inbox: deque[str] = deque()
        self._text = ""  # not decided on yet
        self._held: list[str] = []  # what belongs to the body, its opening first
        self._room = 0
        self._body: Body | None = None
        self._look = self._start
        self._enter("", form.alone)

    def feed(self, text: str) -> list[Piece]:
        self._inbox.extend(blocks(text))
        self._run()
        return self._drain()

    def close(self) -> list[Piece]:
        while self._body:
            self._body.finish()
            self._leave()
            self._run()
        rest, self._text = self._text, ""
        if rest.strip() or self._look == self._start:
            self._say(rest)
        return self._drain()

    def _run(self) -> None:
        while True:
            if self._text and self._look():
                continue
            if not self._inbox:
                return
            self._text += self._inbox.popleft()

    # Each looks at the text from its beginning, takes what it can and says whether there is more to look at.

    def _start(self) -> bool:
        """At the beginning: whitespace before a call belongs to it."""
        return self._blank(self._form.openings)

    def _behind(self) -> bool:
        """Behind a call: whitespace and closing tags up to the next belong to it."""
        start = self._text.lstrip()
        for tag in self._form.closings:
            if start.startswith(tag):
                self._text = start[len(tag) :]
                return True
        return self._blank({**self._form.more, **self._form.openings}, *self._form.closings)

    def _blank(self, openings: Mapping[str, Make], *closings: str) -> bool:
        start = self._text.lstrip()
        blank = len(self._text) - len(start)
        if blank <= MAX_BLANK:
            if tag := next((tag for tag in openings if start.startswith(tag)), ""):
                before, self._text = self._text[:blank], start[len(tag) :]
                return self._enter(before + tag, openings[tag])
            if not start or possible(start, (*openings, *closings)):
                return False
        self._look = self._scan
        return True

    def _scan(self) -> bool:
        """In the text: up to the next opening tag."""
        match = self._pattern.search(self._text) if self._pattern else None
        if match:
            self._say(self._text[: match.start()])
            self._text = self._text[match.end() :]
            return self._enter(match[0], self._form.openings[match[0]])
        safe = len(self._text) - beginning(self._text, self._openings)
        self._say(self._text[:safe])
        self._text = self._text[safe:]
        return False

    def _inside(self) -> bool:
        assert self._body
        text, self._text = self._text[: self._room], self._text[self._room :]
        used = self._body.push(text)
        taken = text[:used]
        self._held.append(taken)
        self._room -= len(taken)
        if used is not None:
            self._text = text[used:] + self._text
        if used is not None or not self._room:
            self._leave()
        return True

    def _enter(self, tag: str, make: Make) -> bool:
        self._body, self._held, self._room = make(self._offer), [tag], MAX_HELD
        self._look = self._inside
        return True

    def _leave(self) -> None:
        assert self._body
        calls, self._body = self._body.calls, None
        if calls:
            self._pieces.append(Called(calls))
            self._look = self._behind
            return
        self._look = self._scan
        if self._held[0]:
            self._say("".join(self._held))
        else:  # it was held only because it might have been one call alone
            self._inbox.extendleft(reversed(blocks("".join(self._held) + self._text)))
            self._text, self._look = "", self._start
        self._held = []

    def _say(self, text: str) -> None:
        if text:
            self._pieces.append(Said(text))

    def _drain(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces
