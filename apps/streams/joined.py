"""Several logs as one answer: what each says goes out as it comes, marked with whose it is."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Final

from apps.errors import Problem
from apps.streams.log import Entry
from apps.streams.pending import PendingStream, Renderer
from apps.streams.tail import batches

PART: Final = "part"  # in the data of every entry: the position of its log
PART_END: Final = "part_end"  # the kind of each log's own end; an "end" without data follows the last of them

Batches = AsyncGenerator[list[Entry], None]
Step = asyncio.Future[list[Entry]]


class JoinedStream(PendingStream):
    """The logs `log_ids` (at least one) in the words of one renderer, which sees their entries with PART in them.

    The first error of any of them is the error of the whole: then, as when the client leaves, `on_abandon` is called
    and has to stop them all.
    """

    def __init__(
        self,
        log_ids: Sequence[str],
        renderer: Renderer,
        *,
        streaming: bool,
        on_abandon: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(log_ids[0], renderer, streaming=streaming, on_abandon=on_abandon)
        self.log_ids = tuple(log_ids)

    def follow(self) -> Batches:
        return joined(self.log_ids)


async def joined(log_ids: Sequence[str]) -> Batches:
    """The entries of all logs until each has ended. Raises Problem for the first error in any of them."""
    sources = [batches(log_id) for log_id in log_ids]
    waiting = {_step(source): part for part, source in enumerate(sources)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for step in sorted(done, key=waiting.__getitem__):
                part, entries = waiting.pop(step), step.result()
                if entries and not entries[-1].terminal:
                    waiting[_step(sources[part])] = part
                if said := [_marked(entry, part) for entry in entries]:
                    yield said
        yield [Entry("", "end", {})]
    finally:
        await _stop(list(waiting), sources)


def _step(source: Batches) -> Step:
    return asyncio.ensure_future(anext(source, []))


def _marked(entry: Entry, part: int) -> Entry:
    if entry.kind == "error":
        raise Problem.from_data(entry.data)
    return replace(entry, kind=PART_END if entry.terminal else entry.kind, data={**entry.data, PART: part})


async def _stop(steps: Sequence[Step], sources: Sequence[Batches]) -> None:
    for step in steps:
        step.cancel()
    await asyncio.gather(*steps, return_exceptions=True)
    for source in sources:
        await source.aclose()
