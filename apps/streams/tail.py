"""Follows a log from any offset to its end, without holding a thread or a connection of its own."""

from collections.abc import AsyncGenerator

from apps.streams import reader
from apps.streams.log import START, Entry


async def batches(log_id: str, *, after: str = START) -> AsyncGenerator[list[Entry], None]:
    """The entries behind `after`, those that are ready together in one list, until the terminal one.

    Behind the terminal entry there is nothing. Waits while the server is away. Raises Problem("not_found") if the log
    is not there or vanishes, Problem("invalid") for an impossible offset.
    """
    source = reader.of_this_loop()
    subscription = source.subscribe(log_id, after)
    try:
        while entries := await subscription.take():
            yield entries
            if entries[-1].terminal:
                return
    finally:
        source.unsubscribe(subscription)


async def tail(log_id: str, *, after: str = START) -> AsyncGenerator[Entry, None]:
    """`batches`, entry by entry."""
    source = batches(log_id, after=after)
    try:
        async for entries in source:
            for entry in entries:
                yield entry
    finally:
        await source.aclose()
