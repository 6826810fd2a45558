"""What stands behind an opening tag, up to where it is over. A body takes text in parts and keeps it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from apps.inference.parsing import reading
from apps.inference.parsing.balance import Balance
from apps.inference.parsing.reading import Calls, Offer, Read

HEAD = 128  # characters of a name and its marks before the arguments
_INFO = {"```json", "```"}


class Body(ABC):
    """`push` says how much of a part belongs to the body, once that is over; None while it goes on. Then `calls` holds
    what was read; nothing where it was no call."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.calls: Calls = ()

    @abstractmethod
    def push(self, text: str) -> int | None: ...

    def finish(self) -> None:  # noqa: B027  (most have nothing left to read)
        """The reply is over: read what is there."""


Make = Callable[[Offer], Body]


class Choice(Body):
    """The first character behind whitespace tells which body it is: the one named for it, or for "" where none is."""

    def __init__(self, offer: Offer, *, kinds: Mapping[str, Make]) -> None:
        super().__init__(offer)
        self._kinds = kinds
        self._chosen: Body | None = None

    def push(self, text: str) -> int | None:
        if self._chosen is None:
            start = text.lstrip()
            if not start:
                return None
            make = self._kinds.get(start[0], self._kinds.get(""))
            blank = len(text) - len(start)
            if make is None:
                return blank
            self._chosen = make(self.offer)
            return _plus(self._push(start), blank)
        return self._push(text)

    def finish(self) -> None:
        if self._chosen:
            self._chosen.finish()
            self.calls = self._chosen.calls

    def _push(self, text: str) -> int | None:
        assert self._chosen
        used = self._chosen.push(text)
        self.calls = self._chosen.calls
        return used


class Value(Body):
    """A JSON object or list."""

    def __init__(self, offer: Offer, *, read: Read = reading.objects) -> None:
        super().__init__(offer)
        self._read = read
        self._balance = Balance()
        self._parts: list[str] = []

    def push(self, text: str) -> int | None:
        end = self._balance.end(text)
        self._parts.append(text[:end])
        if end is not None:
            self.calls = self._read("".join(self._parts), self.offer)
        return end


class Headed(Body):
    """A head, then arguments in brackets that begin with `start`. `name_in` finds the tool's name in the head, empty
    where that cannot be one; `read` gets the name and the arguments with their brackets."""

    def __init__(
        self,
        offer: Offer,
        *,
        start: str,
        name_in: Callable[[str, Offer], str],
        read: Callable[[str, str, Offer], Calls] = reading.named,
    ) -> None:
        super().__init__(offer)
        self._start, self._name_in, self._read = start, name_in, read
        self._head = ""
        self._name = ""
        self._value: Value | None = None

    def push(self, text: str) -> int | None:
        if self._value:
            return self._push(text)
        at = text.find(self._start)
        room = HEAD - len(self._head)
        if at > room or (at < 0 and len(text) > room):
            return room
        if at < 0:
            self._head += text
            return None
        self._name = self._name_in(self._head + text[:at], self.offer)
        if not self._name:
            return at
        self._value = Value(self.offer, read=lambda value, offer: self._read(self._name, value, offer))
        return _plus(self._push(text[at:]), at)

    def _push(self, text: str) -> int | None:
        assert self._value
        used = self._value.push(text)
        self.calls = self._value.calls
        return used


class Until(Body):
    """Everything up to and with a closing tag; `open_ended` where the end of the reply closes it as well. Only a text
    that begins with `head` is waited for."""

    def __init__(self, offer: Offer, *, closing: str, read: Read, head: str = "", open_ended: bool = True) -> None:
        super().__init__(offer)
        self._closing, self._read, self._head, self._open_ended = closing, read, head, open_ended
        self._parts: list[str] = []
        self._begun = ""
        self._tail = ""

    def push(self, text: str) -> int | None:
        if len(self._begun) < len(self._head):
            taken = text[: len(self._head) - len(self._begun)]
            self._begun += taken
            if not self._head.startswith(self._begun):
                return _agreeing(self._head, self._begun, len(taken))
        window = self._tail + text
        at = window.find(self._closing)
        if at < 0:
            self._parts.append(text)
            self._tail = window[len(window) - min(len(window), len(self._closing) - 1) :]
            return None
        used = at + len(self._closing) - len(self._tail)
        self._parts.append(text[:used])
        self.calls = self._read("".join(self._parts)[: -len(self._closing)], self.offer)
        return used

    def finish(self) -> None:
        if self._open_ended:
            self.calls = self._read("".join(self._parts), self.offer)


class Lone(Body):
    """A reply that is one object and nothing else, in a fence or not. It is over only when it cannot be that."""

    def __init__(self, offer: Offer, *, starts: str = "{", read: Read = reading.lone) -> None:
        super().__init__(offer)
        self._starts, self._read = starts, read
        self._head = ""
        self._value = ""
        self._parts: list[str] = []
        self._balance = Balance()
        self._tail: str | None = None
        self._fenced = False
        self._keyed = False

    def push(self, text: str) -> int | None:
        return None if self._goes_on(text) else 0

    def finish(self) -> None:
        if self._tail is not None and self._tail.strip() == ("```" if self._fenced else ""):
            self.calls = self._read("".join(self._parts), self.offer)

    def _goes_on(self, text: str) -> bool:
        if self._tail is not None:
            return self._ends_well(text)
        if self._parts:
            return self._take(text)
        self._head += text
        start = self._behind_fence(self._head.lstrip())
        if start is None or len(self._head) - len(start) > HEAD:
            return False
        return not start or (start[0] in self._starts and self._take(start))

    def _behind_fence(self, start: str) -> str | None:
        """What follows the fence's first line, "" while that may still come; None where this is another fence."""
        if not start.startswith("`"):
            return start
        line, ended, rest = start.partition("\n")
        if not ended:
            return "" if any(info.startswith(line.rstrip()) for info in _INFO) else None
        self._fenced = True
        return rest.lstrip() if line.rstrip() in _INFO else None

    def _take(self, text: str) -> bool:
        end = self._balance.end(text)
        self._parts.append(text[:end])
        if not self._keyed and not self._plausible():
            return False
        if end is None:
            return True
        self._tail = ""
        return self._ends_well(text[end:])

    def _plausible(self) -> bool:
        """Whether its first key is one of a call: most other objects are let go there."""
        begun = "".join(self._parts)
        match = _FIRST_KEY.match(begun)
        self._keyed = match is not None or len(begun) > HEAD
        return match is None or match[1] in reading.KEYS

    def _ends_well(self, text: str) -> bool:
        assert self._tail is not None
        tail = (self._tail + text).lstrip()
        rest = tail.rstrip()
        self._tail = rest if rest == tail else rest + " "
        return "```".startswith(rest) if self._fenced else not rest


_FIRST_KEY = re.compile(r'\[?\s*\{\s*"([^"\\]*)"')


def _plus(used: int | None, before: int) -> int | None:
    return None if used is None else used + before


def _agreeing(head: str, begun: str, last: int) -> int:
    """How much of the last part still agreed with the head."""
    same = next(place for place, pair in enumerate(zip(head, begun, strict=False)) if pair[0] != pair[1])
    return max(0, same - (len(begun) - last))
